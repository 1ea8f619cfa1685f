namespace LoraNet.Tensors.Operators;

/// <summary>
/// A pointwise non-linearity written once: for one scalar (plain code, which GPU kernels compile too) and for a vector of any width.
/// </summary>
public interface IActivationOperator
{
    /// <summary>f(x).</summary>
    static abstract float Invoke(float x);

    /// <summary>f′(x).</summary>
    static abstract float Derivative(float x);

    /// <summary>f(x), element by element.</summary>
    static abstract TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged;

    /// <summary>f(x) and f′(x), element by element.</summary>
    static abstract TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged;
}
