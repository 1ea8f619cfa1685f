using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = max(x, 0), f′(x) = 1 where x &gt; 0, else 0.</summary>
public readonly struct ReluOperator : IActivationOperator
{
    /// <inheritdoc/>
    public static float Invoke(float x) => x > 0f ? x : 0f;

    /// <inheritdoc/>
    public static float Derivative(float x) => x > 0f ? 1f : 0f;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.SelectGreater(x, TSimd.Broadcast(0f), x, TSimd.Broadcast(0f));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector zero = TSimd.Broadcast(0f);
        derivative = TSimd.SelectGreater(x, zero, TSimd.Broadcast(1f), zero);
        return TSimd.SelectGreater(x, zero, x, zero);
    }
}
