using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = 0.5x(1 + t), t = tanh(√(2/π)(x + 0.044715x³)); f′(x) = 0.5(1 + t) + 0.5x(1 − t²)·√(2/π)(1 + 3·0.044715x²).</summary>
public readonly struct GeluTanhOperator : IActivationOperator
{
    private const float RootTwoOverPi = 0.79788456080286536f, Cubic = 0.044715f;

    /// <inheritdoc/>
    public static float Invoke(float x) => 0.5f * x * (1f + ScalarMath.Tanh(RootTwoOverPi * (x + Cubic * x * x * x)));

    /// <inheritdoc/>
    public static float Derivative(float x)
    {
        float t = ScalarMath.Tanh(RootTwoOverPi * (x + Cubic * x * x * x));
        return 0.5f * (1f + t) + 0.5f * x * (1f - t * t) * RootTwoOverPi * (1f + 3f * Cubic * x * x);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector half = TSimd.Multiply(x, TSimd.Broadcast(0.5f));
        return TSimd.MultiplyAdd(half, Inner<TSimd, TVector>(x, TSimd.Multiply(x, x)), half);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector InvokeBoth<TSimd, TVector>(TVector x, out TVector derivative) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector one = TSimd.Broadcast(1f);
        TVector half = TSimd.Broadcast(0.5f);
        TVector square = TSimd.Multiply(x, x);
        TVector t = Inner<TSimd, TVector>(x, square);
        TVector weight = TSimd.MultiplyAdd(half, t, half);
        TVector slope = TSimd.MultiplyAdd(square, TSimd.Broadcast(3f * Cubic * RootTwoOverPi), TSimd.Broadcast(RootTwoOverPi));
        TVector sech = TSimd.Subtract(one, TSimd.Multiply(t, t));
        derivative = TSimd.MultiplyAdd(TSimd.Multiply(TSimd.Multiply(half, x), sech), slope, weight);
        return TSimd.Multiply(x, weight);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Inner<TSimd, TVector>(TVector x, TVector square) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        SimdMath.Tanh<TSimd, TVector>(TSimd.Multiply(x, TSimd.MultiplyAdd(square, TSimd.Broadcast(Cubic * RootTwoOverPi), TSimd.Broadcast(RootTwoOverPi))));
}
