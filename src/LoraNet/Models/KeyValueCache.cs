using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>Keys and values of earlier tokens for several sequences at once: per layer two tensors [sequences · capacity, Hkv · D].</summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly Backend _backend;
    private readonly Tensor[] _keys;
    private readonly Tensor[] _values;
    private DecodeKey _lastKey;

    internal KeyValueCache(Backend backend, int layers, int width, int sequences, int capacity)
    {
        _backend = backend;
        (Sequences, Capacity) = (sequences, capacity);
        Lengths = new int[sequences];
        _keys = new Tensor[layers];
        _values = new Tensor[layers];
        for (int i = 0; i < layers; i++)
        {
            // Rows are written once; backends may add to zero.
            backend.Zero(_keys[i] = backend.Create(backend.ComputeType, checked(sequences * capacity), width));
            backend.Zero(_values[i] = backend.Create(backend.ComputeType, checked(sequences * capacity), width));
        }
    }

    /// <summary>Number of sequences.</summary>
    public int Sequences { get; }

    /// <summary>Longest sequence that fits.</summary>
    public int Capacity { get; }

    /// <summary>Tokens stored of each sequence.</summary>
    public int[] Lengths { get; }

    /// <summary>The decoding pass recorded for this cache, if any.</summary>
    internal RecordedDecode? Recorded
    {
        get;
        set
        {
            field?.Dispose();
            field = value;
        }
    }

    /// <summary>True when the pass before had the same key.</summary>
    internal bool Repeats(DecodeKey key)
    {
        bool repeats = _lastKey == key;
        _lastKey = key;
        return repeats;
    }

    /// <summary>Turns new queries and keys in place, where there are tables, and stores keys and values.</summary>
    internal void Append(int layer, Tensor q, Tensor k, Tensor v, (Tensor Cos, Tensor Sin)? tables, Tensor positions, int headSize, Tensor rows) =>
        _backend.AppendKeyValues(new KeyValueAppend(q, k, v, tables?.Cos, tables?.Sin, positions, headSize, rows, _keys[layer], _values[layer]));

    /// <summary>All keys and values of a layer.</summary>
    internal (Tensor Keys, Tensor Values) Layer(int layer) => (_keys[layer], _values[layer]);

    /// <inheritdoc/>
    public void Dispose()
    {
        Recorded = null;
        foreach (Tensor tensor in _keys) _backend.Free(tensor);
        foreach (Tensor tensor in _values) _backend.Free(tensor);
    }
}
