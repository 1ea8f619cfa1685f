using System.Diagnostics.CodeAnalysis;
using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>Where a model's tensors come from: a folder of safetensors, or random numbers of a given shape for benchmarks.</summary>
public interface IWeightSource : IDisposable
{
    /// <summary>Names of all stored tensors.</summary>
    IReadOnlyCollection<string> Names { get; }

    /// <summary>The folder, or null when the weights are not from files.</summary>
    string? Directory { get; }

    /// <summary>The tensor of this name, if stored.</summary>
    bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor);

    /// <summary>The tensor of this name.</summary>
    /// <exception cref="LoraNetException">There is none; the message names the nearest.</exception>
    HostTensor Get(string name);
}

/// <summary>A folder of safetensors.</summary>
public sealed class FolderWeights : IWeightSource
{
    private readonly ModelWeights _weights;

    /// <summary>Opens model.safetensors or the sharded index in <paramref name="directory"/>.</summary>
    public FolderWeights(string directory) => _weights = ModelWeights.Open(directory);

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _weights.Names;

    /// <inheritdoc/>
    public string? Directory => _weights.Directory;

    /// <inheritdoc/>
    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _weights.TryGet(name, out tensor);

    /// <inheritdoc/>
    public HostTensor Get(string name) => _weights.Get(name);

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();
}
