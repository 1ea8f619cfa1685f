using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Data;
using LoraNet.Formats;
using LoraNet.Metrics;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Training;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet eval</c>: loss, perplexity and token count of a data file; with <c>--logits</c> also every logit.</summary>
internal static class EvalCommand
{
    private static readonly IReadOnlyList<Setting> _settings =
        [.. TrainSettings.Some("model", "adapter", "data", "packing", "batch-size"), .. DataReading.Settings, .. BackendFactory.Settings];

    public static Command Create(CommandContext context)
    {
        Command command = new("eval", "Loss, perplexity and token count of a data file.");
        SettingOptions.AddTo(command, _settings, recipe: true);
        Option<string> logits = new("--logits") { Description = "Also write logits, f32 [rows, longest, vocabulary], to this safetensors file.", HelpName = "FILE" };
        Option<bool> json = AllCommands.JsonOption();
        command.Add(logits);
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host, parse.GetValue(logits))));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string? logitsPath)
    {
        string modelFolder = values.Required("model"), dataPath = values.Required("data");
        if (values.Switch("packing")) throw values.Error("packing", "--packing changes nothing in an evaluation.", "Leave it out.");
        int batchSize = values.Integer("batch-size") ?? 8;
        if (batchSize < 1) throw values.Error("batch-size", "--batch-size must be at least 1.");
        using Backend backend = BackendFactory.Create(values, host);
        ModelFolder.Check(modelFolder);
        if (EncoderFamilies.Names.Contains(ModelConfig.Load(modelFolder).ModelType)) return RunClassifier(values, terminal, backend, batchSize, logitsPath);
        using CausalLM model = ModelFolder.Load(modelFolder, backend);
        if (values.Text("adapter") is { } adapter) AdapterFile.Load(adapter, model, trainable: false, warn: terminal.Warn);
        DataOptions options = DataReading.Options(values, model.Config) with { UntrainedRows = UntrainedRows.Keep };
        DataSet data = DataReading.Load(dataPath, ModelFolder.Tokenizer(modelFolder), options, model, host.Stop);
        foreach (string warning in data.Report.Warnings) terminal.Warn(warning);
        Stopwatch clock = Stopwatch.StartNew();
        EvaluationResult result = Evaluator.Evaluate(model, data.Rows, batchSize);
        double seconds = clock.Elapsed.TotalSeconds;
        if (logitsPath is not null) WriteLogits(logitsPath, model, data.Rows, batchSize);
        terminal.Table(["", ""],
        [
            ["loss", result.Loss.ToString("0.000000", System.Globalization.CultureInfo.InvariantCulture)],
            ["perplexity", result.Perplexity.ToString("0.####", System.Globalization.CultureInfo.InvariantCulture)],
            ["tokens", Format.Count(result.Tokens)],
            ["rows", Format.Count(data.Rows.Count)],
            ["time", Format.Duration(seconds)],
        ]);
        terminal.Result(new JsonObject
        {
            ["loss"] = Number(result.Loss),
            ["perplexity"] = Number(result.Perplexity),
            ["tokens"] = result.Tokens,
            ["rows"] = data.Rows.Count,
            ["seconds"] = seconds,
            ["device"] = backend.Name,
        });
        return double.IsFinite(result.Loss) ? ExitCodes.Fine : throw new LoraNetException("The loss is not finite.", "The weights or the adapter hold values that overflow.");
    }

    private static int RunClassifier(SettingValues values, Terminal terminal, Backend backend, int batchSize, string? logitsPath)
    {
        string folder = values.Required("model"), path = values.Required("data");
        using SequenceClassifier model = SequenceClassifier.Load(folder, backend);
        if (values.Text("adapter") is { } adapter) AdapterFile.Load(adapter, model, trainable: false, warn: terminal.Warn);
        else if (model.HasNewHead) throw new LoraNetException($"The model in {folder} has no classification head, so there is nothing to evaluate.", "Give a trained adapter with --adapter.");
        DataOptions options = DataReading.Options(values, model.Config) with { LabelNames = ClassifierRun.LabelNames(model.Config) };
        ClassificationSet data = ClassificationSet.Load(path, ModelFolder.Tokenizer(folder), options);
        ClassifierRun.Check(data.Rows, model, path);
        Stopwatch clock = Stopwatch.StartNew();
        ClassificationResult result = Evaluator.Evaluate(model, data.Rows, batchSize);
        double seconds = clock.Elapsed.TotalSeconds;
        if (logitsPath is not null) SafetensorsWriter.Write(logitsPath, [SafetensorsEntry.FromSingles("logits", result.Logits.SelectMany(l => l).ToArray(), [result.Rows, model.Options.Labels])]);
        IReadOnlyList<MetricValue> figures = GlueMetrics.Compute(null, result);
        terminal.Table(["", ""],
        [
            ["loss", result.Loss.ToString("0.000000", System.Globalization.CultureInfo.InvariantCulture)],
            .. figures.Select(f => (IReadOnlyList<string>)[f.Name.Replace('_', ' '), f.Value.ToString("0.0000", System.Globalization.CultureInfo.InvariantCulture)]),
            ["rows", Format.Count(result.Rows)],
            ["time", Format.Duration(seconds)],
        ]);
        JsonObject json = new() { ["loss"] = Number(result.Loss), ["rows"] = result.Rows };
        foreach ((string name, double value) in figures) json[name] = Number(value);
        json["seconds"] = seconds;
        json["device"] = backend.Name;
        terminal.Result(json);
        return double.IsFinite(result.Loss) ? ExitCodes.Fine : throw new LoraNetException("The loss is not finite.", "The weights or the adapter hold values that overflow.");
    }

    /// <summary>Writes logits [rows, longest, vocabulary] batch by batch; padded positions are 0.</summary>
    private static void WriteLogits(string path, CausalLM model, IReadOnlyList<TokenRow> rows, int batchSize)
    {
        int longest = rows.Max(r => r.InputIds.Length), vocabulary = model.Options.VocabularySize;
        SafetensorsEntry entry = new("logits", DType.F32, [rows.Count, longest, vocabulary], stream =>
        {
            using Arena arena = new(model.Backend);
            for (int first = 0; first < rows.Count; first += batchSize)
            {
                TokenRow[] part = [.. rows.Skip(first).Take(batchSize)];
                float[][] buffers = [.. part.Select(_ => new float[(long)longest * vocabulary])];
                using TokenBatch batch = TokenBatch.Create(model.Backend, part, vocabulary);
                model.Logits(arena, batch, (start, logits) =>
                {
                    float[] chunk = model.Backend.Download(logits);
                    for (int i = 0; i < logits.Rows; i++)
                    {
                        (int row, int column) = batch.Origin[start + i];
                        chunk.AsSpan(i * vocabulary, vocabulary).CopyTo(buffers[row].AsSpan(column * vocabulary));
                    }
                });
                foreach (float[] buffer in buffers) stream.Write(MemoryMarshal.AsBytes(buffer.AsSpan()));
            }
        });
        SafetensorsWriter.Write(path, [entry]);
    }

    private static JsonValue? Number(double value) => double.IsFinite(value) ? JsonValue.Create(value) : null;
}
