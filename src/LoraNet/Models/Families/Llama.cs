namespace LoraNet.Models.Families;

/// <summary>
/// Llama and the families that differ from it only in config.json: Mistral (sliding window), Qwen2 (biases on q, k, v;
/// windows on upper layers), SmolLM3 (layers without rotation). Biases are taken when the weights have them.
/// Source: transformers modeling_llama.py, modeling_mistral.py, modeling_qwen2.py, modeling_smollm3.py.
/// </summary>
internal static class Llama
{
    public static DecoderOptions Options(ModelConfig config) => new()
    {
        ModelType = config.ModelType,
        HiddenSize = config.HiddenSize,
        IntermediateSize = config.IntermediateSize,
        Layers = config.NumHiddenLayers,
        Heads = config.NumAttentionHeads,
        KeyValueHeads = config.NumKeyValueHeads,
        HeadSize = config.HeadDim,
        VocabularySize = config.VocabSize,
        NormEps = (float)config.NormEps,
        Activation = DecoderFamilies.ActivationOf(config),
        TiedEmbeddings = config.TieWordEmbeddings,
        Rope = layer => config.RopeLayers[layer] ? config.Rope(layer) : null,
        Window = layer => config.SlidingWindow(layer) ?? 0,
    };
}
