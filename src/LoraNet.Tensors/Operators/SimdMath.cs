using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>Elementary functions on vectors. The coefficients are own minimax fits; errors are stated as measured by the tests.</summary>
public static class SimdMath
{
    /// <summary>eˣ with a relative error below 2e-7 for −87 ≤ x ≤ 88.7; 0 below, +∞ above, NaN for NaN.
    /// x = n·ln 2 + r with |r| ≤ ln 2 / 2, eʳ = 1 + r + r²·P(r), and n is added to the exponent bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector y = ExpInRange<TSimd, TVector>(TSimd.Min(TSimd.Broadcast(88.8f), TSimd.Max(TSimd.Broadcast(-87f), x)));
        y = TSimd.SelectGreater(TSimd.Broadcast(-87f), x, TSimd.Broadcast(0f), y);
        return TSimd.SelectGreater(x, TSimd.Broadcast(88.72283f), TSimd.Add(x, TSimd.Broadcast(float.PositiveInfinity)), y);
    }

    /// <summary>eˣ as <see cref="Exp"/> for x ≤ 0 (a score minus its maximum), without the tests for overflow and NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector ExpNonPositive<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector y = ExpInRange<TSimd, TVector>(TSimd.Max(TSimd.Broadcast(-87f), x));
        return TSimd.SelectGreater(TSimd.Broadcast(-87f), x, TSimd.Broadcast(0f), y);
    }

    /// <summary>eˣ for −87 ≤ x ≤ 88.7 or NaN, nothing tested.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector ExpInRange<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits of the sum.
        TVector magic = TSimd.Broadcast(12582912f);
        TVector shifted = TSimd.MultiplyAdd(x, TSimd.Broadcast(1.44269504f), magic);
        TVector n = TSimd.Subtract(shifted, magic);
        TVector r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-0.693359375f), x);
        r = TSimd.MultiplyAdd(n, TSimd.Broadcast(2.12194440e-4f), r);
        TVector p = TSimd.Broadcast(0.0013950582361f);
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(0.0083689475432f));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(0.0416662059724f));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(0.1666651815176f));
        p = TSimd.MultiplyAdd(p, r, TSimd.Broadcast(0.5f));
        p = TSimd.MultiplyAdd(TSimd.Multiply(r, r), p, r);
        p = TSimd.Add(p, TSimd.Broadcast(1f));
        return TSimd.AddExponent(p, shifted);
    }

    /// <summary>σ(x) = 1 / (1 + e⁻ˣ).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Sigmoid<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector one = TSimd.Broadcast(1f), limit = TSimd.Broadcast(87f);
        TVector negative = TSimd.Subtract(TSimd.Broadcast(0f), x);
        TVector clamped = TSimd.Min(limit, TSimd.Max(TSimd.Broadcast(-87f), negative));
        TVector s = TSimd.Divide(one, TSimd.Add(one, ExpInRange<TSimd, TVector>(clamped)));
        // Exactly 0 far out, since x·σ(x) may multiply it by anything.
        return TSimd.SelectGreater(negative, limit, TSimd.Broadcast(0f), s);
    }

    /// <summary>tanh x with a relative error below 4e-7: x + x³·P(x²) up to |x| = 0.625, else 1 − 2/(e²ˣ + 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Tanh<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector one = TSimd.Broadcast(1f);
        TVector a = TSimd.Abs(x);
        TVector z = TSimd.Multiply(x, x);
        TVector p = TSimd.Broadcast(-0.0056653148495f);
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(0.0206066891552f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(-0.0537309348583f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(0.133313536644f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(-0.3333328068256f));
        TVector small = TSimd.MultiplyAdd(TSimd.Multiply(x, z), p, x);
        TVector e = Exp<TSimd, TVector>(TSimd.Add(a, a));
        TVector large = TSimd.Subtract(one, TSimd.Divide(TSimd.Broadcast(2f), TSimd.Add(e, one)));
        // NaN fails the comparison and takes the polynomial, which keeps it.
        return TSimd.SelectGreater(a, TSimd.Broadcast(0.625f), TSimd.CopySign(large, x), small);
    }

    /// <summary>erf x with an absolute error below 2e-7: x·P(x²) up to |x| = 1, else 1 − e^(−Q(|x|)).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Erf<TSimd, TVector>(TVector x) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector a = TSimd.Min(TSimd.Broadcast(4f), TSimd.Abs(x));
        TVector z = TSimd.Multiply(x, x);
        TVector p = TSimd.Broadcast(7.888535037636757e-05f);
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(-0.0008020661771297f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(0.0051895147189f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(-0.0268544331193f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(0.1128359958529f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(-0.3761262595654f));
        p = TSimd.MultiplyAdd(p, z, TSimd.Broadcast(1.1283791065216f));
        TVector small = TSimd.Multiply(p, x);
        // −ln erfc on [1, 4], in s = (a − 2.5) / 1.5.
        TVector s = TSimd.MultiplyAdd(a, TSimd.Broadcast(0.6666666667f), TSimd.Broadcast(-1.6666666667f));
        TVector q = TSimd.Broadcast(-5.098743349662982e-05f);
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(0.000162965181512f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(-0.0010343838949f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(0.0030242668f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(-0.0110411969945f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(0.0366411097348f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(2.1237680912f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(8.0290231704712f));
        q = TSimd.MultiplyAdd(q, s, TSimd.Broadcast(7.8068151473999f));
        TVector large = TSimd.Subtract(TSimd.Broadcast(1f), ExpNonPositive<TSimd, TVector>(TSimd.Subtract(TSimd.Broadcast(0f), q)));
        return TSimd.SelectGreater(TSimd.Abs(x), TSimd.Broadcast(1f), TSimd.CopySign(large, x), small);
    }
}
