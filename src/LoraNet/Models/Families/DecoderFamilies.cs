using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Models.Families;

/// <summary>The supported decoder families by Hugging Face model_type. A family says how config.json maps to <see cref="DecoderOptions"/>.</summary>
public static class DecoderFamilies
{
    private static readonly Dictionary<string, Func<ModelConfig, DecoderOptions>> _families = new()
    {
        ["llama"] = Llama.Options,
        ["mistral"] = Llama.Options,
        ["qwen2"] = Llama.Options,
        ["qwen3"] = Qwen3.Options,
        ["smollm3"] = Llama.Options,
        ["olmo2"] = Olmo2.Options,
        ["gemma"] = Gemma.Options,
        ["gemma2"] = Gemma.Options2,
        ["gemma3_text"] = Gemma.Options3,
        ["phi3"] = Phi3.Options,
        ["gpt2"] = Gpt2.Options,
        ["mixtral"] = Mixtral.Options,
    };

    /// <summary>Supported model types.</summary>
    public static IReadOnlyCollection<string> Names => _families.Keys;

    /// <summary>The options of a model.</summary>
    /// <exception cref="LoraNetException">The model type is not supported.</exception>
    public static DecoderOptions Options(ModelConfig config)
    {
        if (config.QuantizationMethod is { } method)
            throw new LoraNetException($"{config.Source}: the weights are quantised ({method}); this is not supported.", "Use the model's unquantised weights.");
        if (_families.TryGetValue(config.ModelType, out Func<ModelConfig, DecoderOptions>? family)) return family(config);
        IReadOnlyList<string> near = NearestNames.Find(config.ModelType, _families.Keys, 3);
        throw new LoraNetException($"{config.Source}: model_type '{config.ModelType}' is not supported.",
            $"Supported: {string.Join(", ", _families.Keys)}.{(near.Count > 0 ? $" Nearest: {near[0]}." : "")}");
    }

    /// <summary>Reads Hugging Face's hidden_act.</summary>
    internal static Activation ActivationOf(ModelConfig config) => config.HiddenAct switch
    {
        "silu" or "swish" => Activation.Silu,
        "gelu" => Activation.Gelu,
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => Activation.GeluTanh,
        "relu" => Activation.Relu,
        _ => throw new LoraNetException($"{config.Source}: activation '{config.HiddenAct}' is not supported.", "Supported: silu, gelu, gelu_new, gelu_pytorch_tanh, relu."),
    };
}
