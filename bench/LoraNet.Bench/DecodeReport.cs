using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;

namespace LoraNet.Bench;

/// <summary>
/// `decode [tokens] [threads]`: one token at a time through a model of SmolLM-135M's shape with random bfloat16 weights: the products alone, in
/// the order of the model and each with its own memory, and whole tokens with a cache. Prints a line of name=value pairs.
/// </summary>
internal static unsafe class DecodeReport
{
    private const int Hidden = 576, Inner = 1536, Layers = 30, Heads = 9, KeyHeads = 3, Vocabulary = 49152;

    public static void Run(string[] args)
    {
        int tokens = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 60;
        using CpuBackend backend = new(new CpuBackendOptions { Threads = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 0 });
        using RandomWeights weights = new();
        ModelConfig config = ModelConfig.Parse(JsonNode.Parse("""
            {"model_type":"llama","hidden_act":"silu","hidden_size":576,"intermediate_size":1536,"num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
             "max_position_embeddings":2048,"rms_norm_eps":1e-5,"rope_theta":10000,"tie_word_embeddings":true,"vocab_size":49152,"torch_dtype":"bfloat16"}
            """)!.AsObject());
        using CausalLM model = new(backend, config, DecoderFamilies.Options(config), weights);
        model.Prepare();
        (double products, double bestProducts) = Products(backend, model, tokens);
        (double whole, double bestWhole) = Whole(model, tokens);
        long bytes = model.Modules.OfType<LinearModule>().Sum(static m => (long)m.In * m.Out * 2);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"RESULT products_ms={products:F2} best_products_ms={bestProducts:F2} token_ms={whole:F2} best_token_ms={bestWhole:F2} gigabytes_per_second={bytes / products / 1e6:F1} copy_limit={backend.MeasureLimits().GigabytesPerSecond:F1}"));
    }

    private static (double Median, double Best) Products(CpuBackend backend, CausalLM model, int tokens)
    {
        (Weight Weight, Tensor X, Tensor Y)[] all = [.. model.Modules.OfType<LinearModule>().Select(m => (m.Weight.Weight!, backend.Create(Ones(m.In), 1, m.In), backend.Create(DType.F32, 1, m.Out)))];
        return Time(tokens, () =>
        {
            foreach ((Weight weight, Tensor x, Tensor y) in all) backend.Linear(x, weight, null, null, y);
        });
    }

    private static (double Median, double Best) Whole(CausalLM model, int tokens)
    {
        using Arena arena = new(model.Backend);
        using KeyValueCache cache = model.CreateCache(1, tokens + 24);
        (int, int[])[] next = [(0, [5])];
        return Time(tokens, () => Arena.Release(model.Decode(arena, cache, next)));
    }

    private static (double Median, double Best) Time(int count, Action action)
    {
        for (int i = 0; i < 5; i++) action();
        List<double> milliseconds = [];
        for (int i = 0; i < count; i++)
        {
            long start = Stopwatch.GetTimestamp();
            action();
            milliseconds.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
        milliseconds.Sort();
        return (milliseconds[count / 2], milliseconds[0]);
    }

    private static float[] Ones(int count)
    {
        float[] values = new float[count];
        Array.Fill(values, 1f);
        return values;
    }

    private sealed class RandomWeights : IWeightSource
    {
        private readonly Dictionary<string, HostTensor> _tensors = [];

        public RandomWeights()
        {
            Add("model.embed_tokens.weight", Vocabulary, Hidden);
            Add("model.norm.weight", Hidden);
            for (int i = 0; i < Layers; i++)
            {
                string layer = $"model.layers.{i}";
                Add($"{layer}.self_attn.q_proj.weight", Hidden, Hidden);
                Add($"{layer}.self_attn.k_proj.weight", Hidden / Heads * KeyHeads, Hidden);
                Add($"{layer}.self_attn.v_proj.weight", Hidden / Heads * KeyHeads, Hidden);
                Add($"{layer}.self_attn.o_proj.weight", Hidden, Hidden);
                Add($"{layer}.mlp.gate_proj.weight", Inner, Hidden);
                Add($"{layer}.mlp.up_proj.weight", Inner, Hidden);
                Add($"{layer}.mlp.down_proj.weight", Hidden, Inner);
                Add($"{layer}.input_layernorm.weight", Hidden);
                Add($"{layer}.post_attention_layernorm.weight", Hidden);
            }
        }

        public IReadOnlyCollection<string> Names => _tensors.Keys;

        public string? Directory => null;

        public HostTensor Get(string name) => _tensors[name];

        public bool TryGet(string name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);

        public void Dispose() => _tensors.Clear();

        private void Add(string name, params int[] shape)
        {
            Random random = new(_tensors.Count);
            ushort[] values = GC.AllocateUninitializedArray<ushort>(shape.Aggregate(1, static (a, b) => a * b), pinned: true);
            for (int i = 0; i < values.Length; i++) values[i] = BFloat16.FromSingle(shape.Length == 1 ? 1f : (random.NextSingle() - 0.5f) * 0.05f);
            _tensors[name] = new HostTensor((nint)Unsafe.AsPointer(ref values[0]), DType.BF16, shape, values);
        }
    }
}
