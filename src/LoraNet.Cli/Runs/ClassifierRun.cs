using System.Globalization;
using LoraNet.Cli.Settings;
using LoraNet.Data;
using LoraNet.Metrics;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>Classification of texts, or regression.</summary>
internal sealed class ClassifierRun : RunTask
{
    private const int ProbeRows = 16;
    private readonly SequenceClassifier _model;
    private readonly IReadOnlyList<ClassificationRow> _rows, _held;
    private readonly List<string> _warnings = [];

    public ClassifierRun(SettingValues values, Backend backend, ModelConfig config, Tokenizer? tokenizer, TrainingOptions options)
    {
        if (values.Switch("packing")) throw values.Error("packing", "--packing has no meaning for a classifier.", "Leave it out.");
        DataOptions data = DataReading.Options(values, config) with { LabelNames = LabelNames(config), ValidationSeed = options.Seed };
        ClassificationSet train = ClassificationSet.Load(values.Required("data"), tokenizer, values.IsSet("eval-data") ? data : data with { ValidationShare = values.Number("val-split") ?? 0 });
        ClassificationSet? held = train.Validation;
        if (values.Text("eval-data") is { } evalPath)
        {
            if (values.IsSet("val-split")) throw values.Error("val-split", "--val-split and --eval-data exclude each other.", "Choose one of them.");
            held = ClassificationSet.Load(evalPath, tokenizer, data with { LabelNames = train.LabelNames ?? data.LabelNames, Split = Directory.Exists(evalPath) ? DataSplit.Validation : DataSplit.Train });
        }
        (_rows, _held) = (train.Rows, held?.Rows ?? []);
        _model = Open(values.Required("model"), backend, config, train, options.Seed);
        try
        {
            Check(_rows, _model, values.Required("data"));
            Check(_held, _model, values.Text("eval-data") ?? values.Required("data"));
            if (train.Truncated > 0) _warnings.Add($"{train.Truncated} rows were cut to the longest length.");
            if (_model.HasNewHead) _warnings.Add($"The model has no classification head: a new one of {_model.Options.Labels} outputs is trained.");
            Task = new ClassificationTask(_model, _rows, _held);
            Data = new RunData(_rows.Count, _rows.Count, _held.Count, _rows.Sum(r => (long)r.InputIds.Length), _rows.Count, _held.Count, _rows.Max(r => r.InputIds.Length), train.Truncated);
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
    public override string Unit => "samples";
    public override IReadOnlyList<string> Attention { get; } = ["query", "key", "value", "attention.output.dense"];

    public override Samples? CreateSamples() => null;

    public override (double Difference, double Largest) CompareMerged()
    {
        ClassificationRow[] probe = [.. (_held.Count > 0 ? _held : _rows).Take(ProbeRows)];
        using SequenceClassifier merged = _model.MergeAndUnload();
        return Compare(_model, merged, probe);
    }

    public override string Describe(double loss) => _model.Options.Regression ? FormattableString.Invariant($"root mean square error {Math.Sqrt(loss):0.####}") : FormattableString.Invariant($"mean probability {Math.Exp(-loss):0.###}");

    public override IReadOnlyList<(string Name, double Value)> Measure(int batchSize) => _held.Count == 0 ? [] : [.. GlueMetrics.Compute(null, Evaluator.Evaluate(_model, _held, batchSize)).Select(m => (m.Name, m.Value))];

    /// <summary>The largest difference of two classifiers' logits on some samples, and the largest logit.</summary>
    public static (double Difference, double Largest) Compare(SequenceClassifier first, SequenceClassifier second, IReadOnlyList<ClassificationRow> rows)
    {
        float[] a = [.. Evaluator.Evaluate(first, rows, 8).Logits.SelectMany(l => l)], b = [.. Evaluator.Evaluate(second, rows, 8).Logits.SelectMany(l => l)];
        return (a.Zip(b, static (x, y) => Math.Abs(x - (double)y)).Max(), a.Max(Math.Abs));
    }

    /// <summary>Names of the classes that config.json gives; null for transformers' LABEL_0, LABEL_1, … which name nothing.</summary>
    public static IReadOnlyList<string>? LabelNames(ModelConfig config)
    {
        if (config.Id2Label.Count < 2) return null;
        string[] names = [.. config.Id2Label.OrderBy(l => l.Key).Select(l => l.Value)];
        return names.All(n => n.StartsWith("LABEL_", StringComparison.Ordinal)) ? null : names;
    }

    /// <summary>Checks ids and labels against the model.</summary>
    public static void Check(IReadOnlyList<ClassificationRow> rows, SequenceClassifier model, string path)
    {
        for (int r = 0; r < rows.Count; r++)
        {
            foreach (int id in rows[r].InputIds)
                if ((uint)id >= (uint)model.Options.VocabularySize) throw new LoraNetException($"{path}, row {r + 1}: token id {id} is outside the model's vocabulary of {model.Options.VocabularySize}.", "Use the tokenizer that belongs to this model.");
            if (!model.Options.Regression && (rows[r].Label != Math.Floor(rows[r].Label) || rows[r].Label < 0 || rows[r].Label >= model.Options.Labels))
                throw new LoraNetException(string.Create(CultureInfo.InvariantCulture, $"{path}, row {r + 1}: label {rows[r].Label} is none of the model's {model.Options.Labels} classes."), "Classes are counted from 0.");
        }
    }

    // A model without a head gets one for the classes of the data.
    private static SequenceClassifier Open(string folder, Backend backend, ModelConfig config, ClassificationSet train, ulong seed)
    {
        SequenceClassifier model = SequenceClassifier.Load(folder, backend, headSeed: seed);
        if (!model.HasNewHead || (model.Options.Labels == train.Classes && LabelNames(config) is not null)) return model;
        model.Dispose();
        string[] names = train.IsRegression ? ["LABEL_0"] : [.. Enumerable.Range(0, Math.Max(2, train.Classes)).Select(i => train.LabelNames?[i] ?? $"LABEL_{i}")];
        return SequenceClassifier.Load(folder, backend, names, seed);
    }
}
