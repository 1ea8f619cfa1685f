using System.Text.Json.Nodes;
using LoraNet.Cli.Planning;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;

namespace LoraNet.Paper.Experiments;

/// <summary>Models of known shapes with random weights: speed and memory do not depend on the values.</summary>
internal static class Shapes
{
    /// <summary>GPT-2 medium, the paper's model for NLG and for its table of latencies (355M parameters).</summary>
    public static JsonObject Gpt2Medium { get; } = new()
    {
        ["model_type"] = "gpt2",
        ["n_embd"] = 1024,
        ["n_layer"] = 24,
        ["n_head"] = 16,
        ["n_positions"] = 1024,
        ["vocab_size"] = 50257,
        ["activation_function"] = "gelu_new",
        ["layer_norm_epsilon"] = 1e-5,
        ["torch_dtype"] = "bfloat16",
    };

    /// <summary>A small GPT-2 for machines without a GPU (about 9M parameters).</summary>
    public static JsonObject Gpt2Small { get; } = new()
    {
        ["model_type"] = "gpt2",
        ["n_embd"] = 256,
        ["n_layer"] = 6,
        ["n_head"] = 8,
        ["n_positions"] = 512,
        ["vocab_size"] = 16384,
        ["activation_function"] = "gelu_new",
        ["layer_norm_epsilon"] = 1e-5,
        ["torch_dtype"] = "float32",
    };

    /// <summary>Llama-3.2-1B.</summary>
    public static JsonObject Llama1B { get; } = new()
    {
        ["model_type"] = "llama",
        ["hidden_size"] = 2048,
        ["intermediate_size"] = 8192,
        ["num_hidden_layers"] = 16,
        ["num_attention_heads"] = 32,
        ["num_key_value_heads"] = 8,
        ["head_dim"] = 64,
        ["vocab_size"] = 128256,
        ["max_position_embeddings"] = 4096,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 500000.0,
        ["tie_word_embeddings"] = true,
        ["hidden_act"] = "silu",
        ["torch_dtype"] = "bfloat16",
    };

    /// <summary>The model.</summary>
    public static CausalLM Create(Backend backend, JsonObject shape)
    {
        ModelConfig config = ModelConfig.Parse((JsonObject)shape.DeepClone());
        DecoderOptions options = DecoderFamilies.Options(config);
        return new CausalLM(backend, config, options, ShapeWeights.Random(config, options, ShapeWeights.StoredType(config)));
    }

    /// <summary>Rows of random tokens.</summary>
    public static List<TokenRow> Rows(int count, int length, int vocabulary, int seed)
    {
        Random random = new(seed);
        List<TokenRow> rows = [];
        for (int i = 0; i < count; i++)
        {
            int[] ids = new int[length];
            for (int k = 0; k < length; k++) ids[k] = random.Next(vocabulary);
            rows.Add(new TokenRow(ids, ids));
        }
        return rows;
    }
}
