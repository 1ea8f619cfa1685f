using LoraNet.Adapters;
using LoraNet.Generation;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Tests.Formats;
using LoraNet.Tests.Golden;
using LoraNet.Training;

namespace LoraNet.Tests.Lora;

/// <summary>One adapter a row: each row is as if its adapter were alone; and adapters swapped in place.</summary>
public sealed class MixedBatchTests
{
    private static readonly string _model = Path.Combine(TestData.Fixtures, "golden", "llama-tied");
    private static readonly LoraConfig _attention = new() { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "down_proj", "embed_tokens"), Init = LoraInit.Random };
    private static readonly LoraConfig _biased = new() { Rank = 3, Alpha = 2, TargetModules = ModuleSelector.Of("k_proj", "v_proj", "lm_head"), Init = LoraInit.Random, LoraBias = true };

    private static readonly int[][] _prompts = [[1, 5, 9, 3], [2, 6, 4, 8, 11, 7], [3, 9, 2], [7, 1, 12, 4, 6]];

    [Theory]
    [InlineData("reference")]
    [InlineData("cpu")]
    public void RowsEqualTheirAdapterAlone(string backendName)
    {
        using Backend backend = ReferenceCase.CreateBackend(backendName);
        using CausalLM model = TwoAdapters(backend);
        string?[] names = ["a", "__base__", "b", null];
        model.SetAdapter("b");
        float[][] mixed = Logits(model, [.. _prompts.Select((p, i) => new TokenRow(p, p) { Adapter = names[i] })]);
        for (int r = 0; r < names.Length; r++)
        {
            float[] alone = Alone(model, names[r] ?? "b", () => Logits(model, [new TokenRow(_prompts[r], _prompts[r])])[0]);
            AssertClose(alone, mixed[r], 1e-4);
        }
        // The masks and the union of layers are gone afterwards.
        AssertClose(Alone(model, "b", () => Logits(model, [new TokenRow(_prompts[0], _prompts[0])])[0]), Logits(model, [new TokenRow(_prompts[0], _prompts[0])])[0], 0);
    }

    /// <summary>
    /// PEFT's own mixed batch of two adapters. Its first row is not compared: the script that made the case had changed the default
    /// adapter's B before; that row is compared with the trained adapter's own logits.
    /// </summary>
    [SharedTheory]
    [InlineData("reference")]
    [InlineData("cpu")]
    public void MatchesPeftsMixedBatch(string backendName)
    {
        using Backend backend = ReferenceCase.CreateBackend(backendName);
        using ReferenceCase golden = new(TestData.SharedPath("reference", "llama-tied-attn"));
        using CausalLM model = CausalLM.Load(golden.Folder, backend);
        AdapterFile.Load(Path.Combine(golden.Folder, "adapter_trained"), model);
        AdapterFile.Load(Path.Combine(golden.Folder, "second"), model, "second");
        string[] names = [.. golden.Json.GetProperty("mixed_names").EnumerateArray().Select(n => n.GetString()!)];
        Assert.Equal(["default", "second"], names);
        float[][] rows = Logits(model, [.. golden.Rows(0).Select((r, i) => r with { Adapter = names[i] })]);
        float[] trained = golden.Values("trained.logits"), mixed = golden.Values("mixed.logits");
        // The rows are padded on the right, if at all; only real tokens have logits here.
        int half = mixed.Length / 2;
        AssertClose(trained[..rows[0].Length], rows[0], 1e-4);
        AssertClose(mixed[half..(half + rows[1].Length)], rows[1], 1e-4);
    }

    [Fact]
    public void AdaptersDifferSoThatTheRowsProveSomething()
    {
        using Backend backend = new CpuBackend();
        using CausalLM model = TwoAdapters(backend);
        float[] Row(string name) => Alone(model, name, () => Logits(model, [new TokenRow(_prompts[0], _prompts[0])])[0]);
        float[] a = Row("a"), b = Row("b"), none = Row("__base__");
        Assert.True(Distance(a, b) > 0.1 && Distance(a, none) > 0.1 && Distance(b, none) > 0.1);
    }

    [Theory]
    [InlineData("reference")]
    [InlineData("cpu")]
    public void TrainingRowsReachOnlyTheirAdapter(string backendName)
    {
        using Backend backend = ReferenceCase.CreateBackend(backendName);
        using CausalLM model = TwoAdapters(backend);
        string[] names = ["a", "b", "a", "__base__"];
        TokenRow[] rows = [.. _prompts.Select((p, i) => new TokenRow(p, p) { Adapter = names[i] })];
        model.SetAdapter("a", "b");
        Dictionary<string, float[]> mixed = Gradients(model, rows);
        foreach (string name in new[] { "a", "b" })
        {
            model.SetAdapter(name);
            Dictionary<string, float[]> alone = Gradients(model, [.. rows.Where(r => r.Adapter == name).Select(r => r with { Adapter = null })]);
            foreach ((string parameter, float[] values) in alone) AssertClose(values, mixed[name + ":" + parameter[2..]], 1e-4);
            Assert.Contains(alone.Values, v => v.Any(x => Math.Abs(x) > 1e-3));
        }
    }

    [Fact]
    public void ATrainingRunOfTwoTasksLowersBothLosses()
    {
        using Backend backend = new CpuBackend();
        using CausalLM model = CausalLM.Load(_model, backend);
        model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.AllLinearLayers }, "a", 1);
        model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.AllLinearLayers }, "b", 2);
        model.SetAdapter("a", "b");
        // The same prompt with contrary answers: only separate adapters can learn both.
        TokenRow first = new([1, 5, 9, 3], [-100, -100, -100, 3]) { Adapter = "a" }, second = new([1, 5, 9, 8], [-100, -100, -100, 8]) { Adapter = "b" };
        using LoraTrainer trainer = new(model, [first, second], new TrainingOptions { BatchSize = 2, MaxSteps = 60, LearningRate = 0.02, Schedule = ScheduleKind.Constant });
        double before = Loss("a", "b");
        while (trainer.State.CompletedSteps < 60) trainer.Step();
        double own = Loss("a", "b"), swapped = Loss("b", "a");
        Assert.True(own < 0.5 * before && swapped > before, $"before {before}, own {own}, swapped {swapped}");

        double Loss(string one, string two) => Evaluator.Evaluate(model, [first with { Adapter = one }, second with { Adapter = two }], 2).Loss;
    }

    [Fact]
    public void GenerationTakesAnAdapterAPrompt()
    {
        using Backend backend = new CpuBackend();
        using CausalLM model = TwoAdapters(backend);
        using Generator generator = new(model);
        GenerationOptions options = new() { MaxNewTokens = 8, Temperature = 0 };
        string[] names = ["b", "__base__", "a", "b"];
        IReadOnlyList<int[]> mixed = generator.Generate(_prompts, options, adapters: names);
        for (int r = 0; r < names.Length; r++)
            Assert.Equal(Alone(model, names[r], () => generator.Generate([_prompts[r]], options)[0]), mixed[r]);
    }

    [Fact]
    public void WhatCannotBeMixedIsRefused()
    {
        using Backend backend = new CpuBackend();
        using CausalLM model = TwoAdapters(backend);
        model.AddAdapter(new LoraConfig { UseDora = true }, "dora");
        model.AddAdapter(new LoraConfig { ModulesToSave = ["lm_head"] }, "saved");
        Assert.Contains("'c'", Refused("c"));
        Assert.Contains("DoRA", Refused("dora"));
        Assert.Contains("whole modules", Refused("saved"));
        using CausalLM merged = model.MergeAndUnload();
        Assert.Contains("No adapter is called 'a'", Assert.Throws<LoraNetException>(() => Logits(merged, [new TokenRow([1, 2], [1, 2]) { Adapter = "a" }])).Message);
        Assert.Throws<LoraNetException>(() => model.AddAdapter(new LoraConfig(), "__base__"));
        using Generator generator = new(model);
        Assert.Throws<LoraNetException>(() => generator.Generate(_prompts, new GenerationOptions { MaxNewTokens = 1 }, adapters: ["a"]));

        string Refused(string name) => Assert.Throws<LoraNetException>(() => Logits(model, [new TokenRow([1, 2], [1, 2]) { Adapter = name }])).Message;
    }

    [Fact]
    public void SwappedAdapterEqualsALoadedOne()
    {
        using TemporaryFolder scratch = new();
        using Backend backend = new CpuBackend();
        using CausalLM model = CausalLM.Load(_model, backend);
        LoraAdapter large = model.AddAdapter(_attention with { Rank = 6 }, "large", 5);
        // Smaller rank, fewer modules, another scaling.
        model.AddAdapter(_attention with { Rank = 2, Alpha = 7, UseRsLora = true, TargetModules = ModuleSelector.Of("q_proj", "embed_tokens") }, "small", 9);
        AdapterFile.Save(scratch["small"], model, model.Adapters["small"]);
        AdapterFile.Save(scratch["large"], model, large);
        float[] Row(string name) => Alone(model, name, () => Logits(model, [new TokenRow(_prompts[1], _prompts[1])])[0]);
        float[] small = Row("small"), before = Row("large");
        Tensor buffer = large.Layers.First().Value.A.Value;

        AdapterFile.Swap(scratch["small"], model, "large");
        AssertClose(small, Row("large"), 1e-5);
        Assert.Same(buffer, large.Layers.First().Value.A.Value);
        Assert.Throws<LoraNetException>(() => AdapterFile.Save(scratch["again"], model, large));
        // What does not fit is refused and changes nothing.
        Assert.Contains("rank", Assert.Throws<LoraNetException>(() => AdapterFile.Swap(scratch["large"], model, "small")).Message + Assert.Throws<LoraNetException>(() => model.Adapters["small"].CopyFrom(large)).Message);
        AssertClose(small, Row("small"), 0);
        AdapterFile.Swap(scratch["large"], model, "large");
        AssertClose(before, Row("large"), 0);
        Assert.False(large.IsPadded);
    }

    private static CausalLM TwoAdapters(Backend backend)
    {
        CausalLM model = CausalLM.Load(_model, backend);
        model.AddAdapter(_attention, "a", 3);
        LoraAdapter b = model.AddAdapter(_biased, "b", 4);
        foreach (LoraLayer layer in b.Layers.Values) backend.Upload([.. Enumerable.Range(0, (int)layer.Bias!.Count).Select(i => MathF.Sin(i))], layer.Bias.Value);
        return model;
    }

    private static T Alone<T>(CausalLM model, string name, Func<T> run)
    {
        string[] before = [.. model.ActiveAdapters];
        using IDisposable? off = name == "__base__" ? model.DisableAdapter() : null;
        if (off is null) model.SetAdapter(name);
        T result = run();
        off?.Dispose();
        model.SetAdapter(before);
        return result;
    }

    private static float[][] Logits(CausalLM model, TokenRow[] rows)
    {
        using Arena arena = new(model.Backend);
        using TokenBatch batch = TokenBatch.Create(model.Backend, rows, model.Options.VocabularySize);
        int vocabulary = model.Options.VocabularySize;
        List<float>[] result = [.. rows.Select(_ => new List<float>())];
        model.Logits(arena, batch, (first, logits) =>
        {
            float[] values = model.Backend.Download(logits);
            for (int i = 0; i < logits.Rows; i++) result[batch.Origin[first + i].Row].AddRange(values.AsSpan(i * vocabulary, vocabulary));
        });
        Assert.Equal(0, arena.Live);
        return [.. result.Select(r => r.ToArray())];
    }

    private static Dictionary<string, float[]> Gradients(CausalLM model, TokenRow[] rows)
    {
        using Arena arena = new(model.Backend);
        using TokenBatch batch = TokenBatch.Create(model.Backend, rows, model.Options.VocabularySize);
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        model.AccumulateLoss(new Tape(arena), batch, new ForwardContext { Training = true }, 0.1f, sum);
        Assert.Equal(0, arena.Live);
        model.Backend.Free(sum);
        return model.ActiveAdapters.SelectMany(n => model.Adapters[n].Parameters.Select(p => (Key: $"{n}:{p.Name}", Values: p.ToFile(gradient: true)))).ToDictionary(p => p.Key, p => p.Values);
    }

    private static double Distance(float[] a, float[] b) => a.Zip(b, (x, y) => Math.Abs(x - (double)y)).Max();

    private static void AssertClose(float[] expected, float[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.True(Distance(expected, actual) <= tolerance, $"largest difference {Distance(expected, actual):e2} > {tolerance:e0}");
    }
}
