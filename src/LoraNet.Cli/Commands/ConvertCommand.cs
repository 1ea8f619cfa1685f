using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet adapter convert</c>: the same adapter in another form.</summary>
internal static class ConvertCommand
{
    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("output", "threads"),
        new("to", SettingKind.Choice, "convert", "peft: from a loralib file. loralib: from a PEFT folder. plain-alpha: rsLoRA's scaling folded into alpha. lower-rank: by SVD, with --model.")
            { Choices = ["peft", "loralib", "plain-alpha", "lower-rank"] },
        new("alpha", SettingKind.Number, "convert", "lora_alpha of a loralib checkpoint, which does not store it."),
        new("enable-lora", SettingKind.List, "convert", "enable_lora of loralib's MergedLinear layers, such as true,false,true."),
        new("base-model", SettingKind.Text, "convert", "Name of the base model to write into adapter_config.json."),
        new("model", SettingKind.Text, "convert", "Folder of the base model, for lower-rank."),
        new("rank", SettingKind.Integer, "convert", "Largest rank, for lower-rank."),
        new("energy", SettingKind.Number, "convert", "Share of the change to hold, for lower-rank."),
    ];

    public static Command Create(CommandContext context)
    {
        Command command = new("convert", "Convert adapters: loralib files, rsLoRA, lower rank.");
        Argument<string> input = new("input") { Description = "An adapter folder, or a loralib file (.pt, .bin, .safetensors)." };
        command.Add(input);
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(parse.GetValue(input)!, SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host)));
        return command;
    }

    private static int Run(string input, SettingValues values, Terminal terminal, CommandHost host)
    {
        string output = values.Required("output"), to = values.Required("to");
        if (Path.TrimEndingDirectorySeparator(Path.GetFullPath(input)) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(output)))
            throw new LoraNetException($"--output {output} is the adapter itself.", "Choose another folder.");
        bool folder = to != "peft";
        if (folder && !Directory.Exists(input)) throw new LoraNetException($"The adapter folder {input} does not exist.", "Give the folder that PEFT or loranet wrote.");
        if (!folder && !File.Exists(input)) throw new LoraNetException($"The loralib file {input} does not exist.", "Give a .pt, .bin or .safetensors file.");
        JsonObject result = new() { ["output"] = output, ["to"] = to };
        switch (to)
        {
            case "peft":
                {
                    LoralibOptions options = new()
                    {
                        Alpha = values.Number("alpha") ?? throw new LoraNetException("--alpha is missing; a loralib checkpoint does not store its alpha.", "Give the lora_alpha of its training."),
                        EnableLora = values.List("enable-lora") is { } mask ? [.. mask.Select(m => m.ToLowerInvariant() switch { "true" => true, "false" => false, _ => throw new LoraNetException($"--enable-lora: '{m}' is neither true nor false.", "Give it as in training, such as true,false,true.") })] : null,
                        BaseModelNameOrPath = values.Text("base-model"),
                    };
                    OutputFolder.Check(output, input);
                    PeftAdapterConfig config = LoralibImport.ToPeft(input, output, options);
                    terminal.Line(string.Create(CultureInfo.InvariantCulture, $"PEFT adapter in {output}: rank {config.R}, alpha {config.LoraAlpha}, modules {config.TargetModules}."));
                    result["rank"] = config.R;
                    result["alpha"] = config.LoraAlpha;
                    result["target_modules"] = config.TargetModules!.ToString();
                    break;
                }
            case "loralib":
                if (Directory.Exists(output)) throw new LoraNetException($"--output {output} is a folder; loralib's form is one file.", "Give a name that ends with .safetensors.");
                LoralibImport.ToLoralib(input, output);
                terminal.Line($"Tensors under loralib's names in {output}.");
                break;
            case "plain-alpha":
                OutputFolder.Check(output, input);
                AdapterConversion.FoldRsLora(input, output);
                result["alpha"] = AdapterConfigJson.Read(output).LoraAlpha;
                terminal.Line($"The same adapter with plain alpha in {output}.");
                break;
            default:
                {
                    RankChoice choice = new(values.Integer("rank"), values.Number("energy"));
                    choice.Validate();
                    string modelFolder = values.Required("model");
                    OutputFolder.Check(output, modelFolder);
                    using Backend backend = BackendFactory.Create(values, host);
                    using PretrainedModel model = AnyModel.Load(modelFolder, backend);
                    LoraAdapter adapter = AdapterFile.Load(input, model, trainable: false, warn: terminal.Warn);
                    using LoraAdapter reduced = AdapterConversion.Reduce(model, adapter, choice);
                    OutputFolder.Prepare(output, reduced.ParameterCount * sizeof(float));
                    AdapterFile.Save(output, model, reduced);
                    terminal.Line($"{Format.Count(adapter.ParameterCount)} values became {Format.Count(reduced.ParameterCount)} in {output}.");
                    result["parameters"] = reduced.ParameterCount;
                    result["parameters_before"] = adapter.ParameterCount;
                    break;
                }
        }
        terminal.Result(result);
        return ExitCodes.Fine;
    }
}
