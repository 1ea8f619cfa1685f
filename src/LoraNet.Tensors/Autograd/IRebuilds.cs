namespace LoraNet.Tensors.Autograd;

/// <summary>An operation that can write its output again from what its own backward keeps anyway.</summary>
internal interface IRebuilds
{
    /// <summary>The first policy that lets go of the output.</summary>
    ActivationPolicy From { get; }

    /// <summary>Writes the elements of the output into <paramref name="output"/>.</summary>
    void Rebuild(Tape tape, Tensor output);
}
