using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>What one forward pass needs besides its input: the batch, and where its rows lie in the optimizer step.</summary>
public sealed class ForwardContext
{
    /// <summary>True while training: dropout is active.</summary>
    public bool Training { get; set; }

    /// <summary>Optimizer step, for dropout masks.</summary>
    public uint Step { get; set; }

    /// <summary>Seed of the run, for dropout masks.</summary>
    public ulong Seed { get; set; }

    /// <summary>Row number, within the optimizer step, of the first row of the current operation.</summary>
    public long RowOffset { get; set; }

    /// <summary>The adapter of each row of the current operation in a mixed batch; null when the active adapters serve all rows.</summary>
    internal RowAdapters? Adapters { get; set; }

    /// <summary>Receives the input of every linear layer before it is used; null for none.</summary>
    internal Action<LinearModule, Tensor>? Observer { get; set; }

    /// <summary>The key of one layer's mask; not computed when nothing is dropped.</summary>
    public DropoutKey DropoutKey(Lora.LoraLayer layer) => DropoutKey(layer.ModulePath, layer.Adapter, layer.Dropout);

    /// <summary>The key of the mask of an adapter's layer at a path.</summary>
    public DropoutKey DropoutKey(string modulePath, string adapter, float dropout) =>
        Training && dropout > 0 ? Tensors.DropoutKey.Create(Seed, modulePath, adapter, Step) : default;
}
