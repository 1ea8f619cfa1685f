using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void GradientNorm(Size m, Size n, Size count, bool clipped, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair[] gradients = Gradients(c, m, n, count);
        Pair lossSum = c.Parameter("lossSum", 1), stats = c.Output("stats", [3], parameter: true);
        c.Run(s => s.Backend.GradientNorm(s.All(gradients), clipped ? 0.5f : 0, s[lossSum], s[stats]));
    }

    [Property]
    public void GradientNorm_of_large_and_tiny_gradients(Size m, DataSeed seed)
    {
        // Squares of 1e25 overflow binary32 and squares of 1e-25 vanish in it: the sum needs more range.
        using Case c = Start(seed);
        double scale = c.Random.Next(2) == 0 ? 1e25 : 1e-25;
        Pair gradient = c.Parameter("g", c.Normal(m, scale), m);
        Pair lossSum = c.Parameter("lossSum", 1), stats = c.Output("stats", [3], floor: 0, parameter: true);
        c.Run(s => s.Backend.GradientNorm([s[gradient]], 1, s[lossSum], s[stats]));
    }

    [Property]
    public void GradientNorm_flags_what_is_not_finite(Size m, Size n, Size count, bool inLoss, bool nan, DataSeed seed)
    {
        using Case c = Start(seed);
        float bad = nan ? float.NaN : float.PositiveInfinity;
        Pair[] gradients = Gradients(c, m, n, count);
        if (!inLoss) gradients = [.. gradients, c.Parameter("bad", [1, bad, 2], 3)];
        Pair lossSum = c.Parameter("lossSum", [inLoss ? bad : 1], 1);
        Tensor stats = Backend.Create(Backend.ParameterType, 3);
        Backend.GradientNorm(gradients.Select(g => g.Actual).ToArray(), 1, lossSum.Actual, stats);
        Assert.Equal(0, Backend.Download(stats)[2]);
        Backend.Free(stats);
    }

    [Property]
    public void AdamW(Size m, Size n, Size count, Size step, bool finite, DataSeed seed)
    {
        using Case c = Start(seed);
        List<(Pair P, Pair G, Pair M, Pair V, float Rate, float Decay)> tensors = [];
        for (int i = 0; i < Math.Min(5, (int)count); i++)
        {
            int elements = i % 2 == 0 ? m * n : n;
            float[] gradient = c.Normal(elements);
            // When a step is skipped, the gradients are what made it so.
            if (!finite && elements > 0) gradient[0] = float.NaN;
            double? tolerance = finite ? null : 0;
            tensors.Add((
                c.Overwrite(c.Parameter("p", elements), tolerance: tolerance),
                c.Parameter("g", gradient, elements),
                c.Overwrite(c.Parameter("m", c.Normal(elements, 0.1), elements), 0.1, tolerance),
                c.Overwrite(c.Parameter("v", Array.ConvertAll(c.Normal(elements, 0.1), v => v * v), elements), 0.01, tolerance),
                0.01f * (i + 1), i % 3 * 0.1f));
        }
        Pair stats = c.Parameter("stats", [3, 0.25f, finite ? 1 : 0], 3);
        AdamWSettings settings = new(0.9f, 0.999f, 1e-8f, step + 1);
        c.Run(s => s.Backend.AdamW(
            tensors.Select(t => new AdamWTensor(s[t.P], s[t.G], s[t.M], s[t.V], t.Rate, t.Decay)).ToArray(), settings, s[stats]));
    }

    private static Pair[] Gradients(Case c, int m, int n, int count) =>
        Enumerable.Range(0, count % 12).Select(i => i % 3 == 2 ? c.Parameter($"g{i}", n) : c.Parameter($"g{i}", m, n)).ToArray();
}
