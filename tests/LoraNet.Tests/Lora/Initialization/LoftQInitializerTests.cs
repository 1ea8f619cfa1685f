using FsCheck.Xunit;
using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Formats;

namespace LoraNet.Tests.Lora.Initialization;

/// <summary>LoftQ: nearer to the model than quantisation alone, a base of its own that comes and goes, the same again from files.</summary>
public sealed class LoftQInitializerTests
{
    private static readonly LoraConfig _config = new() { Rank = 6, Alpha = 9, Init = LoraInit.LoftQ, TargetModules = ModuleSelector.AllLinearLayers };

    [Theory]
    [InlineData(4, 1)]
    [InlineData(4, 4)]
    [InlineData(8, 1)]
    public void TheStartIsNearerToTheModelThanQuantisationAlone(int bits, int iterations)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraConfig config = _config with { LoftQBits = bits, LoftQIterations = iterations };
        foreach (LinearModule linear in model.Modules.OfType<LinearModule>().Where(m => m.Path != model.OutputHeadPath))
        {
            (float[] q, float[] a, float[] b) = LoftQInitializer.Compute(linear, config, 6, 1.5, factors: true);
            float[] w = linear.Weight.Source.ToArray();
            float[] plain = bits == 4 ? WeightQuantization.Nf4(w) : WeightQuantization.Int8(w, linear.In);
            double withoutFactors = 0, with = 0;
            for (int o = 0; o < linear.Out; o++)
            {
                for (int i = 0; i < linear.In; i++)
                {
                    double sum = q[o * linear.In + i];
                    for (int r = 0; r < 6; r++) sum += 1.5 * b[o * 6 + r] * a[r * linear.In + i];
                    with += Math.Pow(w[o * linear.In + i] - sum, 2);
                    withoutFactors += Math.Pow(w[o * linear.In + i] - plain[o * linear.In + i], 2);
                }
            }
            Assert.InRange(with, 0, 0.8 * withoutFactors);
            // Q alone is all that a reader needs, and does not depend on the factors of the last round.
            Assert.Equal(q, LoftQInitializer.Compute(linear, config, 6, 1.5, factors: false).Q);
        }
    }

    [Fact]
    public void TheQuantisedBaseComesAndGoesWithTheAdapter()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        using TemporaryFolder folder = new();
        TokenRow row = TinyModel.Rows(1, 4)[0];
        float[] before = TinyModel.Logits(model, row);
        LoraAdapter adapter = model.AddAdapter(_config);
        float[] start = TinyModel.Logits(model, row);
        Assert.True(TinyModel.MaxDifference(before, start) > 1e-4);
        using (model.DisableAdapter()) Assert.Equal(before, TinyModel.Logits(model, row));
        using (CausalLM merged = model.MergeAndUnload()) Assert.True(TinyModel.MaxDifference(start, TinyModel.Logits(merged, row)) < 1e-4);

        AdapterFile.Save(folder["a"], model, adapter);
        Assert.Equal("loftq", AdapterConfigJson.Read(folder["a"]).InitLoraWeights);
        model.AddAdapter(_config with { Init = LoraInit.Random }, "other");
        model.SetAdapter("default");
        Assert.Equal(start, TinyModel.Logits(model, row));
        Assert.Contains("row by row", Assert.Throws<LoraNetException>(() => TinyModel.Logits(model, row with { Adapter = "default" })).Message, StringComparison.Ordinal);
        model.DeleteAdapter("default");
        model.DeleteAdapter("other");
        Assert.Equal(before, TinyModel.Logits(model, row));
        AdapterFile.Load(folder["a"], model);
        Assert.Equal(start, TinyModel.Logits(model, row));
        model.Attach(AdapterBuilder.Create(model, "second", _config with { LoftQBits = 8 }, seed: 1));
        Assert.Contains("quantised", Assert.Throws<LoraNetException>(() => model.SetAdapter("default", "second")).Message, StringComparison.Ordinal);
    }

    [Property(MaxTest = 50)]
    public void QuantisingTwiceIsQuantisingOnce(int seed)
    {
        float[] values = new float[3 * 70];
        LoraInitializer.Normal(values, 0.3, (ulong)(uint)seed, "w");
        values[5] = 0;
        float[] nf4 = WeightQuantization.Nf4(values), int8 = WeightQuantization.Int8(values, 70);
        Assert.Equal(nf4, WeightQuantization.Nf4(nf4));
        Assert.True(TinyModel.MaxDifference(int8, WeightQuantization.Int8(int8, 70)) < 1e-6);
        // The widest gap between NF4's levels is 0.304; the steps of int8 are 1/127.
        for (int i = 0; i < values.Length; i++)
        {
            float scale = values.AsSpan(i / 64 * 64, Math.Min(64, values.Length - i / 64 * 64)).ToArray().Max(Math.Abs), row = values.AsSpan(i / 70 * 70, 70).ToArray().Max(Math.Abs);
            Assert.InRange(Math.Abs(values[i] - nf4[i]), 0, 0.153f * scale);
            Assert.InRange(Math.Abs(values[i] - int8[i]), 0, 0.5001f / 127 * row);
        }
    }
}
