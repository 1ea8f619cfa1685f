using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>
/// Forward and backward of micro-batches on a backend that records: the second batch of a size is recorded, later ones are replayed
/// with one call instead of some nine hundred launches, which is what a step of few tokens waits for. Small batches are padded to
/// sizes that recur. A replay computes what the recorded operations computed, on new ids, targets, segments, gradient scale and step.
/// </summary>
internal sealed class RecordedBatches(CausalLM model) : IDisposable
{
    // Up to here launches take a good part of the step and whole tiles of rows cost the same; longer batches are not padded.
    private const int PaddedTokens = 4096;
    private const int Capacity = 64;

    private readonly record struct Size(int Tokens, int Trained, long Tables, long TokenOffset, long TrainedOffset);

    private sealed record Entry(TokenBatch Batch, IRecordedWork Work);

    private readonly Dictionary<Size, Entry?> _entries = [];
    private readonly UnpaddedRows _rows = new();
    private bool _rehearsed, _records, _drops;
    private int _recordings;
    private TokenBatch? _last;
    // What all entries were recorded for.
    private (Tape? Tape, Tensor? LossSum, int ActiveAdapters) _for;

    /// <summary>Batches computed by replay so far.</summary>
    public int Replays { get; private set; }

    /// <summary>As <see cref="ITrainingTask.Accumulate"/>, for these samples.</summary>
    public BatchSizes Accumulate(Tape tape, IReadOnlyList<TokenRow> samples, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        _rows.Fill(samples, model.Options.VocabularySize);
        int tokens = _rows.Ids.Count, trained = _rows.TrainedRows.Count;
        BatchSizes sizes = new(tokens, trained, 0);
        if (trained == 0) return sizes;
        if (_for != (tape, lossSum, model.Version)) Begin(tape, lossSum);
        // A replay writes into whatever the arena lent while it was recorded, which must be lent to nobody else.
        bool records = _records && model.Backend.CanRecord && !_rows.OwnAdapters && tape.Arena.Live == 0;
        int longest = 0;
        foreach (int position in _rows.Positions) longest = Math.Max(longest, position);
        model.CheckPositions(longest + 1);
        if (records && tokens <= PaddedTokens)
        {
            _rows.Pad(RoundUp(tokens), RoundUp(trained), model.PaddingPositions(longest + 1));
            for (int i = tokens; i < _rows.Positions.Count; i++) longest = Math.Max(longest, _rows.Positions[i]);
        }
        // Masks depend on where a batch lies in its step; without dropout that does not matter.
        Size size = new(_rows.Ids.Count, _rows.TrainedRows.Count, model.RopeAddresses(longest), _drops ? before.Tokens : 0, _drops ? before.Trained : 0);
        ReplayValues values = new(gradScale, context.Step);
        if (records && Recorded(size) is { } entry && entry.Batch.TryTake(model.Backend, _rows))
        {
            entry.Work.Replay(values);
            Replays++;
            return sizes;
        }
        bool again = records && _recordings < Capacity && !_entries.TryAdd(size, null) && _entries[size] is null;
        TokenBatch batch = new(model.Backend, samples, _rows);
        void Body() => model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained);
        if (!_rehearsed) model.Backend.Rehearse(Body);
        _rehearsed = true;
        // The first rehearsal of a batch may upload tables that it then has.
        if (again && !(_records = model.Backend.Rehearse(Body) || model.Backend.Rehearse(Body))) again = false;
        if (again)
        {
            IRecordedWork work = model.Backend.Record(values, Body);
            _entries[size] = new Entry(batch, work);
            _recordings++;
            work.Replay(values);
            return sizes;
        }
        Body();
        _last?.Dispose();
        _last = batch;
        return sizes;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Clear();
        _last?.Dispose();
        _last = null;
    }

    /// <summary>Other adapters are active, or another run trains: nothing that was recorded stands for them.</summary>
    private void Begin(Tape tape, Tensor lossSum)
    {
        Clear();
        _for = (tape, lossSum, model.Version);
        List<LinearModule> linear = [.. model.Modules.OfType<LinearModule>()];
        _drops = linear.Any(m => m.Active.Any(l => l.Dropout > 0) || m.Methods.Any(l => l.DropsInputs));
        // A replay does what was recorded; what is left out of a step is decided on the host.
        _records = !linear.Any(m => m.Methods.Any(l => l.DiffersByStep));
        _rehearsed = false;
    }

    private void Clear()
    {
        foreach (Entry? entry in _entries.Values) Free(entry);
        _entries.Clear();
        _recordings = 0;
        _for = default;
    }

    private Entry? Recorded(Size size)
    {
        if (!_entries.TryGetValue(size, out Entry? entry) || entry is null) return null;
        if (entry.Work.IsValid) return entry;
        Free(entry);
        _recordings--;
        _entries[size] = null;
        return null;
    }

    private static void Free(Entry? entry)
    {
        entry?.Work.Dispose();
        entry?.Batch.Dispose();
    }

    private int RoundUp(int n)
    {
        int multiple = model.Backend.RecordedRowMultiple;
        return (n + multiple - 1) / multiple * multiple;
    }
}
