using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet merge</c>: base and adapter become a plain Hugging Face folder.</summary>
internal static class MergeCommand
{
    private const int ProbeTokens = 32;

    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("model", "adapter", "output"),
        TrainSettings.Find("dtype") with { Description = "Type of the merged weights; auto keeps each tensor's own." },
        .. BackendFactory.Settings.Where(static s => s.Name is not ("dtype" or "tf32")),
    ];

    public static Command Create(CommandContext context)
    {
        Command command = new("merge", "Merge an adapter into its base model and write a plain model folder.");
        SettingOptions.AddTo(command, _settings, recipe: true);
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host)));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host)
    {
        string modelFolder = values.Required("model"), adapterFolder = values.Required("adapter"), output = values.Required("output");
        DType? dtype = (values.Text("dtype") ?? "auto") switch { "f32" => DType.F32, "bf16" => DType.BF16, "f16" => DType.F16, _ => null };
        SettingValues device = new(BackendFactory.Settings);
        foreach (string name in new[] { "device", "base-quantization", "threads", "low-memory" })
            if (values.Text(name) is { } text) device.Add(name, text, values.Origin(name));
        using Backend backend = BackendFactory.Create(device, host);
        using PretrainedModel model = AnyModel.Load(modelFolder, backend);
        AdapterFile.Load(adapterFolder, model, trainable: false, warn: terminal.Warn);
        Stopwatch clock = Stopwatch.StartNew();
        string? template = ModelFolder.TemplateOf(adapterFolder, modelFolder);
        ModelWriter.WriteMerged(model, modelFolder, output, dtype);
        if (template is not null) Formats.AtomicFile.WriteAllText(Path.Combine(output, ModelFolder.TemplateFile), template);
        double seconds = clock.Elapsed.TotalSeconds;
        using PretrainedModel merged = AnyModel.Load(output, backend);
        (double difference, double largest) = Compare(model, merged);
        long bytes = Directory.EnumerateFiles(output, "*.safetensors").Sum(f => new FileInfo(f).Length);
        terminal.Line(string.Create(CultureInfo.InvariantCulture, $"Merged into {output}: {Format.Bytes(bytes)} in {Format.Duration(seconds)}."));
        terminal.Line(string.Create(CultureInfo.InvariantCulture, $"Largest logit difference on {ProbeTokens} probe tokens: {difference:0.0e-0} (largest logit {largest:0.0})."));
        terminal.Result(new JsonObject
        {
            ["output"] = output,
            ["bytes"] = bytes,
            ["max_logit_difference"] = difference,
            ["largest_logit"] = largest,
            ["probe_tokens"] = ProbeTokens,
            ["seconds"] = seconds,
        });
        return ExitCodes.Fine;
    }

    private static (double Difference, double Largest) Compare(PretrainedModel first, PretrainedModel second)
    {
        int[] probe = Probe(first.Config.VocabSize);
        return first is CausalLM language ? ModelWriter.CompareLogits(language, (CausalLM)second, probe)
            : ClassifierRun.Compare((SequenceClassifier)first, (SequenceClassifier)second, [new ClassificationRow(probe, null, null, 0)]);
    }

    // Any tokens serve; these are spread over the vocabulary and the same every time.
    private static int[] Probe(int vocabulary)
    {
        int[] tokens = new int[ProbeTokens];
        uint state = 1;
        for (int i = 0; i < tokens.Length; i++)
        {
            state = state * 1664525 + 1013904223;
            tokens[i] = (int)((ulong)state * (ulong)vocabulary >> 32);
        }
        return tokens;
    }
}
