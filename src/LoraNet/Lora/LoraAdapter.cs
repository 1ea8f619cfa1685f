using LoraNet.Models;

namespace LoraNet.Lora;

/// <summary>A named adapter over a model: LoRA layers by module path, and trainable copies of base tensors.</summary>
public sealed class LoraAdapter : IDisposable
{
    private readonly Dictionary<string, LoraLayer> _layers = [];
    private readonly List<(BaseTensor Tensor, Parameter Copy)> _overrides = [];

    /// <summary>Creates an adapter without layers.</summary>
    public LoraAdapter(string name, LoraConfig config) => (Name, Config) = (name, config);

    /// <summary>Name used to switch; not part of any file.</summary>
    public string Name { get; }

    /// <summary>Its settings.</summary>
    public LoraConfig Config { get; }

    /// <summary>Layers by module path.</summary>
    public IReadOnlyDictionary<string, LoraLayer> Layers => _layers;

    /// <summary>Base tensors replaced by trainable copies while the adapter is active.</summary>
    public IReadOnlyList<(BaseTensor Tensor, Parameter Copy)> Overrides => _overrides;

    /// <summary>All parameters, layers in module order first.</summary>
    public IEnumerable<Parameter> Parameters => _layers.Values.SelectMany(l => l.Parameters).Concat(_overrides.Select(o => o.Copy));

    /// <summary>Number of trainable values.</summary>
    public long ParameterCount => Parameters.Sum(p => p.Count);

    internal void Add(LoraLayer layer) => _layers.Add(layer.ModulePath, layer);

    internal void Add(BaseTensor tensor, Parameter copy) => _overrides.Add((tensor, copy));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Parameter parameter in Parameters) parameter.Dispose();
    }
}
