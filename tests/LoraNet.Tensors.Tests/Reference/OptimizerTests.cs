using FsCheck.Xunit;
using LoraNet.Tensors.Reference;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>AdamW and clipping against their textbook forms.</summary>
[SeededProperties(Arbitrary = [typeof(Arbitraries)], MaxTest = 30)]
public class OptimizerTests
{
    [Property]
    public void AdamW_follows_the_textbook_over_several_steps(Size size, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        int n = 1 + size;
        AdamWSettings settings = new(0.9f, 0.95f, 1e-6f, 0);
        (float rate, float decay, float maxNorm) = (0.01f, 0.1f, 0.5f);
        Tensor p = g.Normal(n), m = g.Zeros(n), v = g.Zeros(n), lossSum = g.Zeros(1), stats = g.Empty(3);
        double[] theta = p.Span<double>().ToArray(), first = new double[n], second = new double[n];
        for (int step = 1; step <= 6; step++)
        {
            Tensor gradient = g.Normal(n);
            g.Backend.GradientNorm([gradient], maxNorm, lossSum, stats);
            g.Backend.AdamW([new AdamWTensor(p, gradient, m, v, rate, decay)], settings with { Step = step }, stats);

            // Loshchilov & Hutter, algorithm 2, with bias-corrected moments and the gradient clipped to its norm.
            double norm = Math.Sqrt(Gradients.Dot(gradient, gradient));
            for (int i = 0; i < n; i++)
            {
                double clipped = gradient.Span<double>()[i] * Math.Min(1, maxNorm / (norm + 1e-6));
                first[i] += (1.0 - settings.Beta1) * (clipped - first[i]);
                second[i] += (1.0 - settings.Beta2) * (clipped * clipped - second[i]);
                double corrected1 = first[i] / (1 - Math.Pow(settings.Beta1, step));
                double corrected2 = second[i] / (1 - Math.Pow(settings.Beta2, step));
                theta[i] -= (double)rate * decay * theta[i] + rate * corrected1 / (Math.Sqrt(corrected2) + settings.Epsilon);
                Assert.Equal(theta[i], p.Span<double>()[i], 1e-12);
            }
        }
    }

    [Theory]
    [InlineData(float.NaN, 0f)]
    [InlineData(float.PositiveInfinity, 0f)]
    [InlineData(1f, float.NaN)]
    [InlineData(1f, float.NegativeInfinity)]
    public void A_step_that_is_not_finite_changes_nothing(float gradientValue, float loss)
    {
        using Gradients g = new(1);
        Tensor p = g.Normal(4), m = g.Normal(4), v = g.Values([1, 2, 3, 4], 4), stats = g.Empty(3);
        Tensor gradient = g.Values([1, gradientValue, 2, 3], 4), lossSum = g.Values([loss], 1);
        double[] before = [.. p.Span<double>(), .. m.Span<double>(), .. v.Span<double>()];
        g.Backend.GradientNorm([gradient], 1, lossSum, stats);
        Assert.Equal(0, stats.Span<double>()[2]);
        g.Backend.AdamW([new AdamWTensor(p, gradient, m, v, 0.1f, 0.1f)], new AdamWSettings(0.9f, 0.999f, 1e-8f, 1), stats);
        double[] after = [.. p.Span<double>(), .. m.Span<double>(), .. v.Span<double>()];
        Assert.Equal(before, after);
    }

    [Fact]
    public void A_norm_beyond_the_type_of_the_statistics_is_not_finite()
    {
        using ReferenceBackend backend = new();
        Tensor gradient = backend.Create([3e38f, 3e38f, 3e38f], 3), loss = backend.Create([1f], 1), stats = backend.Create(DType.F32, 3);
        backend.GradientNorm([gradient], 1, loss, stats);
        Assert.Equal(float.PositiveInfinity, stats.Span<float>()[0]);
        Assert.Equal(0, stats.Span<float>()[2]);
    }

    [Theory]
    [InlineData(0f, 1.0)]
    [InlineData(10f, 1.0)]
    [InlineData(2.5f, 2.5 / (5 + 1e-6))]
    public void Clipping_scales_only_norms_above_the_maximum(float maxNorm, double factor)
    {
        using Gradients g = new(1);
        Tensor stats = g.Empty(3);
        g.Backend.GradientNorm([g.Values([3], 1), g.Values([], 0), g.Values([0, -4], 1, 2)], maxNorm, g.Zeros(1), stats);
        double[] expected = [5, factor, 1];
        Assert.Equal(expected, stats.Span<double>().ToArray());
    }
}
