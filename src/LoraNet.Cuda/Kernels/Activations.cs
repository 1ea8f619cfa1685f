namespace LoraNet.Cuda.Kernels;

/// <summary>A function's value and derivative at one point.</summary>
internal struct ValueAndSlope
{
    public float Value, Slope;

    public ValueAndSlope(float value, float slope) => (Value, Slope) = (value, slope);
}

/// <summary>A pointwise non-linearity; see <see cref="Tensors.Activation"/> for the formulas.</summary>
internal interface IActivation
{
    /// <summary>f(x), as exactly as storage <typeparamref name="T"/> can show.</summary>
    static abstract float Value<T>(float x)
        where T : struct, IStorage;

    /// <summary>f(x) and f′(x).</summary>
    static abstract ValueAndSlope At<T>(float x)
        where T : struct, IStorage;
}

internal readonly struct SiluActivation : IActivation
{
    public static float Value<T>(float x)
        where T : struct, IStorage => x * DeviceMath.Sigmoid<T>(x);

    public static ValueAndSlope At<T>(float x)
        where T : struct, IStorage
    {
        float s = DeviceMath.Sigmoid<T>(x), f = x * s;
        return new(f, s + f * (1f - s));
    }
}

internal readonly struct GeluActivation : IActivation
{
    private const float RootHalf = 0.70710678118654752f, DensityAtZero = 0.39894228040143268f;

    public static float Value<T>(float x)
        where T : struct, IStorage => x * (0.5f * DeviceMath.Erfc<T>(-x * RootHalf));

    public static ValueAndSlope At<T>(float x)
        where T : struct, IStorage
    {
        float p = 0.5f * DeviceMath.Erfc<T>(-x * RootHalf);
        return new(x * p, p + x * DensityAtZero * DeviceMath.Exp<T>(-0.5f * x * x));
    }
}

internal readonly struct GeluTanhActivation : IActivation
{
    private const float RootTwoOverPi = 0.79788456080286536f, Cubic = 0.044715f;

    // 0.5 (1 + tanh u) is the logistic function of 2u, which keeps its precision for large negative x.
    public static float Value<T>(float x)
        where T : struct, IStorage => x * DeviceMath.Sigmoid<T>(2f * RootTwoOverPi * (x + Cubic * x * x * x));

    public static ValueAndSlope At<T>(float x)
        where T : struct, IStorage
    {
        float s = DeviceMath.Sigmoid<T>(2f * RootTwoOverPi * (x + Cubic * x * x * x));
        float slope = 2f * RootTwoOverPi * (1f + 3f * Cubic * x * x);
        return new(x * s, s + x * s * (1f - s) * slope);
    }
}

internal readonly struct ReluActivation : IActivation
{
    public static float Value<T>(float x)
        where T : struct, IStorage => x < 0f ? 0f : x;

    public static ValueAndSlope At<T>(float x)
        where T : struct, IStorage => new(x < 0f ? 0f : x, x > 0f ? 1f : 0f);
}

internal readonly struct TanhActivation : IActivation
{
    public static float Value<T>(float x)
        where T : struct, IStorage => DeviceMath.Tanh<T>(x);

    public static ValueAndSlope At<T>(float x)
        where T : struct, IStorage
    {
        float t = DeviceMath.Tanh<T>(x);
        return new(t, 1f - t * t);
    }
}
