using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;

namespace LoraNet.Cuda.Tests;

/// <summary>A small encoder with random weights.</summary>
internal static class TinyEncoder
{
    public const int Hidden = 32, Inner = 48, Heads = 2, Vocabulary = 30, Positions = 16;

    /// <summary>A classifier with a new head.</summary>
    /// <param name="backend">Where it is computed.</param>
    /// <param name="labels">Classes, or 1 for a regression.</param>
    /// <param name="layers">Layers.</param>
    /// <param name="type">bert or roberta.</param>
    public static SequenceClassifier Create(Backend backend, int labels, int layers = 1, string type = "bert")
    {
        ModelConfig config = ModelConfig.Parse(Config(labels, layers, type));
        return new SequenceClassifier(backend, config, EncoderFamilies.Options(config), new RandomWeights(layers, type == "bert"), 5);
    }

    private static JsonObject Config(int labels, int layers, string type)
    {
        JsonObject names = [];
        for (int i = 0; i < labels; i++) names[$"{i}"] = $"label {i}";
        return new JsonObject
        {
            ["model_type"] = type,
            ["hidden_size"] = Hidden,
            ["intermediate_size"] = Inner,
            ["num_hidden_layers"] = layers,
            ["num_attention_heads"] = Heads,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = Positions,
            ["type_vocab_size"] = type == "bert" ? 2 : 1,
            ["hidden_act"] = "gelu",
            ["layer_norm_eps"] = 1e-12,
            ["id2label"] = names,
            ["problem_type"] = labels == 1 ? "regression" : "single_label_classification",
        };
    }

    /// <summary>A bare encoder.</summary>
    private sealed class RandomWeights : IWeightSource
    {
        private readonly Dictionary<string, HostTensor> _tensors = [];
        private readonly Random _random = new(11);

        public RandomWeights(int layers, bool bert)
        {
            Add("embeddings.word_embeddings.weight", Vocabulary, Hidden);
            Add("embeddings.position_embeddings.weight", Positions, Hidden);
            Add("embeddings.token_type_embeddings.weight", bert ? 2 : 1, Hidden);
            Norm("embeddings.LayerNorm");
            for (int i = 0; i < layers; i++)
            {
                string prefix = $"encoder.layer.{i}.";
                foreach (string name in new[] { "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense" }) Linear(prefix + name, Hidden, Hidden);
                Norm(prefix + "attention.output.LayerNorm");
                Linear(prefix + "intermediate.dense", Inner, Hidden);
                Linear(prefix + "output.dense", Hidden, Inner);
                Norm(prefix + "output.LayerNorm");
            }
            if (bert) Linear("pooler.dense", Hidden, Hidden);
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
