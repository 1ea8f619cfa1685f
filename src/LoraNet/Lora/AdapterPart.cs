using LoraNet.Adapters;
using LoraNet.Models;

namespace LoraNet.Lora;

/// <summary>What an adapter holds for one module, other than a plain LoRA layer: fused experts, or another method.</summary>
public abstract class AdapterPart : IDisposable
{
    /// <summary>Creates the part.</summary>
    /// <param name="modulePath">Path of the adapted module.</param>
    /// <param name="adapter">Adapter name.</param>
    protected AdapterPart(string modulePath, string adapter) => (ModulePath, Adapter) = (modulePath, adapter);

    /// <summary>Path of the adapted module.</summary>
    public string ModulePath { get; }

    /// <summary>Adapter name.</summary>
    public string Adapter { get; }

    /// <summary>All parameters, frozen ones included.</summary>
    public abstract IEnumerable<Parameter> Parameters { get; }

    /// <summary>Why rows of a mixed batch cannot choose it, or null when they can.</summary>
    internal virtual string? RowObstacle => null;

    /// <summary>The tensors of the adapter file.</summary>
    internal virtual IEnumerable<StoredTensor> Stored => Parameters.Select(StoredTensor.Plain);

    /// <summary>Puts itself among the active parts of the module.</summary>
    internal abstract void Activate(PretrainedModel model);

    /// <inheritdoc/>
    public virtual void Dispose()
    {
        foreach (Parameter parameter in Parameters) parameter.Dispose();
        GC.SuppressFinalize(this);
    }
}
