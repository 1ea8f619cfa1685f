using LoraNet.Tensors;

namespace LoraNet.Models.Encoders;

/// <summary>What turns the first token's hidden state h into logits.</summary>
public enum ClassificationHead
{
    /// <summary>BERT: a pooler of the base model, then one trained layer: <c>classifier(tanh(pooler.dense(h)))</c>.</summary>
    Pooler,
    /// <summary>RoBERTa: two trained layers: <c>classifier.out_proj(tanh(classifier.dense(h)))</c>.</summary>
    DenseAndProjection,
}

/// <summary>Everything in which encoder families differ. The forward pass is written once in <see cref="EncoderLayer"/>.</summary>
public sealed record EncoderOptions
{
    /// <summary>Hugging Face model_type.</summary>
    public required string ModelType { get; init; }
    /// <summary>Name of the base model inside the classifier: <c>bert</c> or <c>roberta</c>. Files of the bare base model lack it.</summary>
    public required string Prefix { get; init; }
    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }
    /// <summary>Width of the MLP.</summary>
    public required int IntermediateSize { get; init; }
    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }
    /// <summary>Attention heads.</summary>
    public required int Heads { get; init; }
    /// <summary>Rows of the word embedding.</summary>
    public required int VocabularySize { get; init; }
    /// <summary>Rows of the position embedding.</summary>
    public required int Positions { get; init; }
    /// <summary>Rows of the token-type embedding.</summary>
    public required int TokenTypes { get; init; }
    /// <summary>Epsilon of all layer norms.</summary>
    public required float NormEps { get; init; }
    /// <summary>Non-linearity of the MLP.</summary>
    public Activation Activation { get; init; } = Activation.Gelu;
    /// <summary>
    /// RoBERTa's rule: the padding id p from which positions count. A token whose id is not p has position p + the number of such tokens
    /// up to and including it; one whose id is p has position p. Null for BERT, whose positions count columns from 0.
    /// </summary>
    public int? PositionsAfter { get; init; }
    /// <summary>Shape of the head.</summary>
    public required ClassificationHead Head { get; init; }
    /// <summary>Classes, or 1 for a regression.</summary>
    public required int Labels { get; init; }
    /// <summary>True when the head predicts a number and the loss is the squared error.</summary>
    public bool Regression => Labels == 1;
}
