namespace LoraNet.Tensors.Reference;

/// <summary>Value and derivative of each <see cref="Activation"/> in double.</summary>
internal static class Activations
{
    private const double SqrtHalf = 0.70710678118654752440;
    private const double InverseSqrt2Pi = 0.39894228040143267794;
    private const double Sqrt2OverPi = 0.79788456080286535588;
    private const double Cubic = 0.044715;

    /// <summary>f(x).</summary>
    public static double Value(Activation kind, double x) => kind switch
    {
        Activation.Silu => x * Sigmoid(x),
        Activation.Gelu => x * Phi(x),
        Activation.GeluTanh => 0.5 * x * (1 + Math.Tanh(Sqrt2OverPi * (x + Cubic * x * x * x))),
        Activation.Relu => Math.Max(x, 0),
        Activation.Tanh => Math.Tanh(x),
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    /// <summary>f′(x); 0 at the kink of ReLU, as PyTorch has it.</summary>
    public static double Derivative(Activation kind, double x)
    {
        switch (kind)
        {
            case Activation.Silu:
                double sigma = Sigmoid(x);
                return sigma * (1 + x * (1 - sigma));
            case Activation.Gelu:
                return Phi(x) + x * InverseSqrt2Pi * Math.Exp(-0.5 * x * x);
            case Activation.GeluTanh:
                double t = Math.Tanh(Sqrt2OverPi * (x + Cubic * x * x * x));
                return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * Sqrt2OverPi * (1 + 3 * Cubic * x * x);
            case Activation.Relu:
                return x > 0 ? 1 : 0;
            case Activation.Tanh:
                double tanh = Math.Tanh(x);
                return 1 - tanh * tanh;
            default:
                throw new ArgumentOutOfRangeException(nameof(kind));
        }
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    /// <summary>The normal distribution function Φ(x) = erfc(−x/√2)/2.</summary>
    private static double Phi(double x) => 0.5 * Erf.Complement(-x * SqrtHalf);
}
