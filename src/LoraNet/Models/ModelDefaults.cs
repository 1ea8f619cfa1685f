namespace LoraNet.Models;

/// <summary>
/// What transformers' configuration classes assume when config.json does not say: files leave out values that equal a default,
/// and defaults differ by model type.
/// </summary>
internal static class ModelDefaults
{
    /// <summary>Whether the output head shares the embedding.</summary>
    public static bool TieWordEmbeddings(string modelType) => modelType is not
        ("llama" or "mistral" or "mixtral" or "ministral" or "qwen2" or "qwen2_moe" or "qwen3" or "qwen3_moe" or "phi" or "phi3" or "phimoe"
        or "olmo" or "olmo2" or "olmo3" or "olmoe" or "granite" or "gpt_neox" or "gptj" or "stablelm" or "persimmon" or "deepseek_v2" or "deepseek_v3");

    /// <summary>Whether positions are rotations rather than a learned table.</summary>
    public static bool UsesRope(string modelType) => modelType is not ("gpt2" or "gpt_bigcode" or "bert" or "roberta" or "xlm-roberta" or "distilbert" or "opt");

    /// <summary>The rotary base.</summary>
    public static double RopeTheta(string modelType) => modelType switch
    {
        "mixtral" or "gemma3" or "gemma3_text" => 1_000_000,
        "smollm3" => 2_000_000,
        _ => 10_000,
    };

    /// <summary>The ε of the normalisation layers.</summary>
    public static double NormEps(string modelType) => modelType switch
    {
        "bert" or "roberta" or "xlm-roberta" or "distilbert" => 1e-12,
        "gpt2" or "mixtral" or "phi3" or "phi" or "olmo2" or "gpt_neox" or "starcoder2" or "stablelm" => 1e-5,
        _ => 1e-6,
    };

    /// <summary>
    /// The kind of attention of a layer when the file has no <c>layer_types</c>: true for a sliding window.
    /// </summary>
    public static bool IsSliding(string modelType, int layer, bool usesRope, bool useSlidingWindow, int maxWindowLayers, int pattern) => modelType switch
    {
        "mistral" or "mixtral" or "ministral" or "phi3" or "phimoe" or "starcoder2" => true,
        "qwen2" or "qwen2_moe" or "qwen3" or "qwen3_moe" => useSlidingWindow && layer >= maxWindowLayers,
        "smollm3" => useSlidingWindow && !usesRope,
        "gemma2" => layer % 2 == 0,
        "gemma3" or "gemma3_text" => (layer + 1) % pattern != 0,
        _ => false,
    };
}
