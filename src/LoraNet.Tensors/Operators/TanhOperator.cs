using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = tanh(x), f′(x) = 1 − tanh²(x).</summary>
public readonly struct TanhOperator : IActivationOperator
{
    /// <inheritdoc/>
    public static float Invoke(float x) => ScalarMath.Tanh(x);

    /// <inheritdoc/>
    public static float Derivative(float x)
    {
        float t = ScalarMath.Tanh(x);
        return 1f - t * t;
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        SimdMath.Tanh<TSimd, TVector>(x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector t = SimdMath.Tanh<TSimd, TVector>(x);
        derivative = TSimd.Subtract(TSimd.Broadcast(1f), TSimd.Multiply(t, t));
        return t;
    }
}
