using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>Classification of texts, or regression: each row is one sample, and the loss is the mean over samples.</summary>
public sealed class ClassificationTask(SequenceClassifier model, IReadOnlyList<ClassificationRow> rows, IReadOnlyList<ClassificationRow>? heldOut = null) : ITrainingTask
{
    private readonly IReadOnlyList<ClassificationRow> _heldOut = heldOut ?? [];

    /// <inheritdoc/>
    public PretrainedModel Model => model;

    /// <inheritdoc/>
    public int Count => rows.Count;

    /// <inheritdoc/>
    public bool HasHeldOut => _heldOut.Count > 0;

    /// <inheritdoc/>
    public int TrainedCount(int row) => 1;

    /// <inheritdoc/>
    public BatchSizes Accumulate(Tape tape, ReadOnlySpan<int> batchRows, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        List<ClassificationRow> samples = [];
        foreach (int row in batchRows) samples.Add(rows[row]);
        using EncoderBatch batch = EncoderBatch.Create(model.Backend, samples, model.Options);
        model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained);
        // The batch's tensors must outlive the queued work.
        model.Backend.Synchronize();
        return new BatchSizes(batch.Tokens, batch.Rows, (long)samples.Count * samples.Max(s => s.InputIds.Length));
    }

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
        ClassificationResult result = Evaluator.Evaluate(model, _heldOut, batchSize, arena);
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
