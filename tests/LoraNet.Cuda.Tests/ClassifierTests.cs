using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using LoraNet.Data;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>A classifier trains and answers with the GPU's kernels as it does on the CPU (here on ILGPU's CPU accelerator).</summary>
public sealed class ClassifierTests
{
    private const int Hidden = 32, Inner = 48, Layers = 1, Heads = 2, Vocabulary = 30;

    private static readonly ClassificationRow[] _rows =
    [
        new([2, 11, 7, 29, 3], null, null, 1),
        new([2, 9, 3, 14, 5, 21, 3], null, [0, 0, 0, 1, 1, 1, 1], 0),
        new([2, 17, 3], null, null, 1),
        new([2, 11, 11, 8, 3], null, [0, 0, 1, 1, 1], 0),
    ];

    [Theory]
    [InlineData("lora", 2, DType.F32, 1e-4)]
    [InlineData("full", 2, DType.F32, 1e-4)]
    [InlineData("lora", 1, DType.F32, 1e-4)]
    [InlineData("full", 1, DType.BF16, 0.05)]
    public void TrainsAndAnswersAsOnTheCpu(string method, int labels, DType type, double tolerance)
    {
        using Backend cpu = new CpuBackend(), gpu = CudaBackend.CreateOnCpuAccelerator(type);
        (double[] losses, float[] logits) = Train(cpu, method, labels);
        (double[] otherLosses, float[] otherLogits) = Train(gpu, method, labels);
        Assert.True(losses[^1] < 0.8 * losses[0], $"The loss did not fall: {string.Join(", ", losses)}");
        for (int i = 0; i < losses.Length; i++) Assert.True(Math.Abs(losses[i] - otherLosses[i]) <= tolerance * Math.Max(1, losses[i]), $"step {i + 1}: {losses[i]} and {otherLosses[i]}");
        for (int i = 0; i < logits.Length; i++) Assert.True(Math.Abs(logits[i] - otherLogits[i]) <= 4 * tolerance * Math.Max(1, Math.Abs(logits[i])), $"logit {i}: {logits[i]} and {otherLogits[i]}");
    }

    private static (double[] Losses, float[] Logits) Train(Backend backend, string method, int labels)
    {
        using SequenceClassifier model = new(backend, ModelConfig.Parse(Config(labels)), EncoderFamilies.Options(ModelConfig.Parse(Config(labels))), new TinyWeights(), 5);
        switch (method)
        {
            case "full": model.Attach(AdapterBuilder.CreateFull(model)); break;
            default: model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 16, Dropout = 0.1, ModulesToSave = ["pooler.dense"], TargetModules = ModuleSelector.Of("query", "value") }, seed: 3); break;
        }
        using LoraTrainer trainer = new(model, _rows, new TrainingOptions { BatchSize = 4, MaxSteps = 6, LearningRate = method == "full" ? 1e-2 : 3e-2, WeightDecay = 0.01, Seed = 1 });
        double[] losses = new double[trainer.TotalSteps];
        for (int i = 0; i < losses.Length; i++) losses[i] = trainer.Step().Loss;
        return (losses, [.. Evaluator.Evaluate(model, _rows, 2).Logits.SelectMany(l => l)]);
    }

    private static JsonObject Config(int labels)
    {
        JsonObject names = [];
        for (int i = 0; i < labels; i++) names[$"{i}"] = $"label {i}";
        return new JsonObject
        {
            ["model_type"] = "bert",
            ["hidden_size"] = Hidden,
            ["intermediate_size"] = Inner,
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = Heads,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = 16,
            ["type_vocab_size"] = 2,
            ["hidden_act"] = "gelu",
            ["layer_norm_eps"] = 1e-12,
            ["id2label"] = names,
            ["problem_type"] = labels == 1 ? "regression" : "single_label_classification",
        };
    }

    /// <summary>A bare BERT with random weights.</summary>
    private sealed class TinyWeights : IWeightSource
    {
        private readonly Dictionary<string, HostTensor> _tensors = [];
        private readonly Random _random = new(11);

        public TinyWeights()
        {
            Add("embeddings.word_embeddings.weight", Vocabulary, Hidden);
            Add("embeddings.position_embeddings.weight", 16, Hidden);
            Add("embeddings.token_type_embeddings.weight", 2, Hidden);
            Norm("embeddings.LayerNorm");
            for (int i = 0; i < Layers; i++)
            {
                string prefix = $"encoder.layer.{i}.";
                foreach (string name in new[] { "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense" }) Linear(prefix + name, Hidden, Hidden);
                Norm(prefix + "attention.output.LayerNorm");
                Linear(prefix + "intermediate.dense", Inner, Hidden);
                Linear(prefix + "output.dense", Hidden, Inner);
                Norm(prefix + "output.LayerNorm");
            }
            Linear("pooler.dense", Hidden, Hidden);
        }

        public IReadOnlyCollection<string> Names => _tensors.Keys;

        public string? Directory => null;

        public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);

        public HostTensor Get(string name) => _tensors[name];

        public void Dispose()
        {
        }

        private void Linear(string path, int outputs, int inputs)
        {
            Add(path + ".weight", outputs, inputs);
            Add(path + ".bias", outputs);
        }

        private void Norm(string path)
        {
            float[] ones = new float[Hidden];
            Array.Fill(ones, 1f);
            _tensors[path + ".weight"] = HostTensor.Copy(ones, Hidden);
            Add(path + ".bias", Hidden);
        }

        private void Add(string name, params int[] shape)
        {
            float[] values = new float[shape.Aggregate(1, (a, b) => a * b)];
            for (int i = 0; i < values.Length; i++) values[i] = (float)((_random.NextDouble() - 0.5) * 0.4);
            _tensors[name] = HostTensor.Copy(values, shape);
        }
    }
}
