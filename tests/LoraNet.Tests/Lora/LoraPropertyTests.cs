using FsCheck.Xunit;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;

namespace LoraNet.Tests.Lora;

/// <summary>What must hold for any adapter: laws of LoRA on a whole model.</summary>
public sealed class LoraPropertyTests
{
    private static readonly LoraConfig _all = new() { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.AllLinearLayers };

    [Property(MaxTest = 8)]
    public void AFreshAdapterChangesNothing(int seed)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        TokenRow row = TinyModel.Rows(1, seed)[0];
        float[] before = TinyModel.Logits(model, row);
        model.AddAdapter(_all with { UseDora = seed % 2 == 0 }, seed: (ulong)(uint)seed);
        float[] after = TinyModel.Logits(model, row);
        // Exact for LoRA, whose B is 0; DoRA divides and multiplies by the same norm.
        if (seed % 2 == 0) Assert.True(TinyModel.MaxDifference(before, after) < 1e-5);
        else Assert.Equal(before, after);
    }

    [Property(MaxTest = 8)]
    public void MergedEqualsAdapterAndDisabledEqualsBase(int seed)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        TokenRow row = TinyModel.Rows(1, seed)[0];
        float[] before = TinyModel.Logits(model, row);
        model.AddAdapter(_all with { Init = LoraInit.Random, UseDora = seed % 2 == 0, UseRsLora = seed % 3 == 0 }, seed: (ulong)(uint)seed);
        float[] adapted = TinyModel.Logits(model, row);
        Assert.True(TinyModel.MaxDifference(before, adapted) > 1e-3, "the adapter should change the output");
        using (CausalLM merged = model.MergeAndUnload()) Assert.True(TinyModel.MaxDifference(adapted, TinyModel.Logits(merged, row)) < 1e-4);
        using (model.DisableAdapter()) Assert.Equal(before, TinyModel.Logits(model, row));
        Assert.Equal(adapted, TinyModel.Logits(model, row));
        model.DeleteAdapter("default");
        Assert.Equal(before, TinyModel.Logits(model, row));
    }

    [Fact]
    public void MergedWeightsAreLinearInAlpha()
    {
        using ReferenceBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        const string name = "model.layers.0.self_attn.q_proj.weight";
        float[] w = model.Weights.Get(name).ToArray();
        float[] one = Delta(8), two = Delta(16);
        for (int i = 0; i < one.Length; i++) Assert.Equal(2 * one[i], two[i], 1e-6f);

        float[] Delta(double alpha)
        {
            model.AddAdapter(_all with { Init = LoraInit.Random, Alpha = alpha }, "a", seed: 5);
            using MergedWeights merged = new(model);
            float[] delta = [.. merged.Compute(name).Zip(w, (m, b) => m - b)];
            model.DeleteAdapter("a");
            return delta;
        }
    }

    [Property(MaxTest = 6)]
    public void MicroBatchesAddUpToOneBatch(int seed)
    {
        // Ten rows at once and as micro-batches of 1 to 4, dropout on: masks belong to rows of the step, not of the micro-batch.
        using ReferenceBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(_all with { Init = LoraInit.Random, Dropout = 0.3 }, seed: 3);
        List<TokenRow> rows = TinyModel.Rows(10, seed);
        (double loss, float[] gradient) = Accumulate(model, rows, [10]);
        (double split, float[] splitGradient) = Accumulate(model, rows, [1, 4, 2, 3]);
        Assert.Equal(loss, split, 1e-5);
        Assert.True(Relative(splitGradient, gradient) < 1e-5);
    }

    [Property(MaxTest = 6)]
    public void SamplesOfABatchDoNotSeeEachOther(int seed)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "mistral-window");
        List<TokenRow> rows = TinyModel.Rows(4, seed);
        using Arena arena = new(backend);
        using TokenBatch batch = TokenBatch.Create(backend, rows, model.Options.VocabularySize);
        int v = model.Options.VocabularySize;
        float[] together = new float[batch.Tokens * v];
        model.Logits(arena, batch, (first, logits) => backend.Download(logits, together.AsSpan(first * v, logits.Rows * v)));
        float[] alone = [.. rows.SelectMany(r => TinyModel.Logits(model, r))];
        Assert.True(TinyModel.MaxDifference(together, alone) < 1e-5);
    }

    [Fact]
    public void SeveralActiveAdaptersAreSummed()
    {
        using ReferenceBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        TokenRow row = TinyModel.Rows(1, 1)[0];
        model.AddAdapter(_all with { Init = LoraInit.Random }, "a", seed: 1);
        model.AddAdapter(_all with { Init = LoraInit.Random, Rank = 2 }, "b", seed: 2);
        model.SetAdapter("a", "b");
        float[] both = TinyModel.Logits(model, row);
        using CausalLM merged = model.MergeAndUnload();
        Assert.True(TinyModel.MaxDifference(both, TinyModel.Logits(merged, row)) < 1e-4);
    }

    [Theory]
    [InlineData("q_pro", "q_proj")]
    [InlineData("gate", "gate_proj")]
    public void AnUnmatchedTargetNamesTheNearest(string entry, string nearest)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraNetException error = Assert.Throws<LoraNetException>(() => model.AddAdapter(_all with { TargetModules = ModuleSelector.Of("v_proj", entry) }));
        Assert.Contains(entry, error.Message, StringComparison.Ordinal);
        Assert.Contains(nearest, error.Message, StringComparison.Ordinal);
        Assert.Empty(model.Adapters);
    }

    [Fact]
    public void UnmatchedPatternsAndExclusionsAreErrors()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        Assert.Throws<LoraNetException>(() => model.AddAdapter(_all with { RankPattern = [KeyValuePair.Create("base_model.model.q_proj", 2)] }));
        Assert.Throws<LoraNetException>(() => model.AddAdapter(_all with { AlphaPattern = [KeyValuePair.Create("nothing", 2.0)] }));
        Assert.Throws<LoraNetException>(() => model.AddAdapter(_all with { ExcludeModules = ModuleSelector.Of("nothing") }));
        Assert.Throws<LoraNetException>(() => model.AddAdapter(_all with { ModulesToSave = ["nothing"] }));
    }

    [Theory]
    [InlineData(LoraInit.KaimingUniform, 1.0)]
    [InlineData(LoraInit.KaimingUniformA0, 2.449489742783178)]
    public void KaimingBoundsAreThoseOfTheDefinition(LoraInit init, double overRootIn)
    {
        (float[] a, float[] b) = LoraInitializer.Linear(init, 1000, 300, 64, seed: 9, "layer");
        double bound = overRootIn / Math.Sqrt(1000);
        Assert.All(b, v => Assert.Equal(0, v));
        Assert.InRange(a.Max(), 0.999 * bound, bound);
        Assert.InRange(a.Min(), -bound, -0.999 * bound);
        // The standard deviation of U(±bound) is bound/√3; 64,000 draws put the estimate within 1 %.
        Assert.Equal(bound / Math.Sqrt(3), Math.Sqrt(a.Average(v => (double)v * v)), bound / Math.Sqrt(3) * 0.01);
    }

    [Fact]
    public void GaussianDeviationIsOneOverRank()
    {
        (float[] a, _) = LoraInitializer.Linear(LoraInit.Gaussian, 1000, 30, 16, seed: 9, "layer");
        Assert.Equal(1.0 / 16, Math.Sqrt(a.Average(v => (double)v * v)), 0.01 / 16);
    }

    private static (double Loss, float[] Gradient) Accumulate(CausalLM model, List<TokenRow> rows, int[] sizes)
    {
        Backend backend = model.Backend;
        List<Parameter> parameters = [.. model.TrainableParameters];
        foreach (Parameter parameter in parameters) backend.Zero(parameter.Gradient);
        using Arena arena = new(backend);
        Tape tape = new(arena);
        Tensor sum = backend.Create(new float[1], 1);
        int trained = rows.Sum(r => r.TrainedTokens), first = 0;
        long tokens = 0, trainedSoFar = 0;
        foreach (int size in sizes)
        {
            using TokenBatch batch = TokenBatch.Create(backend, rows.GetRange(first, size), model.Options.VocabularySize);
            model.AccumulateLoss(tape, batch, new ForwardContext { Training = true, Seed = 7 }, 1f / trained, sum, tokens, trainedSoFar);
            tokens += batch.Tokens;
            trainedSoFar += batch.TrainedTokens;
            first += size;
        }
        double loss = backend.Download(sum)[0] / trained;
        backend.Free(sum);
        return (loss, [.. parameters.SelectMany(p => p.ToFile(gradient: true))]);
    }

    private static double Relative(float[] actual, float[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => ((double)a - e) * ((double)a - e)).Sum() / expected.Sum(e => (double)e * e));
}
