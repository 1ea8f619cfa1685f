namespace LoraNet.Tensors.Operators;

/// <summary>
/// Scalar functions that compile to plain code everywhere, GPU kernels included: only arithmetic, comparisons,
/// <see cref="MathF.Exp"/>, <see cref="MathF.Sqrt"/> and <see cref="MathF.Abs(float)"/>. No fused multiply-add calls, bit casts or clamps.
/// </summary>
public static class ScalarMath
{
    /// <summary>σ(x) = 1 / (1 + e⁻ˣ).</summary>
    public static float Sigmoid(float x) => 1f / (1f + MathF.Exp(-x));

    /// <summary>tanh x: x + x³·P(x²) up to |x| = 0.625, else 1 − 2/(e²ˣ + 1).</summary>
    public static float Tanh(float x)
    {
        float a = MathF.Abs(x);
        if (a > 0.625f)
        {
            float large = 1f - 2f / (MathF.Exp(a + a) + 1f);
            return x < 0f ? -large : large;
        }
        float z = x * x;
        float p = -0.0056653148495f;
        p = p * z + 0.0206066891552f;
        p = p * z - 0.0537309348583f;
        p = p * z + 0.133313536644f;
        p = p * z - 0.3333328068256f;
        return x + x * z * p;
    }

    /// <summary>erf x: x·P(x²) up to |x| = 1, else 1 − e^(−Q(|x|)).</summary>
    public static float Erf(float x)
    {
        float a = MathF.Abs(x);
        if (a > 1f)
        {
            float s = (a < 4f ? a : 4f) * 0.6666666667f - 1.6666666667f;
            float q = -5.098743349662982e-05f;
            q = q * s + 0.000162965181512f;
            q = q * s - 0.0010343838949f;
            q = q * s + 0.0030242668f;
            q = q * s - 0.0110411969945f;
            q = q * s + 0.0366411097348f;
            q = q * s + 2.1237680912f;
            q = q * s + 8.0290231704712f;
            q = q * s + 7.8068151473999f;
            float large = 1f - MathF.Exp(-q);
            return x < 0f ? -large : large;
        }
        float z = x * x;
        float p = 7.888535037636757e-05f;
        p = p * z - 0.0008020661771297f;
        p = p * z + 0.0051895147189f;
        p = p * z - 0.0268544331193f;
        p = p * z + 0.1128359958529f;
        p = p * z - 0.3761262595654f;
        p = p * z + 1.1283791065216f;
        return p * x;
    }
}
