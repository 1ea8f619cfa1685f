using LoraNet.Data;
using LoraNet.Formats;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Training;

namespace LoraNet.CudaCheck;

/// <summary>A golden case's model with its rows.</summary>
internal interface IGoldenModel : IDisposable
{
    PretrainedModel Model { get; }

    /// <summary>Rows of each step.</summary>
    int BatchSize { get; }

    /// <summary>Norm of the difference of the first step's logits over the norm.</summary>
    double Logits(Arena arena, float[] expected);

    /// <summary>Mean loss of the first step's rows.</summary>
    double Loss();

    /// <summary>Gradients of the first step's mean loss.</summary>
    void Accumulate(Tape tape, Tensor lossSum);

    /// <summary>A run over the rows of all steps.</summary>
    LoraTrainer Trainer(TrainingOptions options);
}

/// <summary>The integers and numbers of a golden case.</summary>
internal sealed class GoldenRows(SafetensorsFile expected)
{
    public int Steps { get; } = Enumerable.Range(0, int.MaxValue).TakeWhile(s => expected.Tensors.ContainsKey($"step{s}.input_ids")).Count();

    public int[][] Integers(int step, string name)
    {
        HostTensor tensor = expected.Tensors[$"step{step}.{name}"];
        return [.. tensor.ToArray().Select(v => (int)v).Chunk(tensor.Shape[1])];
    }

    public float[] Numbers(int step, string name) => expected.Tensors[$"step{step}.{name}"].ToArray();

    public static double Distance(IEnumerable<(float Mine, float Theirs)> values)
    {
        double difference = 0, norm = 0;
        foreach ((float mine, float theirs) in values)
        {
            difference += (mine - (double)theirs) * (mine - (double)theirs);
            norm += (double)theirs * theirs;
        }
        return Math.Sqrt(difference / norm);
    }
}

/// <summary>A decoder.</summary>
internal sealed class GoldenDecoder : IGoldenModel
{
    private readonly CausalLM _model;
    private readonly List<TokenRow>[] _steps;

    public GoldenDecoder(string folder, Backend backend, SafetensorsFile expected)
    {
        _model = CausalLM.Load(folder, backend);
        GoldenRows rows = new(expected);
        _steps = [.. Enumerable.Range(0, rows.Steps).Select(Step)];

        List<TokenRow> Step(int s)
        {
            int[][] ids = rows.Integers(s, "input_ids"), masks = rows.Integers(s, "attention_mask"), labels = rows.Integers(s, "labels");
            return [.. ids.Select((row, r) => new TokenRow(row, labels[r], masks[r]))];
        }
    }

    public PretrainedModel Model => _model;

    public int BatchSize => _steps[0].Count;

    public double Logits(Arena arena, float[] expected)
    {
        using TokenBatch batch = TokenBatch.Create(_model.Backend, _steps[0], _model.Options.VocabularySize);
        int v = _model.Options.VocabularySize;
        List<(float, float)> values = [];
        _model.Logits(arena, batch, (start, logits) =>
        {
            float[] mine = _model.Backend.Download(logits);
            for (int i = 0; i < logits.Rows; i++)
            {
                (int r, int c) = batch.Origin[start + i];
                for (int j = 0; j < v; j++) values.Add((mine[i * v + j], expected[(r * batch.Longest + c) * v + j]));
            }
        });
        return GoldenRows.Distance(values);
    }

    public double Loss() => Evaluator.Evaluate(_model, _steps[0], 8).Loss;

    public void Accumulate(Tape tape, Tensor lossSum)
    {
        using TokenBatch batch = TokenBatch.Create(_model.Backend, _steps[0], _model.Options.VocabularySize);
        _model.AccumulateLoss(tape, batch, new ForwardContext { Training = true }, 1f / batch.TrainedTokens, lossSum);
        _model.Backend.Synchronize();
    }

    public LoraTrainer Trainer(TrainingOptions options) => new(_model, [.. _steps.SelectMany(s => s)], options);

    public void Dispose() => _model.Dispose();
}

/// <summary>An encoder with a classification head.</summary>
internal sealed class GoldenClassifier : IGoldenModel
{
    private readonly SequenceClassifier _model;
    private readonly List<ClassificationRow>[] _steps;

    public GoldenClassifier(string folder, Backend backend, SafetensorsFile expected)
    {
        _model = SequenceClassifier.Load(folder, backend);
        GoldenRows rows = new(expected);
        _steps = [.. Enumerable.Range(0, rows.Steps).Select(Step)];

        List<ClassificationRow> Step(int s)
        {
            int[][] ids = rows.Integers(s, "input_ids"), masks = rows.Integers(s, "attention_mask");
            float[] labels = rows.Numbers(s, "labels");
            return [.. ids.Select((row, r) => new ClassificationRow(row, masks[r], null, labels[r]))];
        }
    }

    public PretrainedModel Model => _model;

    public int BatchSize => _steps[0].Count;

    public double Logits(Arena arena, float[] expected)
    {
        IEnumerable<float> mine = Evaluator.Evaluate(_model, _steps[0], 8, arena).Logits.SelectMany(l => l);
        return GoldenRows.Distance(mine.Zip(expected));
    }

    public double Loss() => Evaluator.Evaluate(_model, _steps[0], 8).Loss;

    public void Accumulate(Tape tape, Tensor lossSum)
    {
        using EncoderBatch batch = EncoderBatch.Create(_model.Backend, _steps[0], _model.Options);
        _model.AccumulateLoss(tape, batch, new ForwardContext { Training = true }, 1f / batch.Rows, lossSum);
        _model.Backend.Synchronize();
    }

    public LoraTrainer Trainer(TrainingOptions options) => new(_model, _steps.SelectMany(s => s).ToList(), options);

    public void Dispose() => _model.Dispose();
}
