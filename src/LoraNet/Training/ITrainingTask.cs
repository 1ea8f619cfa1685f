using System.Security.Cryptography;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>A model with its data, as the training loop sees them: rows by number. What a row is and how its loss is formed is the task's.</summary>
public interface ITrainingTask
{
    /// <summary>The model with the trained adapter.</summary>
    PretrainedModel Model { get; }

    /// <summary>Training rows.</summary>
    int Count { get; }

    /// <summary>Whether there are held-out rows.</summary>
    bool HasHeldOut { get; }

    /// <summary>What a row counts in the mean loss: its trained tokens, or 1 for a classified sample.</summary>
    int TrainedCount(int row);

    /// <summary>Forward and backward of these rows: adds the sum of their losses to <paramref name="lossSum"/> and gradScale times its gradient to the parameters.</summary>
    /// <param name="tape">An empty tape; empty again afterwards.</param>
    /// <param name="rows">Numbers of the micro-batch's rows.</param>
    /// <param name="context">Training state.</param>
    /// <param name="gradScale">1 / <see cref="TrainedCount"/> of the whole optimizer step.</param>
    /// <param name="lossSum">[1], parameter type.</param>
    /// <param name="before">Sizes of the earlier micro-batches of this step, summed.</param>
    /// <returns>The micro-batch's sizes.</returns>
    BatchSizes Accumulate(Tape tape, ReadOnlySpan<int> rows, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before);

    /// <summary>Decides, before the first step, what its forward keeps.</summary>
    /// <returns>The plan, or null where memory is not planned.</returns>
    MemoryPlan? Plan(Tape tape, TrainingOptions options, long trained);

    /// <summary>Mean loss of the held-out rows, without dropout.</summary>
    EvaluationResult EvaluateHeldOut(int batchSize, Arena arena);

    /// <summary>Adds all training rows to a hash that tells whether a run is resumed on the same data.</summary>
    void AppendTo(IncrementalHash hash);
}

/// <summary>Sizes of one or more micro-batches.</summary>
/// <param name="Tokens">Real tokens.</param>
/// <param name="Trained">Trained tokens, or samples of a classifier.</param>
/// <param name="Padded">Tokens if every row were padded to its batch's longest.</param>
public readonly record struct BatchSizes(long Tokens, long Trained, long Padded)
{
    /// <summary>Element-wise sum.</summary>
    public static BatchSizes operator +(BatchSizes a, BatchSizes b) => new(a.Tokens + b.Tokens, a.Trained + b.Trained, a.Padded + b.Padded);
}
