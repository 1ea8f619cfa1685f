namespace LoraNet.Models.Families;

/// <summary>
/// Gemma: norms scale by 1 + w, embeddings by √hidden. Gemma 2 adds soft-caps, norms after attention and MLP, and windows on
/// every other layer; Gemma 3 (text) drops the caps, normalises q and k per head and rotates windowed layers with their own base.
/// Source: transformers modeling_gemma.py, modeling_gemma2.py, modeling_gemma3.py.
/// </summary>
internal static class Gemma
{
    public static DecoderOptions Options(ModelConfig config) => Llama.Options(config) with
    {
        NormOffset = 1,
        // transformers rounds √hidden to the weights' type; in float32 that is the float nearest to it.
        EmbeddingScale = (float)Math.Sqrt(config.HiddenSize),
    };

    public static DecoderOptions Options2(ModelConfig config) => Options(config) with
    {
        AttentionScale = (float)Math.Pow(config.QueryPreAttnScalar ?? config.HeadDim, -0.5),
        AttentionSoftCap = (float)(config.AttnLogitSoftcapping ?? 0),
        FinalSoftCap = (float)(config.FinalLogitSoftcapping ?? 0),
        Names = new DecoderNames
        {
            AttentionPostNorm = "post_attention_layernorm",
            MlpNorm = "pre_feedforward_layernorm",
            MlpPostNorm = "post_feedforward_layernorm",
        },
    };

    public static DecoderOptions Options3(ModelConfig config) => Options2(config) with { QueryKeyNorm = QueryKeyNorm.PerHead };
}
