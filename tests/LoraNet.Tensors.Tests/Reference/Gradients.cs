using System.Runtime.InteropServices;
using LoraNet.Tensors.Reference;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>
/// Compares a backward operation in double with central differences of its forward: for y = f(inputs) and a random u,
/// the gradient of Σ u⊙y by each input element is (L(x + h) − L(x − h)) / 2h up to h².
/// </summary>
internal sealed class Gradients : IDisposable
{
    // h² times third derivatives of order 1 and the rounding 1e-16/h of the difference are both about 1e-10.
    private const double Step = 1e-5;
    private const double Tolerance = 1e-6;
    private readonly Random _random;
    private readonly List<Tensor> _tensors = [];

    public Gradients(int seed) => _random = new Random(seed);

    public ReferenceBackend Backend { get; } = new(DType.F64);

    public Random Random => _random;

    /// <summary>Standard normal values.</summary>
    public Tensor Normal(params ReadOnlySpan<int> shape)
    {
        Tensor tensor = Empty(shape);
        Span<double> values = tensor.Span<double>();
        for (int i = 0; i < values.Length; i++)
            values[i] = Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble());
        return tensor;
    }

    /// <summary>Zeros: gradients that are accumulated into.</summary>
    public Tensor Zeros(params ReadOnlySpan<int> shape)
    {
        Tensor tensor = Empty(shape);
        tensor.Span<double>().Clear();
        return tensor;
    }

    /// <summary>NaN throughout: outputs that are overwritten.</summary>
    public Tensor Empty(params ReadOnlySpan<int> shape)
    {
        Tensor tensor = Backend.Create(DType.F64, shape);
        tensor.Span<double>().Fill(double.NaN);
        _tensors.Add(tensor);
        return tensor;
    }

    public Tensor Values(ReadOnlySpan<double> values, params ReadOnlySpan<int> shape)
    {
        Tensor tensor = Empty(shape);
        Backend.UploadBytes(MemoryMarshal.AsBytes(values), tensor);
        return tensor;
    }

    public Tensor Index(params ReadOnlySpan<int> values)
    {
        Tensor tensor = Backend.CreateIndex(values);
        _tensors.Add(tensor);
        return tensor;
    }

    /// <summary>A frozen weight of normal values, stored in double.</summary>
    public Weight Weight(int rows, int columns)
    {
        Tensor values = Normal(rows, columns);
        return new Weight("w", HostTensor.Copy(values.Span<double>(), rows, columns));
    }

    /// <summary>Σ a⊙b.</summary>
    public static double Dot(Tensor a, Tensor b)
    {
        double sum = 0;
        for (int i = 0; i < a.Count; i++) sum += a.Span<double>()[i] * b.Span<double>()[i];
        return sum;
    }

    /// <summary>Asserts that <paramref name="gradient"/> is the derivative of <paramref name="loss"/> by <paramref name="input"/>.</summary>
    public static void Check(string name, Tensor input, Tensor gradient, Func<double> loss)
    {
        Assert.Equal(input.Count, gradient.Count);
        double error = 0, norm = 0;
        for (int i = 0; i < input.Count; i++)
        {
            double value = input.Span<double>()[i];
            input.Span<double>()[i] = value + Step;
            double above = loss();
            input.Span<double>()[i] = value - Step;
            double below = loss();
            input.Span<double>()[i] = value;
            double numeric = (above - below) / (2 * Step), analytic = gradient.Span<double>()[i];
            error += (numeric - analytic) * (numeric - analytic);
            norm += numeric * numeric;
        }
        Assert.True(
            Math.Sqrt(error) <= Tolerance * (Math.Sqrt(norm) + 1e-2),
            $"{name} {input.ShapeText}: error {Math.Sqrt(error):g3} of a gradient of norm {Math.Sqrt(norm):g3}.");
    }

    public void Dispose()
    {
        foreach (Tensor tensor in _tensors) Backend.Free(tensor);
        Backend.Dispose();
    }
}
