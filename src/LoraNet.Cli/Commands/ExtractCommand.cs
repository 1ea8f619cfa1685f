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

/// <summary><c>loranet adapter extract</c>: the difference of two full models as an adapter.</summary>
internal static class ExtractCommand
{
    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("model", "output", "target-modules", "threads", "low-memory"),
        new("tuned", SettingKind.Text, "extract", "Folder of the tuned model."),
        new("rank", SettingKind.Integer, "extract", "Largest rank of a module."),
        new("energy", SettingKind.Number, "extract", "Share of the change to hold, such as 0.99: the smallest rank that does."),
    ];

    public static Command Create(CommandContext context)
    {
        Command command = new("extract", "Make an adapter from a base model and a fully tuned one.");
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host)));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host)
    {
        string modelFolder = values.Required("model"), tunedFolder = values.Required("tuned"), output = values.Required("output");
        RankChoice choice = new(values.Integer("rank"), values.Number("energy"));
        choice.Validate();
        OutputFolder.Check(output, modelFolder);
        OutputFolder.Check(output, tunedFolder);
        ModelFolder.Check(tunedFolder);
        using Backend backend = BackendFactory.Create(values, host);
        using PretrainedModel model = AnyModel.Load(modelFolder, backend);
        using FolderWeights tuned = new(tunedFolder);
        Extraction found = AdapterExtraction.Extract(model, tuned, choice, values.Text("target-modules") is { } targets ? ModuleSelector.Parse(targets) : null);
        using LoraAdapter adapter = found.Adapter;
        OutputFolder.Prepare(output, adapter.ParameterCount * sizeof(float));
        AdapterFile.Save(output, model, adapter);
        terminal.Table(["module", "rank", "change", "held"], [.. found.Layers.Select(l => (IReadOnlyList<string>)
            [l.Path, l.Rank.ToString(CultureInfo.InvariantCulture), l.Norm.ToString("0.0000", CultureInfo.InvariantCulture), l.Energy.ToString("0.00 %", CultureInfo.InvariantCulture)])]);
        double total = found.Layers.Sum(l => l.Norm * l.Norm), held = found.Layers.Sum(l => l.Norm * l.Norm * l.Energy) / total;
        if (found.LeftOut.Count > 0) terminal.Warn($"{found.LeftOut.Count} other tensors differ and are not in the adapter, the first being {found.LeftOut[0]}.");
        terminal.Line(string.Create(CultureInfo.InvariantCulture, $"Extracted into {output}: {found.Layers.Count} modules, {Format.Count(adapter.ParameterCount)} values, {held:0.00 %} of the change."));
        terminal.Result(new JsonObject
        {
            ["output"] = output,
            ["modules"] = found.Layers.Count,
            ["parameters"] = adapter.ParameterCount,
            ["energy"] = held,
            ["largest_rank"] = found.Layers.Max(l => l.Rank),
            ["left_out"] = new JsonArray([.. found.LeftOut.Select(n => (JsonNode)n)]),
        });
        return ExitCodes.Fine;
    }
}
