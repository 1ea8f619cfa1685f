using FsCheck.Xunit;
using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;
using LoraNet.Tests.Formats;
using LoraNet.Training;

namespace LoraNet.Tests.Lora;

/// <summary>Laws that hold for every method: nothing changes at the start, merged equals adapter, gradients are those of the loss, files keep everything.</summary>
public sealed class MethodTests
{
    private const int Methods = 10;

    /// <summary>Every method in its forms; <paramref name="random"/> starts it with values that change the output.</summary>
    private static LoraConfig Config(int which, bool random) => (which switch
    {
        0 => Plain(new VeraSettings { ProjectionSeed = 3 }) with { Rank = 5 },
        1 => Plain(new Ia3Settings { FeedForwardModules = ModuleSelector.Of("down_proj") }),
        2 => Plain(new LoHaSettings()) with { RankPattern = [KeyValuePair.Create("q_proj", 2)], AlphaPattern = [KeyValuePair.Create("down_proj", 5.0)] },
        3 => Plain(new LoKrSettings()),
        4 => Plain(new LoKrSettings { DecomposeBoth = true, DecomposeFactor = 4 }) with { Rank = 1 },
        5 => Plain(new AdaLoraSettings { TargetRank = 2 }),
        6 => new LoraConfig { Rank = 4, Alpha = 8, UseDora = true, TargetModules = ModuleSelector.Of("q_proj", "embed_tokens") },
        7 => Plain(new VeraSettings { SaveProjection = false }) with { Rank = 4 },
        8 => new LoraConfig { Rank = 2, Alpha = 4, TargetModules = ModuleSelector.Of("q_proj"), TargetParameters = ["experts.gate_up_proj", "experts.down_proj"] },
        _ => Plain(new LoHaSettings { RankDropout = 0.2, ModuleDropout = 0.1 }) with { TargetModules = ModuleSelector.AllLinearLayers },
    }) with
    { Init = random ? LoraInit.Random : LoraInit.KaimingUniform };

    private static LoraConfig Plain(MethodSettings method) => new() { Method = method, Rank = 3, Alpha = 6, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "down_proj") };

    private static CausalLM Load(Backend backend, int which) => TinyModel.Load(backend, which == 8 ? "mixtral-one-parameter" : which == 1 ? "llama-rslora-patterns-bias" : "llama-tied");

    private static List<TokenRow> Rows(int count, int seed, int which) => TinyModel.Rows(count, seed, which == 8 ? 32 : 64);

    [Theory]
    [MemberData(nameof(All))]
    public void AFreshAdapterChangesNothing(int which)
    {
        using CpuBackend backend = new();
        using CausalLM model = Load(backend, which);
        TokenRow row = Rows(1, 5, which)[0];
        float[] before = TinyModel.Logits(model, row);
        model.AddAdapter(Config(which, random: false));
        Assert.True(TinyModel.MaxDifference(before, TinyModel.Logits(model, row)) < 1e-5);
    }

    [Property(MaxTest = 3 * Methods)]
    public void MergedEqualsAdapterAndDisabledEqualsBase(uint seed)
    {
        int which = (int)(seed % Methods);
        using CpuBackend backend = new();
        using CausalLM model = Load(backend, which);
        TokenRow row = Rows(1, (int)(seed % 1000), which)[0];
        float[] before = TinyModel.Logits(model, row);
        model.AddAdapter(Config(which, random: true), seed: seed);
        float[] adapted = TinyModel.Logits(model, row);
        Assert.True(TinyModel.MaxDifference(before, adapted) > 1e-4, "the adapter should change the output");
        double scale = adapted.Max(Math.Abs);
        using (CausalLM merged = model.MergeAndUnload()) Assert.True(TinyModel.MaxDifference(adapted, TinyModel.Logits(merged, row)) < 1e-4 * Math.Max(1, scale));
        using (model.DisableAdapter()) Assert.Equal(before, TinyModel.Logits(model, row));
        Assert.Equal(adapted, TinyModel.Logits(model, row));
        model.DeleteAdapter("default");
        Assert.Equal(before, TinyModel.Logits(model, row));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void GradientsAreThoseOfTheLoss(int which)
    {
        using ReferenceBackend backend = new(DType.F64);
        using CausalLM model = Load(backend, which);
        LoraConfig config = Config(which, random: true);
        // DoRA's norm counts as a constant, so its gradient is not the loss's; PEFT's golden case checks it.
        if (config.UseDora) return;
        model.AddAdapter(config with { Dropout = config.Method is VeraSettings or AdaLoraSettings ? 0.3 : 0 }, seed: 11);
        // Random starts are large; smaller values keep the loss smooth over the steps taken.
        foreach (Parameter p in model.TrainableParameters) p.FromFile([.. p.ToFile().Select(v => 0.5f * v)]);
        ForwardContext context = new() { Training = true, Seed = 4, Step = 2 };
        // The router's weights pass through binary32, whose rounding a small step would drown in.
        Assert.InRange(GradientCheck.Worst(model, Rows(2, 3, which), context, 7, which == 8 ? 4e-3 : 2e-4), 0, 1e-4);
    }

    [Theory]
    [MemberData(nameof(All))]
    public void FilesKeepEverything(int which)
    {
        using CpuBackend backend = new();
        using CausalLM model = Load(backend, which);
        using TemporaryFolder folder = new();
        TokenRow row = Rows(1, 9, which)[0];
        LoraAdapter first = model.AddAdapter(Config(which, random: true), seed: 6);
        float[] adapted = TinyModel.Logits(model, row);
        AdapterFile.Save(folder["a"], model, first);
        LoraConfig config = first.Config;
        model.DeleteAdapter("default");
        LoraAdapter second = AdapterFile.Load(folder["a"], model);
        Assert.Equal(adapted, TinyModel.Logits(model, row));
        Assert.Equal(config.Method?.GetType(), second.Config.Method?.GetType());
        AdapterFile.Save(folder["b"], model, second);
        foreach (string file in new[] { AdapterFile.TensorFileName, AdapterConfigJson.FileName })
            Assert.Equal(File.ReadAllBytes(Path.Combine(folder["a"], file)), File.ReadAllBytes(Path.Combine(folder["b"], file)));
    }

    [Fact]
    public void TwoMethodsAddUp()
    {
        using CpuBackend backend = new();
        using CausalLM model = Load(backend, 0);
        TokenRow row = Rows(1, 2, 0)[0];
        model.AddAdapter(Config(2, random: true), "loha", seed: 1);
        model.AddAdapter(Plain(new Ia3Settings { FeedForwardModules = ModuleSelector.Of("down_proj") }) with { Init = LoraInit.Random }, "ia3", seed: 2);
        model.AddAdapter(new LoraConfig { Rank = 2, TargetModules = ModuleSelector.Of("q_proj"), Init = LoraInit.Random }, "lora", seed: 3);
        model.SetAdapter("loha", "ia3", "lora");
        float[] together = TinyModel.Logits(model, row);
        using CausalLM merged = model.MergeAndUnload();
        Assert.True(TinyModel.MaxDifference(together, TinyModel.Logits(merged, row)) < 1e-3);
    }

    [Fact]
    public void VerasMatricesArePeftsDrawnFromTheSeed()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "vera");
        LoraAdapter stored = AdapterFile.Load(Path.Combine(TinyModel.Folder("vera"), "adapter_init"), model);
        LoraAdapter drawn = AdapterBuilder.Create(model, "drawn", stored.Config, seed: 1);
        VeraProjection a = stored.Parts.OfType<VeraProjection>().Single(), b = drawn.Parts.OfType<VeraProjection>().Single();
        Assert.Equal(a.A.ToFile(), b.A.ToFile());
        Assert.Equal(a.B.ToFile(), b.B.ToFile());
        drawn.Dispose();
    }

    [Fact]
    public void MicaStartsFromPeftsVectors()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "mica");
        LoraAdapter stored = AdapterFile.Load(Path.Combine(TinyModel.Folder("mica"), "adapter_init"), model);
        LoraAdapter fresh = AdapterBuilder.Create(model, "fresh", stored.Config, seed: 1);
        foreach ((string path, LoraLayer layer) in stored.Layers)
        {
            float[] theirs = layer.B.ToFile(), ours = fresh.Layers[path].B.ToFile();
            int rank = layer.Rank;
            for (int r = 0; r < rank; r++)
            {
                double dot = 0;
                for (int o = 0; o < theirs.Length / rank; o++) dot += (double)theirs[o * rank + r] * ours[o * rank + r];
                // A singular vector's sign is free.
                Assert.Equal(1, Math.Abs(dot), 1e-4);
            }
            Assert.True(layer.B.Frozen);
            Assert.False(layer.B.Trainable);
        }
        fresh.Dispose();
    }

    [Theory]
    [InlineData(256, -1, 16, 16)]
    [InlineData(128, -1, 8, 16)]
    [InlineData(127, -1, 1, 127)]
    [InlineData(128, 4, 4, 32)]
    [InlineData(6, 4, 2, 3)]
    [InlineData(512, 1, 1, 512)]
    public void LoKrSplitsAsPeftDoes(int size, int factor, int small, int large) => Assert.Equal((small, large), LoKrSettings.Split(size, factor));

    [Fact]
    public void RankDropoutDropsWholeRowsAndIsTheSameForMicroBatches()
    {
        using ReferenceBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(Plain(new LoHaSettings { RankDropout = 0.5, ModuleDropout = 0.3 }) with { Init = LoraInit.Random }, seed: 3);
        List<TokenRow> rows = TinyModel.Rows(6, 8);
        using Arena arena = new(backend);
        float[] whole = Gradient([6]), split = Gradient([1, 3, 2]);
        Assert.True(whole.Zip(split, (a, b) => Math.Abs(a - b)).Max() < 1e-5);
        Assert.Contains(whole, g => g == 0);
        Assert.Contains(whole, g => g != 0);

        float[] Gradient(int[] sizes)
        {
            foreach (Parameter p in model.TrainableParameters) backend.Zero(p.Gradient);
            Tensor sum = backend.Create(new float[1], 1);
            int first = 0;
            foreach (int size in sizes)
            {
                using TokenBatch batch = TokenBatch.Create(backend, rows.GetRange(first, size), model.Options.VocabularySize);
                model.AccumulateLoss(new LoraNet.Tensors.Autograd.Tape(arena), batch, new ForwardContext { Training = true, Seed = 7 }, 0.01f, sum);
                first += size;
            }
            backend.Free(sum);
            return [.. model.TrainableParameters.Where(p => p.Name.EndsWith("w1_a", StringComparison.Ordinal)).SelectMany(p => p.ToFile(gradient: true))];
        }
    }

    [Fact]
    public void AParameterOfALinearLayerIsTheLayer()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        TokenRow row = TinyModel.Rows(1, 4)[0];
        LoraConfig config = new() { Rank = 3, Alpha = 6, Init = LoraInit.Random };
        model.AddAdapter(config with { TargetModules = ModuleSelector.Of("q_proj") }, "module", seed: 3);
        float[] expected = TinyModel.Logits(model, row);
        model.AddAdapter(config with { TargetParameters = ["q_proj.weight"] }, "parameter", seed: 3);
        Assert.Equal(expected, TinyModel.Logits(model, row));
    }

    [Fact]
    public void ExpertsAreNotAdaptedTwice()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "mixtral-one-parameter");
        LoraConfig config = new() { TargetParameters = ["experts.down_proj"], TargetModules = ModuleSelector.AllLinearLayers };
        LoraAdapter adapter = AdapterBuilder.Create(model, "a", config, seed: 1);
        Assert.DoesNotContain(adapter.Layers.Keys, p => p.EndsWith(".w2", StringComparison.Ordinal));
        Assert.Contains(adapter.Layers.Keys, p => p.EndsWith(".w1", StringComparison.Ordinal));
        adapter.Dispose();
        LoraNetException error = Assert.Throws<LoraNetException>(() => AdapterBuilder.Create(model, "a", config with { TargetModules = ModuleSelector.Of("w2") }, seed: 1));
        Assert.Contains("twice", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ExpertsOfAMixedBatchBelongToTheirRow()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "mixtral-one-parameter");
        List<TokenRow> rows = Rows(2, 4, 8);
        model.AddAdapter(Config(8, random: true), "a", seed: 1);
        float[] alone = TinyModel.Logits(model, rows[0]);
        float[] named = TinyModel.Logits(model, rows[0] with { Adapter = "a" });
        Assert.True(TinyModel.MaxDifference(alone, named) < 1e-5);
        using (model.DisableAdapter()) alone = TinyModel.Logits(model, rows[1]);
        Assert.True(TinyModel.MaxDifference(alone, TinyModel.Logits(model, rows[1] with { Adapter = "__base__" })) < 1e-5);
    }

    [Fact]
    public void APrunedAdapterKeepsItsRanks()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "adalora");
        using TemporaryFolder folder = new();
        TokenRow row = TinyModel.Rows(1, 3, 32)[0];
        LoraAdapter pruned = AdapterFile.Load(Path.Combine(TinyModel.Folder("adalora"), "adapter_trained"), model);
        List<AdaLoraLayer> layers = [.. pruned.Parts.OfType<AdaLoraLayer>()];
        Assert.Equal(6, layers.Sum(l => l.Diagonal.Count));
        // s stays that of init_r = 4.
        Assert.All(layers, l => Assert.Equal(8 / (4 + 1e-5), l.Scaling, 1e-5));
        using LoraTrainer trainer = new(model, TinyModel.Rows(4, 1, 32), new TrainingOptions { MaxSteps = 3, BatchSize = 2, LearningRate = 1e-2 });
        for (int i = 0; i < 3; i++) trainer.Step();
        Assert.Equal(6, layers.Sum(l => l.Diagonal.Count));
        float[] trained = TinyModel.Logits(model, row);
        AdapterFile.Save(folder["a"], model, pruned);
        model.DeleteAdapter("default");
        AdapterFile.Load(folder["a"], model);
        Assert.Equal(trained, TinyModel.Logits(model, row));
    }

    [Fact]
    public void AnEarlierStateOfAPrunedAdapterIsReadBack()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        using TemporaryFolder folder = new();
        TokenRow row = TinyModel.Rows(1, 3)[0];
        LoraAdapter adapter = model.AddAdapter(Plain(new AdaLoraSettings { TargetRank = 1 }) with { Rank = 4 });
        using LoraTrainer trainer = new(model, TinyModel.Rows(8, 1), new TrainingOptions { MaxSteps = 10, BatchSize = 2, LearningRate = 1e-2 });
        for (int i = 0; i < 5; i++) trainer.Step();
        AdapterFile.Save(folder["early"], model, adapter);
        int early = Ranks(folder["early"]);
        float[] logits = TinyModel.Logits(model, row);
        for (int i = 5; i < 10; i++) trainer.Step();
        AdapterFile.Save(folder["late"], model, adapter);
        Assert.True(Ranks(folder["late"]) < early);
        Assert.True(TinyModel.MaxDifference(logits, TinyModel.Logits(model, row)) > 0);
        AdapterFile.ReadInto(folder["early"], adapter);
        Assert.Equal(logits, TinyModel.Logits(model, row));

        static int Ranks(string path) => ((AdaLoraSettings)AdapterFile.ReadConfig(path).Method!).Kept.Sum(k => k.Value.Count(v => v));
    }

    /// <summary>Settings that exclude each other.</summary>
    public static TheoryData<LoraConfig, string> Wrong => new()
    {
        { Plain(new LoHaSettings()) with { Dropout = 0.1 }, "dropout" },
        { Plain(new VeraSettings()) with { UseDora = true }, "use_dora" },
        { Plain(new Ia3Settings()) with { UseRsLora = true }, "use_rslora" },
        { Plain(new LoKrSettings()) with { LoraBias = true }, "lora_bias" },
        { Plain(new LoKrSettings { DecomposeFactor = 0 }), "decompose_factor" },
        { Plain(new LoHaSettings { RankDropout = 1 }), "rank_dropout" },
        { Plain(new LoHaSettings()) with { Init = LoraInit.Pissa }, "initialisation" },
        { Plain(new VeraSettings()) with { RankPattern = [KeyValuePair.Create("q_proj", 2)] }, "rank" },
        { Plain(new AdaLoraSettings { TargetRank = 4 }), "target_r" },
        { Plain(new LoHaSettings()) with { TargetModules = ModuleSelector.Of("embed_tokens") }, "embedding" },
        { new LoraConfig { TargetParameters = ["experts.down_proj"], Dropout = 0.1 }, "dropout" },
        { new LoraConfig { TargetParameters = ["expert.down_proj"] }, "target_parameters" },
        { new LoraConfig { TargetParameters = ["experts.down_proj"], Init = LoraInit.Orthogonal }, "initialisation" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void CombinationsThatMeanNothingAreErrors(LoraConfig config, string named)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend, "mixtral-one-parameter");
        if (config.Method is not null && config.TargetModules!.Names!.Contains("down_proj")) config = config with { TargetModules = ModuleSelector.Of("q_proj") };
        LoraNetException error = Assert.Throws<LoraNetException>(() => model.AddAdapter(config));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Empty(model.Adapters);
    }

    public static TheoryData<int> All => [.. Enumerable.Range(0, Methods)];
}
