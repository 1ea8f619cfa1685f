using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = x·Φ(x), f′(x) = Φ(x) + x·φ(x), with Φ(x) = (1 + erf(x/√2))/2 and φ(x) = e^(−x²/2)/√(2π) (Hendrycks &amp; Gimpel, 2016).</summary>
public readonly struct GeluOperator : IActivationOperator
{
    private const float RootHalf = 0.70710678118654752f, InverseRootTwoPi = 0.39894228040143268f;

    /// <inheritdoc/>
    public static float Invoke(float x) => x * (0.5f + 0.5f * ScalarMath.Erf(x * RootHalf));

    /// <inheritdoc/>
    public static float Derivative(float x) =>
        0.5f + 0.5f * ScalarMath.Erf(x * RootHalf) + x * InverseRootTwoPi * MathF.Exp(-0.5f * x * x);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Multiply(x, Cumulative<TSimd, TVector>(x));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector cumulative = Cumulative<TSimd, TVector>(x);
        TVector density = SimdMath.ExpNonPositive<TSimd, TVector>(TSimd.Multiply(TSimd.Multiply(x, x), TSimd.Broadcast(-0.5f)));
        derivative = TSimd.MultiplyAdd(TSimd.Multiply(x, TSimd.Broadcast(InverseRootTwoPi)), density, cumulative);
        return TSimd.Multiply(x, cumulative);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Cumulative<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector half = TSimd.Broadcast(0.5f);
        return TSimd.MultiplyAdd(half, SimdMath.Erf<TSimd, TVector>(TSimd.Multiply(x, TSimd.Broadcast(RootHalf))), half);
    }
}
