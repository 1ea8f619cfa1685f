using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet adapter combine</c>: several adapters of one model become one.</summary>
internal static class CombineCommand
{
    private static readonly IReadOnlyList<string> _types = [.. Enum.GetValues<CombinationType>().Select(AdapterAlgebra.Name)];

    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("model", "output", "device", "threads", "low-memory"),
        new("weights", SettingKind.List, "combine", "One weight for each adapter; negative ones subtract.") { Default = "1 each" },
        new("type", SettingKind.Choice, "combine", "How they are combined.") { Choices = _types, Default = "linear" },
        new("rank", SettingKind.Integer, "combine", "Rank of the svd forms; the largest of the adapters when not given."),
        new("density", SettingKind.Number, "combine", "Share of entries that ties, dare and magnitude_prune keep."),
        new("majority-sign", SettingKind.Choice, "combine", "How ties elects signs.") { Choices = ["total", "frequency"], Default = "total" },
        new("peft", SettingKind.Choice, "combine", "Give PEFT's results where they differ from the weighted sum.") { Choices = ["none", "0.21", "0.20"], Default = "none" },
        new("seed", SettingKind.Integer, "combine", "Seed of dare.") { Default = "42" },
    ];

    public static Command Create(CommandContext context)
    {
        Command command = new("combine", "Combine adapters of one model into one: a weighted sum, or PEFT's other forms.");
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<string[]> adapters = new("--adapter", "-a") { Description = "An adapter folder; give it once for each.", HelpName = "FOLDER" };
        Option<bool> json = AllCommands.JsonOption();
        command.Add(adapters);
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host, parse.GetValue(adapters) ?? [])));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string[] folders)
    {
        string modelFolder = values.Required("model"), output = values.Required("output");
        if (folders.Length == 0) throw new LoraNetException("--adapter is missing.", "Give --adapter once for each adapter.");
        double[] weights = [.. (values.List("weights") ?? [.. folders.Select(_ => "1")]).Select(w => double.TryParse(w, NumberStyles.Float, CultureInfo.InvariantCulture, out double v) && double.IsFinite(v) ? v : throw values.Error("weights", $"'{w}' is not a number."))];
        CombinationType type = AdapterAlgebra.Parse(values.Text("type") ?? "linear");
        CombineOptions options = new()
        {
            Rank = values.Integer("rank"),
            Density = values.Number("density"),
            MajoritySign = values.Text("majority-sign") == "frequency" ? MajoritySign.Frequency : MajoritySign.Total,
            Peft = values.Text("peft") switch { "0.21" => PeftCompatibility.Peft021, "0.20" => PeftCompatibility.Peft020, _ => PeftCompatibility.None },
            Seed = values.Integer("seed") is { } seed ? (seed >= 0 ? (ulong)seed : throw values.Error("seed", "the seed must not be negative.")) : 42,
        };
        OutputFolder.Check(output, modelFolder);
        if (folders.Any(f => Path.TrimEndingDirectorySeparator(Path.GetFullPath(f)) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(output))))
            throw new LoraNetException($"--output {output} is one of the adapters.", "Choose another folder.");
        using Backend backend = BackendFactory.Create(values, host);
        ModelFolder.Check(modelFolder);
        using PretrainedModel model = EncoderFamilies.Names.Contains(ModelConfig.Load(modelFolder).ModelType) ? SequenceClassifier.Load(modelFolder, backend) : CausalLM.Load(modelFolder, backend);
        string[] names = [.. folders.Select((_, i) => $"adapter {i + 1}")];
        for (int i = 0; i < folders.Length; i++) AdapterFile.Load(folders[i], model, names[i], trainable: false, warn: terminal.Warn);
        using LoraAdapter combined = AdapterAlgebra.Combine(model, names, weights, type, options);
        OutputFolder.Prepare(output, combined.ParameterCount * sizeof(float));
        AdapterFile.Save(output, model, combined);
        int[] ranks = [.. combined.Layers.Values.Select(l => l.Rank).Distinct().Order()];
        terminal.Line(string.Create(CultureInfo.InvariantCulture, $"{folders.Length} adapters combined ({AdapterAlgebra.Name(type)}) into {output}: {combined.Layers.Count} modules, rank {(ranks.Length == 1 ? ranks[0] : $"{ranks[0]} to {ranks[^1]}")}."));
        terminal.Result(new JsonObject
        {
            ["output"] = output,
            ["type"] = AdapterAlgebra.Name(type),
            ["weights"] = new JsonArray([.. weights.Select(w => (JsonNode)w)]),
            ["modules"] = combined.Layers.Count,
            ["largest_rank"] = ranks.Length == 0 ? 0 : ranks[^1],
            ["parameters"] = combined.ParameterCount,
        });
        return ExitCodes.Fine;
    }
}
