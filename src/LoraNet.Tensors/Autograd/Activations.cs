namespace LoraNet.Tensors.Autograd;

/// <summary>What a tape keeps of the forward for the backward (Chen et al., "Training deep nets with sublinear memory cost", 2016).
/// Gradients are the same bits either way: a value is computed again from the same inputs by the same operation.</summary>
public enum ActivationPolicy
{
    /// <summary>Everything a backward reads.</summary>
    Keep,

    /// <summary>What is expensive; outputs of norms and gated activations, which cost one pass over memory, are computed again.</summary>
    Selective,
}
