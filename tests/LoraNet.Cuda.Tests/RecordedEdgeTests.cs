using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using LoraNet.Data.Packing;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>Recorded work where its surroundings change: padding beside short tables, dropout that comes later, adapters that are switched
/// off for a while, logits that a caller still holds.</summary>
public class RecordedEdgeTests
{
    private const int Steps = 8;

    [Fact]
    public void Padding_does_not_reach_positions_that_change_a_rotation()
    {
        // Batches of ten tokens are padded to sixteen or more; beyond four positions the frequencies would change.
        ReplaysLikeTheCpu(Run);

        static (List<double>, int) Run(Backend backend)
        {
            string folder = Changed("llama-tied", config =>
            {
                config["max_position_embeddings"] = 4;
                config["rope_parameters"] = new JsonObject { ["rope_theta"] = 10000.0, ["rope_type"] = "dynamic", ["factor"] = 4.0 };
            });
            using Backend owned = backend;
            using CausalLM model = CausalLM.Load(folder, backend);
            Attach(model, 0);
            return Train(model, Rows(model, 3, 4));
        }
    }

    [Fact]
    public void Padding_stays_within_a_table_of_learned_positions_and_trains_nothing_in_it()
    {
        ReplaysLikeTheCpu(Run);

        static (List<double>, int) Run(Backend backend)
        {
            using Backend owned = backend;
            using CausalLM model = Gpt2(backend, positions: 5);
            LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 2, Alpha = 4, TargetModules = ModuleSelector.Of("c_attn"), ModulesToSave = ["wpe", "wte"] });
            RandomB(adapter);
            (List<double> values, int replays) = Train(model, Rows(model, 3, 4));
            // The last position is in no row, and padding must not reach it: its gradient is exactly 0.
            Parameter table = adapter.Parameters.Single(p => p.Kind == ParameterKind.Full && p.Name.Contains("wpe", StringComparison.Ordinal));
            float[] gradient = backend.Download(table.Gradient);
            Assert.Contains(gradient, g => g != 0);
            Assert.All(gradient.AsSpan(4 * table.Value.Columns).ToArray(), g => Assert.Equal(0, g));
            return (values, replays);
        }
    }

    [Fact]
    public void Sequences_longer_than_a_table_of_positions_are_refused()
    {
        using CpuBackend backend = new();
        using CausalLM model = Gpt2(backend, positions: 5);
        Attach(model, 0, "c_attn");
        using LoraTrainer trainer = new(new LanguageModelTask(model, PackedRow.Single(Rows(model, 6, 6))), new TrainingOptions { MaxSteps = 1 });
        Assert.Contains("5", Assert.Throws<LoraNetException>(trainer.Step).Message, StringComparison.Ordinal);
        using Arena arena = new(backend);
        using KeyValueCache cache = model.CreateCache(1, 8);
        Arena.Release(model.Decode(arena, cache, [(0, [1, 2, 3, 4])]));
        Arena.Release(model.Decode(arena, cache, [(0, [1])]));
        Assert.Throws<LoraNetException>(() => model.Decode(arena, cache, [(0, [1])]));
        Assert.Equal(5, cache.Lengths[0]);
    }

    [Fact]
    public void An_adapter_with_dropout_that_is_attached_after_the_task_was_made_gets_its_own_masks()
    {
        ReplaysLikeTheCpu(Run);

        static (List<double>, int) Run(Backend backend)
        {
            using Backend owned = backend;
            using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "llama-tied"), backend);
            LanguageModelTask task = new(model, PackedRow.Single(Rows(model, 4, 4)));
            Attach(model, 0.5);
            return Train(model, task, accumulation: 2);
        }
    }

    [Fact]
    public void Recorded_steps_outlive_a_pass_of_the_base_model_between_them()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "llama-tied"), backend);
        Attach(model, 0);
        List<TokenRow> rows = Rows(model, 4, 4);
        LanguageModelTask task = new(model, PackedRow.Single(rows));
        using LoraTrainer trainer = new(task, new TrainingOptions { BatchSize = 2, MaxSteps = Steps, Shuffle = false });
        for (int s = 0; s < Steps; s++)
        {
            trainer.Step();
            using (model.DisableAdapter()) Evaluator.Evaluate(model, rows[..2], 2);
        }
        Assert.True(task.ReplayedBatches >= Steps - 3, $"{task.ReplayedBatches} replays");
    }

    [Fact]
    public void Logits_that_the_caller_still_holds_are_not_overwritten()
    {
        List<float[]> expected = Run(new CpuBackend()), decoded = Run(CudaBackend.CreateOnCpuAccelerator());
        for (int i = 0; i < expected.Count; i++)
            for (int j = 0; j < expected[i].Length; j++) Assert.Equal(expected[i][j], decoded[i][j], 1e-4);

        static List<float[]> Run(Backend backend)
        {
            using Backend owned = backend;
            using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "llama-tied"), backend);
            using Arena arena = new(backend);
            using KeyValueCache first = model.CreateCache(1, 16), second = model.CreateCache(1, 16);
            List<Tensor> held = [model.Decode(arena, first, [(0, [5, 9, 3])]), model.Decode(arena, second, [(0, [7, 2])])];
            for (int n = 0; n < 5; n++)
            {
                held.Add(model.Decode(arena, first, [(0, [n + 3])]));
                held.Add(model.Decode(arena, second, [(0, [n + 10])]));
            }
            return [.. held.Select(t => backend.Download(t))];
        }
    }

    [Fact]
    public void A_weight_that_could_not_go_up_after_a_rehearsal_is_not_taken_for_prepared()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        // No such type can be read.
        Weight bad = new("bad", new HostTensor(0, (DType)99, [1, 2], null)), good = new("good", HostTensor.Copy([1f, 2f], 1, 2));
        Assert.ThrowsAny<Exception>(() => backend.Rehearse(() =>
        {
            backend.Prepare(bad);
            backend.Prepare(good);
        }));
        Assert.Null(bad.Prepared);
        Assert.Null(good.Prepared);
        Tensor y = backend.Create(DType.F32, 1, 2);
        backend.Embedding(good, backend.CreateIndex([0]), 1, y);
        Assert.Equal([1f, 2f], backend.Download(y));
        Assert.ThrowsAny<Exception>(() => backend.Embedding(bad, backend.CreateIndex([0]), 1, y));
    }

    [Fact]
    public void Decoding_refuses_what_would_leave_a_sequence_s_part_of_the_cache()
    {
        using CpuBackend backend = new();
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "llama-tied"), backend);
        using Arena arena = new(backend);
        using KeyValueCache cache = model.CreateCache(2, 3);
        Assert.Throws<LoraNetException>(() => model.Decode(arena, cache, [(0, [1, 2]), (0, [3, 4])]));
        Assert.Throws<LoraNetException>(() => model.Decode(arena, cache, [(0, [1, 2]), (1, [])]));
        Assert.Throws<LoraNetException>(() => model.Decode(arena, cache, [(2, [1])]));
        Assert.Equal([0, 0], cache.Lengths);
    }

    private static void ReplaysLikeTheCpu(Func<Backend, (List<double> Values, int Replays)> run)
    {
        (List<double> expected, _) = run(new CpuBackend());
        (List<double> recorded, int replays) = run(CudaBackend.CreateOnCpuAccelerator());
        Assert.True(replays > 0);
        Same(expected, recorded);
    }

    private static void Same(List<double> expected, List<double> values)
    {
        for (int i = 0; i < expected.Count; i++) Assert.Equal(expected[i], values[i], 1e-4 * Math.Abs(expected[i]));
    }

    private static void Attach(CausalLM model, double dropout, string target = "q_proj") =>
        RandomB(model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8, Dropout = dropout, TargetModules = ModuleSelector.Of(target) }));

    private static void RandomB(LoraAdapter adapter)
    {
        Random random = new(3);
        foreach (Parameter p in adapter.Parameters.Where(p => p.Kind == ParameterKind.LoraB))
            p.FromFile([.. Enumerable.Range(0, (int)p.Count).Select(_ => (float)(random.NextDouble() - 0.5))]);
    }

    /// <summary>Rows without token 0, of <paramref name="least"/> to <paramref name="most"/> tokens.</summary>
    private static List<TokenRow> Rows(CausalLM model, int least, int most)
    {
        Random random = new(11);
        List<TokenRow> rows = [];
        for (int r = 0; r < 4 * Steps; r++)
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(least, most + 1)).Select(_ => random.Next(1, model.Options.VocabularySize))];
            int[] labels = (int[])ids.Clone();
            labels[0] = TokenRow.Ignored;
            rows.Add(new TokenRow(ids, labels));
        }
        return rows;
    }

    private static (List<double> Values, int Replays) Train(CausalLM model, List<TokenRow> rows) => Train(model, new LanguageModelTask(model, PackedRow.Single(rows)), 1);

    private static (List<double> Values, int Replays) Train(CausalLM model, LanguageModelTask task, int accumulation)
    {
        // A low rate: AdamW would make different steps of gradients that are 0 but for rounding.
        using LoraTrainer trainer = new(task, new TrainingOptions { BatchSize = 2, GradientAccumulation = accumulation, MaxSteps = Steps, LearningRate = 1e-5, Shuffle = false });
        Assert.Same(model, trainer.Model);
        List<double> values = [];
        for (int s = 0; s < Steps; s++)
        {
            StepResult step = trainer.Step();
            values.Add(step.Loss);
            values.Add(step.GradientNorm);
        }
        return (values, task.ReplayedBatches);
    }

    /// <summary>A copy of a fixture with another config.json.</summary>
    private static string Changed(string fixture, Action<JsonObject> change)
    {
        string from = Path.Combine(TestData.Fixtures, "golden", fixture), to = Directory.CreateTempSubdirectory("loranet-test").FullName;
        File.Copy(Path.Combine(from, "model.safetensors"), Path.Combine(to, "model.safetensors"));
        JsonObject config = JsonNode.Parse(File.ReadAllText(Path.Combine(from, "config.json")))!.AsObject();
        change(config);
        File.WriteAllText(Path.Combine(to, "config.json"), config.ToJsonString());
        return to;
    }

    private static CausalLM Gpt2(Backend backend, int positions)
    {
        string folder = Directory.CreateTempSubdirectory("loranet-test").FullName, path = Path.Combine(folder, "config.json");
        File.WriteAllText(path, $$"""
            {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": {{positions}}, "n_ctx": {{positions}},
             "vocab_size": 13, "n_inner": 16, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}
            """);
        ModelConfig config = ModelConfig.Load(folder);
        return new CausalLM(backend, config, DecoderFamilies.Options(config), new RandomWeights(positions));
    }

    private sealed class RandomWeights : IWeightSource
    {
        private readonly Dictionary<string, HostTensor> _tensors = [];
        private readonly Random _random = new(5);

        public RandomWeights(int positions)
        {
            Add("transformer.wte.weight", 13, 8);
            Add("transformer.wpe.weight", positions, 8);
            for (int l = 0; l < 2; l++)
            {
                string layer = $"transformer.h.{l}.";
                foreach (string norm in new[] { "ln_1", "ln_2" }) AddNorm(layer + norm);
                Add(layer + "attn.c_attn.weight", 8, 24);
                Add(layer + "attn.c_attn.bias", 24);
                Add(layer + "attn.c_proj.weight", 8, 8);
                Add(layer + "attn.c_proj.bias", 8);
                Add(layer + "mlp.c_fc.weight", 8, 16);
                Add(layer + "mlp.c_fc.bias", 16);
                Add(layer + "mlp.c_proj.weight", 16, 8);
                Add(layer + "mlp.c_proj.bias", 8);
            }
            AddNorm("transformer.ln_f");
        }

        public IReadOnlyCollection<string> Names => _tensors.Keys;

        public string? Directory => null;

        public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);

        public HostTensor Get(string name) => _tensors[name];

        public void Dispose()
        {
        }

        private void AddNorm(string path)
        {
            Add(path + ".weight", 8);
            Add(path + ".bias", 8);
        }

        private void Add(string name, params int[] shape)
        {
            int count = shape.Aggregate(1, (a, b) => a * b);
            _tensors[name] = HostTensor.Copy([.. Enumerable.Range(0, count).Select(_ => (float)(_random.NextDouble() - 0.5))], shape);
        }
    }
}
