namespace LoraNet.Models.Families;

/// <summary>Qwen3: Llama with RMSNorm on each head of q and k. Source: transformers modeling_qwen3.py.</summary>
internal static class Qwen3
{
    public static DecoderOptions Options(ModelConfig config) => Llama.Options(config) with { QueryKeyNorm = QueryKeyNorm.PerHead };
}
