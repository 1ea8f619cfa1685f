using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>Keeps the rotation tables of each parameter set on the backend, long enough for the longest position seen.</summary>
internal sealed class RopeTables(Backend backend, int headSize, int maxPositions) : IDisposable
{
    // Reference identity: options hand out the same object for every layer that shares a table.
    private readonly Dictionary<RopeScaling, Entry> _tables = new(ReferenceEqualityComparer.Instance);

    private readonly record struct Entry(Tensor Cos, Tensor Sin, int Rows, int Regime);

    /// <summary>cos and sin [positions, R/2] that cover <paramref name="length"/> positions.</summary>
    public (Tensor Cos, Tensor Sin) Get(RopeScaling scaling, int length)
    {
        // Length-dependent scalings (dynamic, longrope) change their frequencies with the sequence, as in transformers.
        int regime = scaling.Regime(length, maxPositions);
        if (_tables.TryGetValue(scaling, out Entry entry))
        {
            if (entry.Regime == regime && entry.Rows >= length) return (entry.Cos, entry.Sin);
            backend.Synchronize();
            Free(entry);
        }
        int rows = Math.Max(length, Math.Min(maxPositions, Math.Max(256, 2 * length)));
        RopeTable table = RopeTable.Create(scaling, headSize, maxPositions, rows, length);
        entry = new Entry(backend.Create(table.Cos, rows, table.Columns), backend.Create(table.Sin, rows, table.Columns), rows, regime);
        _tables[scaling] = entry;
        return (entry.Cos, entry.Sin);
    }

    public void Dispose()
    {
        foreach (Entry entry in _tables.Values) Free(entry);
        _tables.Clear();
    }

    private void Free(Entry entry)
    {
        backend.Free(entry.Cos);
        backend.Free(entry.Sin);
    }
}
