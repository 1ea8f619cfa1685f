using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>
/// Which adapters each row of a mixed batch uses: one mask [rows] of ones and zeros per adapter, with which the low-rank part of
/// its layers is multiplied. One pass through the frozen weights so serves all rows, whatever their adapters.
/// </summary>
internal sealed class RowAdapters : IDisposable
{
    /// <summary>The name that stands for the base model alone, as in PEFT.</summary>
    public const string Base = "__base__";

    private readonly Backend _backend;
    private readonly string?[] _names;
    private readonly IReadOnlyCollection<string> _active;
    private readonly Dictionary<string, Tensor> _masks = [];
    private readonly List<RowAdapters> _parts = [];

    /// <summary>Masks are made when they are first needed.</summary>
    /// <param name="backend">Where they live.</param>
    /// <param name="names">Adapter of each row; null for all of <paramref name="active"/>.</param>
    /// <param name="active">The model's active adapters.</param>
    public RowAdapters(Backend backend, string?[] names, IReadOnlyCollection<string> active) => (_backend, _names, _active) = (backend, names, active);

    /// <summary>1 where the row uses the adapter, else 0; of the parameter type [rows].</summary>
    public Tensor Mask(string adapter)
    {
        if (_masks.TryGetValue(adapter, out Tensor? mask)) return mask;
        bool active = _active.Contains(adapter);
        float[] values = [.. _names.Select(name => name == adapter || (name is null && active) ? 1f : 0f)];
        return _masks[adapter] = _backend.Create(values, values.Length);
    }

    /// <summary>The same for some of the rows; lives as long as this object.</summary>
    public RowAdapters Select(IEnumerable<int> rows)
    {
        RowAdapters part = new(_backend, [.. rows.Select(r => _names[r])], _active);
        _parts.Add(part);
        return part;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (RowAdapters part in _parts) part.Dispose();
        foreach (Tensor mask in _masks.Values) _backend.Free(mask);
        _parts.Clear();
        _masks.Clear();
    }
}
