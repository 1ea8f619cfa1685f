using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// Elementary functions to a few units in the last place, from +, -, *, / and bit casts alone. ILGPU maps MathF.Exp, Log
/// and Tanh to the hardware's approximations (about 2^-11 for tanh), too coarse for F32 training that must match the CPU.
/// </summary>
internal static class DeviceMath
{
    private const float Log2E = 1.44269504f;

    // ln 2 in two parts; the first has so few bits that n * Ln2High is exact for every exponent n.
    private const float Ln2High = 0.693359375f, Ln2Low = -2.12194440e-4f;

    /// <summary>e^x.</summary>
    public static float Exp(float x)
    {
        float t = x < -104f ? -104f : x > 89f ? 89f : x;
        float n = MathF.Floor(t * Log2E + 0.5f);
        float r = t - n * Ln2High;
        r -= n * Ln2Low;
        // Taylor to the 7th power on |r| <= ln 2 / 2: remainder below 6e-9.
        float p = 1f / 5040f;
        p = p * r + 1f / 720f;
        p = p * r + 1f / 120f;
        p = p * r + 1f / 24f;
        p = p * r + 1f / 6f;
        p = p * r + 0.5f;
        float y = p * (r * r) + r + 1f;
        // 2^n in two factors, because n reaches -150 for subnormal results and +128 before overflow.
        int e = (int)n, half = e >> 1;
        y = y * Interop.IntAsFloat((uint)(half + 127) << 23) * Interop.IntAsFloat((uint)(e - half + 127) << 23);
        return x <= float.PositiveInfinity ? y : x;
    }

    /// <summary>e^x to about 2^-20 where |x| is below 20, for results that are rounded to 16 bits.</summary>
    public static float FastExp(float x) => Hardware.Exp2(x * Log2E);

    /// <summary>e^x as exactly as storage <typeparamref name="T"/> can show.</summary>
    public static float Exp<T>(float x)
        where T : struct, IStorage => T.Size == 2 ? FastExp(x) : Exp(x);

    /// <summary>Natural logarithm of a positive normal number (the sums of a softmax), infinity or NaN.</summary>
    public static float Log(float x)
    {
        uint bits = Interop.FloatAsInt(x);
        // Mantissa in [1/sqrt 2, sqrt 2): shift the exponent by the distance of the bits from those of 1/sqrt 2.
        int e = (int)(bits - 0x3f3504f3) >> 23;
        float m = Interop.IntAsFloat(bits - ((uint)e << 23));
        float f = m - 1f, s = f / (2f + f), z = s * s;
        // log m = 2 artanh s
        float p = 1f / 11f;
        p = p * z + 1f / 9f;
        p = p * z + 1f / 7f;
        p = p * z + 1f / 5f;
        p = p * z + 1f / 3f;
        float log = 2f * s + 2f * s * z * p;
        return x < float.PositiveInfinity ? e * Ln2High + (log + e * Ln2Low) : x;
    }

    /// <summary>1 / (1 + e^-x).</summary>
    public static float Sigmoid<T>(float x)
        where T : struct, IStorage
    {
        // The reciprocal of infinity is 0, as it should be.
        if (T.Size == 2) return Hardware.Reciprocal(1f + FastExp(-x));
        float e = Exp(x < 0f ? x : -x), d = 1f / (1f + e);
        return x < 0f ? e * d : d;
    }

    /// <summary>Hyperbolic tangent.</summary>
    public static float Tanh(float x) => Tanh<StoredF32>(x);

    /// <inheritdoc cref="Tanh(float)"/>
    public static float Tanh<T>(float x)
        where T : struct, IStorage
    {
        float a = x < 0f ? -x : x;
        float z = x * x;
        // Taylor to x^13 near 0, where the exponential form would cancel.
        float p = 21844f / 6081075f;
        p = p * z - 1382f / 155925f;
        p = p * z + 62f / 2835f;
        p = p * z - 17f / 315f;
        p = p * z + 2f / 15f;
        p = p * z - 1f / 3f;
        float small = x + x * z * p;
        float large = 1f - 2f / (Exp<T>(2f * a) + 1f);
        large = x < 0f ? -large : large;
        return a < 0.35f ? small : large;
    }

    /// <summary>Complement of the error function with a relative error near 1e-7 for either sign
    /// (Chebyshev fit of W. Press et al., Numerical Recipes, section 6.2).</summary>
    public static float Erfc<T>(float x)
        where T : struct, IStorage
    {
        float a = x < 0f ? -x : x, t = 1f / (1f + 0.5f * a);
        float p = 0.17087277f;
        p = p * t - 0.82215223f;
        p = p * t + 1.48851587f;
        p = p * t - 1.13520398f;
        p = p * t + 0.27886807f;
        p = p * t - 0.18628806f;
        p = p * t + 0.09678418f;
        p = p * t + 0.37409196f;
        p = p * t + 1.00002368f;
        p = p * t - 1.26551223f;
        float y = t * Exp<T>(p - a * a);
        return x < 0f ? 2f - y : y;
    }

    /// <summary>c·tanh(x / c).</summary>
    public static float Cap(float x, float c) => c * Tanh(x / c);

    public static float Max(float a, float b) => a > b ? a : b;
}
