using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Formats;
using LoraNet.Tests.Lora;

namespace LoraNet.Tests.Adapters;

/// <summary>Combinations of random adapters of different ranks, alphas, patterns and scalings against the sum of what they add.</summary>
public sealed class AdapterAlgebraTests : IDisposable
{
    private static readonly LoraConfig _plain = new() { Rank = 4, Alpha = 8, Init = LoraInit.Random, TargetModules = ModuleSelector.AllLinearLayers };

    private readonly CpuBackend _backend = new();
    private readonly CausalLM _model;

    public AdapterAlgebraTests()
    {
        _model = TinyModel.Load(_backend);
        _model.AddAdapter(_plain with { AlphaPattern = [KeyValuePair.Create("v_proj", 12.0)] }, "a", seed: 1);
        _model.AddAdapter(_plain with { Rank = 6, UseRsLora = true, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "embed_tokens"), RankPattern = [KeyValuePair.Create("layers.1.*q_proj", 3)] }, "b", seed: 2);
        _model.AddAdapter(_plain with { Alpha = 16, TargetModules = ModuleSelector.Of("q_proj", "o_proj") }, "c", seed: 3);
    }

    public void Dispose()
    {
        _model.Dispose();
        _backend.Dispose();
    }

    [Theory]
    [InlineData(CombinationType.Linear)]
    [InlineData(CombinationType.Cat)]
    public void ExactFormsAreTheSumOfDeltas(CombinationType type)
    {
        string[] names = ["a", "b", "c"];
        double[] weights = [0.7, -0.4, 1.5];
        using LoraAdapter combined = AdapterAlgebra.Combine(_model, names, weights, type);
        Assert.Equal(Paths(names), combined.Layers.Keys.Order());
        foreach (string path in combined.Layers.Keys)
        {
            double[] expected = Sum(names, weights, path);
            Assert.True(Relative(Delta(combined, path), expected) < 1e-6, path);
        }
        Assert.All(combined.Layers.Values, l => Assert.Equal(1, l.BaseScaling, 1e-12));
    }

    [Fact]
    public void OppositeWeightsCancelAndEqualAdaptersKeepTheirRank()
    {
        using LoraAdapter nothing = AdapterAlgebra.Combine(_model, ["a", "a"], [1, -1], CombinationType.Linear);
        Assert.All(nothing.Layers.Keys, p => Assert.True(Delta(nothing, p).Max(Math.Abs) < 1e-6));
        using LoraAdapter half = AdapterAlgebra.Combine(_model, ["a", "a"], [0.2, 0.3], CombinationType.Linear);
        Assert.All(half.Layers.Values, l => Assert.Equal(4, l.Rank));
        Assert.All(half.Layers.Keys, p => Assert.True(Relative(Delta(half, p), [.. Delta(_model.Adapters["a"], p).Select(v => v / 2)]) < 1e-6));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    public void SvdIsTheBestApproximation(int rank)
    {
        string[] names = ["a", "b"];
        double[] weights = [1.25, 0.5];
        using LoraAdapter combined = AdapterAlgebra.Combine(_model, names, weights, CombinationType.Svd, new CombineOptions { Rank = rank });
        foreach ((string path, LoraLayer layer) in combined.Layers)
        {
            double[] sum = Sum(names, weights, path);
            AdapterFactors shape = AdapterFactors.Of(layer);
            Svd whole = JacobiSvd.Decompose(sum, shape.Rows, shape.Columns);
            // Eckart and Young: the error is what the left-out singular values hold.
            double expected = Math.Sqrt(whole.S[layer.Rank..].Sum(s => s * s));
            double error = Math.Sqrt(Delta(combined, path).Zip(sum, (x, y) => (x - y) * (x - y)).Sum());
            // A module that one rank-4 adapter changes has no more than that.
            Assert.Equal(Math.Min(rank, names.Sum(n => _model.Adapters[n].Layers.TryGetValue(path, out LoraLayer? l) ? l.Rank : 0)), layer.Rank);
            Assert.Equal(expected, error, 1e-5);
        }
    }

    [Theory]
    [InlineData(CombinationType.TiesSvd)]
    [InlineData(CombinationType.DareLinearSvd)]
    [InlineData(CombinationType.DareTiesSvd)]
    [InlineData(CombinationType.MagnitudePruneSvd)]
    public void SvdFormsWorkOnDeltas(CombinationType type)
    {
        // At full rank nothing is lost, so the merged deltas come back.
        CombineOptions options = new() { Rank = 64, Density = 0.4 };
        using LoraAdapter combined = AdapterAlgebra.Combine(_model, ["a", "c"], [0.7, 0.4], type, options);
        string path = "model.layers.0.self_attn.q_proj";
        float[][] deltas = [.. new[] { "a", "c" }.Select(n => AdapterFactors.Of(_model.Adapters[n].Layers[path]).Delta())];
        float[] expected = MergeMath.Merge(type, deltas, [0.7, 0.4], 0.4, MajoritySign.Total, options.Seed, path);
        Assert.True(Relative(Delta(combined, path), Vectors.Widen(expected)) < 1e-5);
    }

    [Fact]
    public void TheLogitsAreThoseOfTheWeightedSumAndSurviveTheFile()
    {
        TokenRow row = TinyModel.Rows(1, 5)[0];
        double[] weights = [0.7, 0.4];
        _model.SetAdapter("a", "b");
        for (int i = 0; i < 2; i++)
            foreach (LoraLayer layer in _model.Adapters[i == 0 ? "a" : "b"].Layers.Values) layer.Multiplier = weights[i];
        float[] expected = TinyModel.Logits(_model, row);
        foreach (CombinationType type in new[] { CombinationType.Linear, CombinationType.Cat })
        {
            LoraAdapter combined = AdapterAlgebra.Combine(_model, ["a", "b"], weights, type, new CombineOptions { Name = type.ToString() });
            using TemporaryFolder folder = new();
            AdapterFile.Save(folder.Path, _model, combined);
            combined.Dispose();
            AdapterFile.Load(folder.Path, _model, type.ToString(), trainable: false);
            Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(_model, row)) < 1e-4);
        }
    }

    [Fact]
    public void PeftCompatibleFormsHaveItsFactorsAndMistakes()
    {
        const string path = "model.layers.0.self_attn.q_proj";
        CombineOptions peft = new() { Peft = PeftCompatibility.Peft020 };
        AdapterFactors a = AdapterFactors.Of(_model.Adapters["a"].Layers[path]), c = AdapterFactors.Of(_model.Adapters["c"].Layers[path]);
        Assert.Equal((2.0, 4.0), (a.Scaling, c.Scaling));

        using LoraAdapter linear = AdapterAlgebra.Combine(_model, ["a", "c"], [0.5, -0.25], CombinationType.Linear, peft);
        AdapterFactors merged = AdapterFactors.Of(linear.Layers[path]);
        // √|0.5·2| = √|−0.25·4| = 1; the sign of the second is on A.
        for (int i = 0; i < merged.A.Length; i++) Assert.Equal(a.A[i] - c.A[i], merged.A[i], 1e-6f);
        for (int i = 0; i < merged.B.Length; i++) Assert.Equal(a.B[i] + c.B[i], merged.B[i], 1e-6f);

        using LoraAdapter svd = AdapterAlgebra.Combine(_model, ["a", "c"], [0.5, 0.25], CombinationType.Svd, peft with { Rank = 8 });
        Assert.True(Relative(Delta(svd, path), Sum(["a", "c"], [0.5 * 2, 0.25 * 4], path)) < 1e-6);

        using LoraAdapter cat = AdapterAlgebra.Combine(_model, ["b", "a"], [1, 1], CombinationType.Cat, peft);
        Assert.Equal(Math.Sqrt(10), cat.Layers[path].BaseScaling, 1e-12);
        Assert.True(Relative(Delta(cat, path), [.. Sum(["b", "a"], [1, 1], path).Select(v => v * Math.Sqrt(10))]) < 1e-6);
    }

    [Fact]
    public void FormsOnFactorsFollowTheirDefinition()
    {
        const string path = "model.layers.1.self_attn.o_proj";
        using LoraAdapter ties = AdapterAlgebra.Combine(_model, ["a", "c"], [0.7, 0.4], CombinationType.Ties, new CombineOptions { Density = 0.5 });
        AdapterFactors a = AdapterFactors.Of(_model.Adapters["a"].Layers[path]), c = AdapterFactors.Of(_model.Adapters["c"].Layers[path]);
        double[] factors = [Math.Sqrt(0.7 * 2), Math.Sqrt(0.4 * 4)];
        AdapterFactors merged = AdapterFactors.Of(ties.Layers[path]);
        Assert.Equal(MergeMath.Merge(CombinationType.Ties, [a.A, c.A], factors, 0.5, MajoritySign.Total, 42, "any"), merged.A);
        Assert.Equal(MergeMath.Merge(CombinationType.Ties, [a.B, c.B], factors, 0.5, MajoritySign.Total, 42, "any"), merged.B);
    }

    [Fact]
    public void MistakesAreNamed()
    {
        Assert.Contains("svd", Error(() => AdapterAlgebra.Combine(_model, ["a", "b"], [1, 1], CombinationType.Ties, new CombineOptions { Density = 0.5 })), StringComparison.Ordinal);
        Assert.Contains("density", Error(() => AdapterAlgebra.Combine(_model, ["a", "c"], [1, 1], CombinationType.TiesSvd)), StringComparison.Ordinal);
        Assert.Contains("1.5", Error(() => AdapterAlgebra.Combine(_model, ["a", "c"], [1, 1], CombinationType.Ties, new CombineOptions { Density = 1.5 })), StringComparison.Ordinal);
        Assert.Contains("'z'", Error(() => AdapterAlgebra.Combine(_model, ["a", "z"], [1, 1], CombinationType.Cat)), StringComparison.Ordinal);
        Assert.Contains("weight", Error(() => AdapterAlgebra.Combine(_model, ["a", "b"], [1], CombinationType.Cat)), StringComparison.Ordinal);
        Assert.Contains("attached already", Error(() => AdapterAlgebra.Combine(_model, ["a", "b"], [1, 1], CombinationType.Cat, new CombineOptions { Name = "a" })), StringComparison.Ordinal);
        _model.AddAdapter(_plain with { UseDora = true }, "dora");
        Assert.Contains("DoRA", Error(() => AdapterAlgebra.Combine(_model, ["a", "dora"], [1, 1], CombinationType.Cat)), StringComparison.Ordinal);
        Assert.Equal(CombinationType.DareTiesSvd, AdapterAlgebra.Parse("dare_ties_svd"));
        Assert.Equal("magnitude_prune", AdapterAlgebra.Name(CombinationType.MagnitudePrune));
        Assert.Contains("dare_linear", Error(() => AdapterAlgebra.Parse("mean")), StringComparison.Ordinal);
    }

    private static string Error(Func<object> action) => Assert.Throws<LoraNetException>(action).Message;

    private IEnumerable<string> Paths(string[] names) => names.SelectMany(n => _model.Adapters[n].Layers.Keys).Distinct().Order();

    private double[] Sum(string[] names, double[] weights, string path)
    {
        double[]? sum = null;
        for (int i = 0; i < names.Length; i++)
        {
            if (!_model.Adapters[names[i]].Layers.ContainsKey(path)) continue;
            double[] delta = Delta(_model.Adapters[names[i]], path);
            sum ??= new double[delta.Length];
            for (int j = 0; j < sum.Length; j++) sum[j] += weights[i] * delta[j];
        }
        return sum!;
    }

    private static double[] Delta(LoraAdapter adapter, string path)
    {
        // Written out, so that a mistake in the products under test does not hide.
        AdapterFactors f = AdapterFactors.Of(adapter.Layers[path]);
        double[] delta = new double[f.Rows * f.Columns];
        for (int o = 0; o < f.Rows; o++)
            for (int i = 0; i < f.Columns; i++)
                for (int r = 0; r < f.Rank; r++) delta[o * f.Columns + i] += f.Scaling * f.B[o * f.Rank + r] * f.A[r * f.Columns + i];
        return delta;
    }

    private static double Relative(double[] actual, double[] expected) =>
        Math.Sqrt(actual.Zip(expected, (x, y) => (x - y) * (x - y)).Sum() / expected.Sum(e => e * e));
}
