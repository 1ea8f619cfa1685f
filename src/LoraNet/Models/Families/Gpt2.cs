namespace LoraNet.Models.Families;

/// <summary>
/// GPT-2: learned positions, LayerNorm, a plain MLP, and Conv1D projections that store [in, out].
/// Source: transformers modeling_gpt2.py.
/// </summary>
internal static class Gpt2
{
    public static DecoderOptions Options(ModelConfig config)
    {
        if (config.Flag("scale_attn_by_inverse_layer_idx")) throw new LoraNetException($"{config.Source}: scale_attn_by_inverse_layer_idx is not supported.");
        return Llama.Options(config) with
        {
            LayerNorm = true,
            GatedMlp = false,
            TransposedWeights = true,
            TiedEmbeddings = true,
            AttentionScale = config.Flag("scale_attn_weights", otherwise: true) ? null : 1,
            Rope = static _ => null,
            Names = new DecoderNames
            {
                Embedding = "transformer.wte",
                PositionEmbedding = "transformer.wpe",
                Layer = "transformer.h.{0}",
                AttentionNorm = "ln_1",
                MlpNorm = "ln_2",
                FusedQueryKeyValue = "attn.c_attn",
                Output = "attn.c_proj",
                Up = "mlp.c_fc",
                Down = "mlp.c_proj",
                FinalNorm = "transformer.ln_f",
            },
            DefaultTargets = ["c_attn"],
        };
    }
}
