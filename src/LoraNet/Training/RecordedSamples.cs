using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>
/// Micro-batches of a classifier by <see cref="RecordedWorks{TSize, TBatch}"/>: encoders are small, so nearly all of their step would be
/// launches. Batches are padded to numbers of tokens that recur, with samples that no head reads.
/// </summary>
internal sealed class RecordedSamples(SequenceClassifier model) : IDisposable
{
    // Longer batches are padded more coarsely, so that their sizes recur too: one part in sixteen at most.
    private const int FineTokens = 4096;

    private readonly record struct Size(int Tokens, int Samples, float GradScale, long TokenOffset, long RowOffset);

    private readonly RecordedWorks<Size, EncoderBatch> _works = new(model);
    private readonly EncoderRows _rows = new();

    /// <summary>Batches computed by replay so far.</summary>
    public int Replays => _works.Replays;

    /// <summary>As <see cref="ITrainingTask.Accumulate"/>, for these samples.</summary>
    public BatchSizes Accumulate(Tape tape, IReadOnlyList<ClassificationRow> samples, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        _rows.Fill(samples, model.Options);
        BatchSizes sizes = new(_rows.Ids.Count, samples.Count, 0);
        bool records = _works.Begin(tape, lossSum);
        if (records) _rows.Pad(RoundUp(_rows.Ids.Count), model.Options);
        // The squared error's gradient is scaled by an argument, which a replay does not change; a mean over classes reads it from memory.
        Size size = new(_rows.Ids.Count, samples.Count, model.Options.Regression ? gradScale : 0, _works.Drops ? before.Tokens : 0, _works.Drops ? before.Trained : 0);
        _works.Run(size, records, new ReplayValues(gradScale, context.Step), batch => batch.TryTake(_rows), () => new EncoderBatch(model.Backend, _rows, model.Options),
            batch => model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained));
        return sizes;
    }

    /// <inheritdoc/>
    public void Dispose() => _works.Dispose();

    private int RoundUp(int n)
    {
        int fine = model.Backend.RecordedRowMultiple, multiple = fine * Math.Max(1, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)n) / FineTokens);
        return (n + multiple - 1) / multiple * multiple;
    }
}
