using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>Keys and values of earlier tokens for several sequences at once: per layer two tensors [sequences · capacity, Hkv · D].</summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly Backend _backend;
    private readonly Tensor[] _keys;
    private readonly Tensor[] _values;

    internal KeyValueCache(Backend backend, int layers, int width, int sequences, int capacity)
    {
        _backend = backend;
        (Sequences, Capacity) = (sequences, capacity);
        Lengths = new int[sequences];
        _keys = new Tensor[layers];
        _values = new Tensor[layers];
        for (int i = 0; i < layers; i++)
        {
            // Rows are written once by adding to zero.
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

    /// <summary>Stores new rows and replaces k and v by the whole cache of the layer.</summary>
    internal void Append(int layer, ref Tensor k, ref Tensor v, Tensor rows)
    {
        _backend.ScatterAddRows(k, rows, _keys[layer]);
        _backend.ScatterAddRows(v, rows, _values[layer]);
        Arena.Release(k);
        Arena.Release(v);
        (k, v) = (_keys[layer], _values[layer]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in _keys) _backend.Free(tensor);
        foreach (Tensor tensor in _values) _backend.Free(tensor);
    }
}
