using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>One adapter's change of one linear layer y = x·Wᵀ + b by another method than LoRA.</summary>
public abstract class MethodLayer : AdapterPart
{
    /// <summary>Creates the layer.</summary>
    /// <param name="module">The adapted module.</param>
    /// <param name="adapter">Adapter name.</param>
    protected MethodLayer(LinearModule module, string adapter) : base(module.Path, adapter) => Module = module;

    /// <summary>The adapted module.</summary>
    public LinearModule Module { get; }

    /// <summary>Values that it keeps for each token, for the memory plan.</summary>
    internal virtual int Rank => 0;

    /// <summary>Whether it drops inputs by the row's number within the step.</summary>
    internal virtual bool DropsInputs => false;

    /// <summary>Whether the host decides anew in each step what is computed.</summary>
    internal virtual bool DiffersByStep => false;

    /// <inheritdoc/>
    internal override string? RowObstacle => "uses another method than LoRA";

    /// <inheritdoc/>
    internal override void Activate(PretrainedModel model) => ((LinearModule)model.Find(ModulePath)!).Methods.Add(this);

    /// <summary>Changes the layer's input; takes over the reference to <paramref name="x"/>.</summary>
    internal virtual Tensor Input(Tape tape, Tensor x) => x;

    /// <summary>Changes the layer's output; takes over the reference to <paramref name="y"/>.</summary>
    internal virtual Tensor Output(Tape tape, Tensor x, Tensor y, ForwardContext context) => y;

    /// <summary>Merges the change into W [out, in]. All outputs are changed before the inputs.</summary>
    internal virtual void MergeOutput(float[] w, int outputs, int inputs) { }

    /// <summary>Merges what <see cref="Input"/> does into W [out, in].</summary>
    internal virtual void MergeInput(float[] w, int outputs, int inputs) { }

    /// <summary>Merges the change into the bias [out].</summary>
    internal virtual void MergeBias(float[] bias) { }
}
