using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>A named adapter over a model: LoRA layers by module path, and trainable copies of base tensors.</summary>
public sealed class LoraAdapter : IDisposable
{
    private readonly Dictionary<string, LoraLayer> _layers = [];
    private readonly List<AdapterPart> _parts = [];
    private readonly List<(BaseTensor Tensor, Parameter Copy)> _overrides = [];
    private readonly List<(BaseTensor Tensor, Weight Weight)> _standins = [];

    /// <summary>Creates an adapter without layers.</summary>
    public LoraAdapter(string name, LoraConfig config) => (Name, Config) = (name, config);

    /// <summary>Name used to switch; not part of any file.</summary>
    public string Name { get; }

    /// <summary>Its settings.</summary>
    public LoraConfig Config { get; private set; }

    /// <summary>True after a swap to smaller ranks: the tensors have rows and columns of zeros that the settings don't know of.</summary>
    public bool IsPadded { get; private set; }

    /// <summary>Plain LoRA layers by module path.</summary>
    public IReadOnlyDictionary<string, LoraLayer> Layers => _layers;

    /// <summary>What else it holds: LoRA over fused experts, or the layers of another method.</summary>
    public IReadOnlyList<AdapterPart> Parts => _parts;

    /// <summary>Base tensors replaced by trainable copies while the adapter is active.</summary>
    public IReadOnlyList<(BaseTensor Tensor, Parameter Copy)> Overrides => _overrides;

    /// <summary>Frozen weights that stand in for the base's while the adapter is active (LoftQ).</summary>
    internal IReadOnlyList<(BaseTensor Tensor, Weight Weight)> Standins => _standins;

    /// <summary>All parameters, layers in module order first.</summary>
    public IEnumerable<Parameter> Parameters => _layers.Values.SelectMany(l => l.Parameters).Concat(_parts.SelectMany(p => p.Parameters)).Concat(_overrides.Select(o => o.Copy));

    /// <summary>Number of trainable values.</summary>
    public long ParameterCount => Parameters.Where(p => !p.Frozen).Sum(p => p.Count);

    /// <summary>
    /// Hot swap: takes the values and scalings of another adapter of the same model into this one's buffers, so that whatever
    /// holds them goes on unchanged. Smaller ranks are padded with zeros, and layers that the other lacks are zeroed: neither
    /// changes a result. Optimizer moments are not reset; a swap is meant for inference.
    /// </summary>
    /// <exception cref="LoraNetException">The other adapts a module that this one does not, has a larger rank, or is of another kind.</exception>
    public void CopyFrom(LoraAdapter other)
    {
        // All checks come first: a refused swap leaves this adapter as it was.
        if (_standins.Count + other._standins.Count > 0) throw Refused("LoftQ's base belongs to one adapter");
        if (_parts.Count + other._parts.Count > 0) throw Refused("fused experts and methods other than LoRA are not swapped");
        foreach ((string path, LoraLayer layer) in other._layers)
        {
            if (!_layers.TryGetValue(path, out LoraLayer? target))
                throw Refused($"it adapts '{path}', which adapter '{Name}' does not");
            if (layer.Rank > target.Rank) throw Refused($"its rank at '{path}' is {layer.Rank}, that of adapter '{Name}' only {target.Rank}");
        }
        foreach ((string path, LoraLayer target) in _layers)
        {
            _layers.TryGetValue(path, out LoraLayer? layer);
            if ((target.Magnitude is null) != (layer?.Magnitude is null)) throw Refused($"only one of them uses DoRA at '{path}'");
            if (target.Bias is null && layer?.Bias is not null) throw Refused($"it has lora_bias at '{path}', adapter '{Name}' has not");
        }
        HashSet<string> mine = [.. _overrides.Select(o => o.Copy.Name)];
        if (!mine.SetEquals(other._overrides.Select(o => o.Copy.Name))) throw Refused("modules_to_save or bias differ");

        bool padded = false;
        foreach ((string path, LoraLayer target) in _layers)
        {
            other._layers.TryGetValue(path, out LoraLayer? layer);
            if (layer is not null) target.BaseScaling = layer.BaseScaling;
            padded |= layer?.Rank != target.Rank;
            Fill(target.A, layer?.A);
            Fill(target.B, layer?.B);
            if (target.Bias is not null) Fill(target.Bias, layer?.Bias);
            if (target.Magnitude is not null) Fill(target.Magnitude, layer!.Magnitude);
        }
        foreach ((BaseTensor _, Parameter copy) in _overrides) Fill(copy, other._overrides.First(o => o.Copy.Name == copy.Name).Copy);
        (Config, IsPadded) = (other.Config, padded);

        LoraNetException Refused(string why) => new($"The adapter cannot be swapped in: {why}.", "Attach it as an adapter of its own, or start with the adapter that has the larger ranks and more modules.");
    }

    /// <summary>Copies the values into the leading rows and columns, zeros elsewhere.</summary>
    private static void Fill(Parameter target, Parameter? source)
    {
        Backend backend = target.Value.Backend;
        float[] values = new float[target.Count];
        if (source is not null)
        {
            float[] given = backend.Download(source.Value);
            int columns = source.Value.Columns, wide = target.Value.Columns;
            for (int row = 0; row < source.Value.Rows; row++) given.AsSpan(row * columns, columns).CopyTo(values.AsSpan(row * wide));
        }
        backend.Upload(values, target.Value);
    }

    internal void Add(LoraLayer layer) => _layers.Add(layer.ModulePath, layer);

    /// <summary>Replaces settings that training decided.</summary>
    internal void Configure(LoraConfig config) => Config = config;

    internal void Add(AdapterPart part) => _parts.Add(part);

    internal void Add(BaseTensor tensor, Weight weight) => _standins.Add((tensor, weight));

    internal void Add(BaseTensor tensor, Parameter copy) => _overrides.Add((tensor, copy));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LoraLayer layer in _layers.Values) layer.Dispose();
        foreach (AdapterPart part in _parts) part.Dispose();
        foreach ((_, Parameter copy) in _overrides) copy.Dispose();
        foreach ((BaseTensor tensor, Weight weight) in _standins) tensor.Backend.Drop(weight);
    }
}
