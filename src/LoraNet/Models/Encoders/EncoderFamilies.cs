using LoraNet.Formats;
using LoraNet.Models.Families;

namespace LoraNet.Models.Encoders;

/// <summary>
/// The supported encoder families by Hugging Face model_type: BERT (Devlin et al., 2019) and RoBERTa (Liu et al., 2019).
/// Source: transformers modeling_bert.py, modeling_roberta.py.
/// </summary>
public static class EncoderFamilies
{
    /// <summary>Supported model types.</summary>
    public static IReadOnlyCollection<string> Names { get; } = ["bert", "roberta", "xlm-roberta"];

    /// <summary>The options of a classifier.</summary>
    /// <exception cref="LoraNetException">The model type, or a switch that changes its forward pass, is not supported.</exception>
    public static EncoderOptions Options(ModelConfig config)
    {
        if (!Names.Contains(config.ModelType))
            throw new LoraNetException($"{config.Source}: model_type '{config.ModelType}' is not a supported encoder.", $"Supported: {string.Join(", ", Names)}.");
        if (config.QuantizationMethod is { } method)
            throw new LoraNetException($"{config.Source}: the weights are quantised ({method}); this is not supported.", "Use the model's unquantised weights.");
        if (config.Text("position_embedding_type") is { } kind and not "absolute")
            throw new LoraNetException($"{config.Source}: position_embedding_type '{kind}' is not supported.", "Supported: absolute.");
        if (config.Flag("is_decoder")) throw new LoraNetException($"{config.Source}: is_decoder is not supported for {config.ModelType}.");
        if (config.ProblemType == "multi_label_classification")
            throw new LoraNetException($"{config.Source}: problem_type '{config.ProblemType}' is not supported.", "Supported: regression, single_label_classification.");
        int labels = config.NumLabels;
        if (config.ProblemType == "regression" && labels != 1)
            throw new LoraNetException($"{config.Source}: problem_type is regression, but there are {labels} labels; only one is supported.");
        bool bert = config.ModelType == "bert";
        return new EncoderOptions
        {
            ModelType = config.ModelType,
            Prefix = bert ? "bert" : "roberta",
            HiddenSize = config.HiddenSize,
            IntermediateSize = config.IntermediateSize,
            Layers = config.NumHiddenLayers,
            Heads = config.NumAttentionHeads,
            VocabularySize = config.VocabSize,
            Positions = config.MaxPositionEmbeddings,
            TokenTypes = config.TypeVocabSize > 0 ? config.TypeVocabSize : 2,
            NormEps = (float)config.NormEps,
            Activation = DecoderFamilies.ActivationOf(config),
            PositionsAfter = bert ? null : config.PadTokenId ?? 1,
            Head = bert ? ClassificationHead.Pooler : ClassificationHead.DenseAndProjection,
            Labels = labels,
        };
    }
}
