using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>
/// Forward and backward of micro-batches on a backend that records: the second batch of a size is recorded, later ones are replayed
/// with one call instead of hundreds of launches. A replay computes what the recorded operations computed, on what the batch that was
/// recorded with takes over from the one at hand.
/// </summary>
/// <typeparam name="TSize">What batches must share to be served by one recording.</typeparam>
/// <typeparam name="TBatch">The tensors of a batch.</typeparam>
internal sealed class RecordedWorks<TSize, TBatch>(PretrainedModel model) : IDisposable
    where TSize : struct, IEquatable<TSize>
    where TBatch : class, IDisposable
{
    private const int Capacity = 64;

    private sealed record Entry(TBatch Batch, IRecordedWork Work);

    private readonly Dictionary<TSize, Entry?> _entries = [];
    private bool _rehearsed, _records;
    private int _recordings;
    private TBatch? _last;
    // What all entries were recorded for.
    private (Tape? Tape, Tensor? LossSum, int ActiveAdapters) _for;

    /// <summary>Batches computed by replay so far.</summary>
    public int Replays { get; private set; }

    /// <summary>Whether masks, and with them a recording, depend on where a batch lies in its step.</summary>
    public bool Drops { get; private set; }

    /// <summary>Begins a batch: drops what was recorded for other adapters or another run.</summary>
    /// <returns>Whether the batch may be recorded.</returns>
    public bool Begin(Tape tape, Tensor lossSum)
    {
        if (_for != (tape, lossSum, model.Version)) Restart(tape, lossSum);
        // A replay writes into whatever the arena lent while it was recorded, which must be lent to nobody else.
        return _records && model.Backend.CanRecord && tape.Arena.Live == 0;
    }

    /// <summary>Computes a batch, by replay where its size was recorded.</summary>
    /// <param name="size">Its size.</param>
    /// <param name="records">What <see cref="Begin"/> said, if the batch has nothing against it.</param>
    /// <param name="values">What differs from replay to replay.</param>
    /// <param name="take">Puts it into the tensors of a batch of its size.</param>
    /// <param name="create">Makes its own tensors.</param>
    /// <param name="body">The operations.</param>
    public void Run(TSize size, bool records, ReplayValues values, Func<TBatch, bool> take, Func<TBatch> create, Action<TBatch> body)
    {
        if (records && Recorded(size) is { } entry && take(entry.Batch))
        {
            entry.Work.Replay(values);
            Replays++;
            return;
        }
        bool again = records && _recordings < Capacity && !_entries.TryAdd(size, null) && _entries[size] is null;
        TBatch batch = create();
        void Body() => body(batch);
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
            return;
        }
        Body();
        // Queued work still reads it; the next batch's uploads come after that.
        _last?.Dispose();
        _last = batch;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Clear();
        _last?.Dispose();
        _last = null;
    }

    /// <summary>Other adapters are active, or another run trains: nothing that was recorded stands for them.</summary>
    private void Restart(Tape tape, Tensor lossSum)
    {
        Clear();
        _for = (tape, lossSum, model.Version);
        List<LinearModule> linear = [.. model.Modules.OfType<LinearModule>()];
        Drops = linear.Any(m => m.Active.Any(l => l.Dropout > 0) || m.Methods.Any(l => l.DropsInputs));
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

    private Entry? Recorded(TSize size)
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
}
