using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>f(x) = c·tanh(x/c): Gemma 2's cap on scores and logits; f′ = 1 − (f/c)².</summary>
public readonly struct SoftCapOperator
{
    /// <summary>c·tanh(x/c).</summary>
    public static float Invoke(float x, float cap) => cap * ScalarMath.Tanh(x / cap);

    /// <summary>f′ from the capped value y = f(x).</summary>
    public static float DerivativeFromValue(float y, float cap) => 1f - y / cap * (y / cap);

    /// <summary>c·tanh(x/c), element by element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Invoke<TSimd, TVector>(TVector x, TVector cap, TVector inverseCap) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Multiply(cap, SimdMath.Tanh<TSimd, TVector>(TSimd.Multiply(x, inverseCap)));

    /// <summary>f′ from the capped value y = f(x), element by element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector DerivativeFromValue<TSimd, TVector>(TVector y, TVector inverseCap) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector t = TSimd.Multiply(y, inverseCap);
        return TSimd.Subtract(TSimd.Broadcast(1f), TSimd.Multiply(t, t));
    }
}
