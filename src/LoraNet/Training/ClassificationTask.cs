using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>Classification of texts, or regression: each row is one sample, and the loss is the mean over samples.</summary>
public sealed class ClassificationTask(SequenceClassifier model, IReadOnlyList<ClassificationRow> rows, IReadOnlyList<ClassificationRow>? heldOut = null) : ITrainingTask, IDisposable
{
    // A device's batch should fill it; nothing is kept of an evaluated one.
    private const int DeviceRows = 256;

    private readonly IReadOnlyList<ClassificationRow> _heldOut = heldOut ?? [];
    private readonly List<ClassificationRow> _samples = [];
    private readonly RecordedSamples? _recorded = model.Backend.CanRecord ? new RecordedSamples(model) : null;

    /// <inheritdoc/>
    public PretrainedModel Model => model;

    /// <inheritdoc/>
    public int Count => rows.Count;

    /// <inheritdoc/>
    public bool HasHeldOut => _heldOut.Count > 0;

    /// <summary>Micro-batches so far that replayed recorded work, on backends that record.</summary>
    public int ReplayedBatches => _recorded?.Replays ?? 0;

    /// <inheritdoc/>
    public int TrainedCount(int row) => 1;

    /// <inheritdoc/>
    public BatchSizes Accumulate(Tape tape, ReadOnlySpan<int> batchRows, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        _samples.Clear();
        int longest = 0;
        foreach (int row in batchRows)
        {
            _samples.Add(rows[row]);
            longest = Math.Max(longest, rows[row].InputIds.Length);
        }
        long padded = (long)_samples.Count * longest;
        if (_recorded is not null) return _recorded.Accumulate(tape, _samples, context, gradScale, lossSum, before) with { Padded = padded };
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, _samples, model.Options);
        model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained);
        // The batch's tensors must outlive the queued work.
        model.Backend.Synchronize();
        return new BatchSizes(batch.Tokens, batch.Rows, padded);
    }

    /// <summary>Frees what was recorded.</summary>
    public void Dispose() => _recorded?.Dispose();

    /// <inheritdoc/>
    public MemoryPlan? Plan(Tape tape, TrainingOptions options, long trained)
    {
        tape.Policy = options.Activations switch
        {
            ActivationChoice.Selective or ActivationChoice.Recompute => ActivationPolicy.Selective,
            ActivationChoice.Norms => ActivationPolicy.Norms,
            _ => ActivationPolicy.Keep,
        };
        return null;
    }

    /// <inheritdoc/>
    public EvaluationResult EvaluateHeldOut(int batchSize, Arena arena)
    {
        ClassificationResult result = Evaluator.Evaluate(model, _heldOut, model.Backend.IsHost ? batchSize : Math.Max(batchSize, DeviceRows), arena);
        return new EvaluationResult(result.Loss, result.Rows);
    }

    /// <inheritdoc/>
    public void AppendTo(IncrementalHash hash)
    {
        foreach (ClassificationRow row in rows)
        {
            hash.AppendData(MemoryMarshal.AsBytes(row.InputIds.AsSpan()));
            if (row.TokenTypeIds is not null) hash.AppendData(MemoryMarshal.AsBytes(row.TokenTypeIds.AsSpan()));
            if (row.AttentionMask is not null) hash.AppendData(MemoryMarshal.AsBytes(row.AttentionMask.AsSpan()));
            hash.AppendData(BitConverter.GetBytes(row.Label));
        }
    }
}
