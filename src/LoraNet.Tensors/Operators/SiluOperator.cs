using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = x·σ(x), f′(x) = σ(x)·(1 + x·(1 − σ(x))) (Elfwing et al., 2017).</summary>
public readonly struct SiluOperator : IActivationOperator
{
    /// <inheritdoc/>
    public static float Invoke(float x) => x * ScalarMath.Sigmoid(x);

    /// <inheritdoc/>
    public static float Derivative(float x)
    {
        float s = ScalarMath.Sigmoid(x);
        return s * (1f + x * (1f - s));
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Multiply(x, SimdMath.Sigmoid<TSimd, TVector>(x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector one = TSimd.Broadcast(1f);
        TVector s = SimdMath.Sigmoid<TSimd, TVector>(x);
        derivative = TSimd.Multiply(s, TSimd.MultiplyAdd(x, TSimd.Subtract(one, s), one));
        return TSimd.Multiply(x, s);
    }
}
