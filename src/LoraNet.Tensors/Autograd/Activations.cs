namespace LoraNet.Tensors.Autograd;

/// <summary>What a tape keeps of the forward for the backward (Chen et al., "Training deep nets with sublinear memory cost", 2016).
/// Gradients are the same bits either way: a value is computed again from the same inputs by the same operation.</summary>
public enum ActivationPolicy
{
    /// <summary>Everything a backward reads.</summary>
    Keep,

    /// <summary>All but the outputs of norms: computing them again costs half a percent of a step.</summary>
    Norms,

    /// <summary>All but the outputs of norms and of gated activations: one or two percent, and a third of the memory where the down
    /// projection is adapted.</summary>
    Selective,
}
