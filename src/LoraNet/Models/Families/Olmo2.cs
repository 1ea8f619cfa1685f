namespace LoraNet.Models.Families;

/// <summary>OLMo2: norms after attention and MLP instead of before, and on the whole q and k. Source: transformers modeling_olmo2.py.</summary>
internal static class Olmo2
{
    public static DecoderOptions Options(ModelConfig config) => Llama.Options(config) with
    {
        QueryKeyNorm = QueryKeyNorm.FullWidth,
        Names = new DecoderNames
        {
            AttentionNorm = null,
            AttentionPostNorm = "post_attention_layernorm",
            MlpNorm = null,
            MlpPostNorm = "post_feedforward_layernorm",
        },
    };
}
