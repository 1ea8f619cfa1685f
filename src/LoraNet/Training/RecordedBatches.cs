using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>
/// Micro-batches of a language model by <see cref="RecordedWorks{TSize, TBatch}"/>: some nine hundred launches become one call, which is
/// what a step of few tokens waits for. Small batches are padded to sizes that recur. A replay gets new ids, targets, segments, gradient
/// scale and step.
/// </summary>
internal sealed class RecordedBatches(CausalLM model) : IDisposable
{
    // Up to here launches take a good part of the step and whole tiles of rows cost the same; longer batches are not padded.
    private const int PaddedTokens = 4096;

    private readonly record struct Size(int Tokens, int Trained, long Tables, long TokenOffset, long TrainedOffset);

    private readonly RecordedWorks<Size, TokenBatch> _works = new(model);
    private readonly UnpaddedRows _rows = new();

    /// <summary>Batches computed by replay so far.</summary>
    public int Replays => _works.Replays;

    /// <summary>As <see cref="ITrainingTask.Accumulate"/>, for these samples.</summary>
    public BatchSizes Accumulate(Tape tape, IReadOnlyList<TokenRow> samples, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        _rows.Fill(samples, model.Options.VocabularySize);
        int tokens = _rows.Ids.Count, trained = _rows.TrainedRows.Count;
        BatchSizes sizes = new(tokens, trained, 0);
        if (trained == 0) return sizes;
        bool records = _works.Begin(tape, lossSum) && !_rows.OwnAdapters;
        int longest = 0;
        foreach (int position in _rows.Positions) longest = Math.Max(longest, position);
        model.CheckPositions(longest + 1);
        if (records && tokens <= PaddedTokens)
        {
            _rows.Pad(RoundUp(tokens), RoundUp(trained), model.PaddingPositions(longest + 1));
            for (int i = tokens; i < _rows.Positions.Count; i++) longest = Math.Max(longest, _rows.Positions[i]);
        }
        // Masks depend on where a batch lies in its step; without dropout that does not matter.
        Size size = new(_rows.Ids.Count, _rows.TrainedRows.Count, model.RopeAddresses(longest), _works.Drops ? before.Tokens : 0, _works.Drops ? before.Trained : 0);
        _works.Run(size, records, new ReplayValues(gradScale, context.Step), batch => batch.TryTake(model.Backend, _rows), () => new TokenBatch(model.Backend, samples, _rows),
            batch => model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained));
        return sizes;
    }

    /// <inheritdoc/>
    public void Dispose() => _works.Dispose();

    private int RoundUp(int n)
    {
        int multiple = model.Backend.RecordedRowMultiple;
        return (n + multiple - 1) / multiple * multiple;
    }
}
