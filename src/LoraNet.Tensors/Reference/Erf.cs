namespace LoraNet.Tensors.Reference;

/// <summary>The complementary error function in double precision; System.Math has none.</summary>
internal static class Erf
{
    private const double InverseSqrtPi = 0.56418958354775628695;

    /// <summary>erfc(x) = 1 − erf(x), with a relative error of about 1e-13 also in the far tail.</summary>
    public static double Complement(double x)
    {
        if (double.IsNaN(x)) return x;
        if (x < 0) return 2 - Complement(-x);
        if (x > 27) return 0; // Below the smallest double.
        return x < 2.5 ? 1 - Series(x) : ContinuedFraction(x);
    }

    /// <summary>erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!! (NIST DLMF 7.6.2): all terms are positive, nothing cancels.</summary>
    private static double Series(double x)
    {
        double term = x, sum = x;
        for (int n = 1; term > sum * 1e-17; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 * InverseSqrtPi * Math.Exp(-x * x) * sum;
    }

    /// <summary>√π·e^(x²)·erfc(x) = 1/(x + ½/(x + 1/(x + 3/2/(x + …)))) (NIST DLMF 7.9.1), from the far end; 150 terms are exact to rounding from 2.5 on.</summary>
    private static double ContinuedFraction(double x)
    {
        double tail = x;
        for (int n = 150; n >= 1; n--) tail = x + 0.5 * n / tail;
        return InverseSqrtPi * Math.Exp(-x * x) / tail;
    }
}
