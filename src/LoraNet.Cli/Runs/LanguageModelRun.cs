using LoraNet.Cli.Commands;
using LoraNet.Cli.Settings;
using LoraNet.Data;
using LoraNet.Data.Packing;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>Next-token prediction.</summary>
internal sealed class LanguageModelRun : RunTask
{
    private const int ProbeTokens = 64;
    private readonly CausalLM _model;
    private readonly Tokenizer? _tokenizer;
    private readonly IReadOnlyList<TokenRow> _rows, _held;
    private readonly List<string> _warnings = [];

    public LanguageModelRun(SettingValues values, Backend backend, Tokenizer? tokenizer, TrainingOptions options, CancellationToken stop)
    {
        _model = ModelFolder.Load(values.Required("model"), backend);
        try
        {
            _tokenizer = tokenizer;
            (DataSet train, _held) = Read(values, options, stop);
            _rows = train.Rows;
            int length = DataReading.MaxLength(values, _model.Config);
            IReadOnlyList<PackedRow> packs = values.Switch("packing") ? RowPacker.Pack(_rows, length, keepOrder: !options.Shuffle) : PackedRow.Single(_rows);
            Task = new LanguageModelTask(_model, packs, _held);
            Data = new RunData(_rows.Count, packs.Count, _held.Count, _rows.Sum(r => (long)r.InputIds.Length), _rows.Sum(r => (long)r.TrainedTokens), _held.Sum(r => (long)r.TrainedTokens), _rows.Max(r => r.InputIds.Length), train.Report.Truncated);
        }
        catch
        {
            _model.Dispose();
            throw;
        }
    }

    public override PretrainedModel Model => _model;
    public override ITrainingTask Task { get; }
    public override RunData Data { get; }
    public override IReadOnlyList<string> Warnings => _warnings;
    public override string Unit => "tokens";
    public override IReadOnlyList<string> Attention => PlanCommand.AttentionNames(_model.Options);

    public override Samples? CreateSamples() => _tokenizer is null ? null : new Samples(_held.Count > 0 ? _held : _rows, _tokenizer, _model);

    public override (double Difference, double Largest) CompareMerged()
    {
        TokenRow row = _held.Count > 0 ? _held[0] : _rows[0];
        int[] probe = row.AttentionMask?.Contains(0) == true ? [.. row.InputIds.Where((_, i) => row.AttentionMask[i] != 0)] : row.InputIds;
        using CausalLM merged = _model.MergeAndUnload();
        return ModelWriter.CompareLogits(_model, merged, probe[..Math.Min(ProbeTokens, probe.Length)]);
    }

    public override IReadOnlyList<IReadOnlyList<TokenRow>> InitialBatches(int batchSize) => [.. _rows.Chunk(batchSize)];

    public override string Describe(double loss) => FormattableString.Invariant($"perplexity {Math.Exp(loss):0.###}");

    private (DataSet Train, IReadOnlyList<TokenRow> Held) Read(SettingValues values, TrainingOptions options, CancellationToken stop)
    {
        DataOptions data = DataReading.Options(values, _model.Config) with { ValidationSeed = options.Seed };
        string path = values.Required("data");
        if (values.Text("eval-data") is { } evalPath)
        {
            if (values.IsSet("val-split")) throw values.Error("val-split", "--val-split and --eval-data exclude each other.", "Choose one of them.");
            DataSet rows = Load(path, data, "");
            return (rows, Load(evalPath, data with { Split = Directory.Exists(evalPath) ? DataSplit.Validation : DataSplit.Train, UntrainedRows = UntrainedRows.Keep }, "held-out data: ").Rows);
        }
        DataSet train = Load(path, data with { ValidationShare = values.Number("val-split") ?? 0 }, "");
        return (train, train.Validation?.Rows ?? []);

        DataSet Load(string file, DataOptions with, string what)
        {
            DataSet set = DataReading.Load(file, _tokenizer, with, _model, stop);
            _warnings.AddRange(set.Report.Warnings.Select(w => what + w));
            return set;
        }
    }
}
