using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>How queries and keys are normalised before rotation.</summary>
public enum QueryKeyNorm
{
    /// <summary>Not at all.</summary>
    None,
    /// <summary>Each head by itself (Qwen3, Gemma 3).</summary>
    PerHead,
    /// <summary>The whole projection (OLMo2).</summary>
    FullWidth,
}

/// <summary>Module names of a family, relative to the model; <c>{0}</c> is the layer number.</summary>
public sealed record DecoderNames
{
    /// <summary>Token embedding.</summary>
    public string Embedding { get; init; } = "model.embed_tokens";
    /// <summary>Learned position embedding, or null.</summary>
    public string? PositionEmbedding { get; init; }
    /// <summary>Prefix of a layer.</summary>
    public string Layer { get; init; } = "model.layers.{0}";
    /// <summary>Norm before attention, or null.</summary>
    public string? AttentionNorm { get; init; } = "input_layernorm";
    /// <summary>Norm after attention, before the residual is added, or null.</summary>
    public string? AttentionPostNorm { get; init; }
    /// <summary>Norm before the MLP, or null.</summary>
    public string? MlpNorm { get; init; } = "post_attention_layernorm";
    /// <summary>Norm after the MLP, before the residual is added, or null.</summary>
    public string? MlpPostNorm { get; init; }
    /// <summary>Query projection.</summary>
    public string Query { get; init; } = "self_attn.q_proj";
    /// <summary>Key projection.</summary>
    public string Key { get; init; } = "self_attn.k_proj";
    /// <summary>Value projection.</summary>
    public string Value { get; init; } = "self_attn.v_proj";
    /// <summary>Fused query, key and value projection, or null.</summary>
    public string? FusedQueryKeyValue { get; init; }
    /// <summary>Output projection of attention.</summary>
    public string Output { get; init; } = "self_attn.o_proj";
    /// <summary>Norm of queries.</summary>
    public string QueryNorm { get; init; } = "self_attn.q_norm";
    /// <summary>Norm of keys.</summary>
    public string KeyNorm { get; init; } = "self_attn.k_norm";
    /// <summary>Gate projection of a gated MLP.</summary>
    public string Gate { get; init; } = "mlp.gate_proj";
    /// <summary>Up projection (the first projection of a plain MLP).</summary>
    public string Up { get; init; } = "mlp.up_proj";
    /// <summary>Fused gate and up projection, or null.</summary>
    public string? FusedGateUp { get; init; }
    /// <summary>Down projection.</summary>
    public string Down { get; init; } = "mlp.down_proj";
    /// <summary>Router of a mixture of experts, or null for a plain MLP.</summary>
    public string? Router { get; init; }
    /// <summary>Prefix of an expert, relative to the layer; <c>{0}</c> is its number. Gate, Up and Down are relative to it.</summary>
    public string Expert { get; init; } = "";
    /// <summary>The name under which transformers holds all experts of a layer stacked, relative to the layer, or null.</summary>
    public string? StackedExperts { get; init; }
    /// <summary>Final norm.</summary>
    public string FinalNorm { get; init; } = "model.norm";
    /// <summary>Output head.</summary>
    public string Head { get; init; } = "lm_head";
}

/// <summary>
/// Everything in which decoder families differ. A family is a small file that fills this in from config.json; the forward
/// pass is written once in <see cref="DecoderLayer"/>.
/// </summary>
public sealed record DecoderOptions
{
    /// <summary>Hugging Face model_type.</summary>
    public required string ModelType { get; init; }
    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }
    /// <summary>Width of the MLP.</summary>
    public required int IntermediateSize { get; init; }
    /// <summary>Number of layers.</summary>
    public required int Layers { get; init; }
    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }
    /// <summary>Key-value heads.</summary>
    public required int KeyValueHeads { get; init; }
    /// <summary>Width of a head.</summary>
    public required int HeadSize { get; init; }
    /// <summary>Vocabulary.</summary>
    public required int VocabularySize { get; init; }
    /// <summary>Epsilon of all norms.</summary>
    public required float NormEps { get; init; }
    /// <summary>1 for Gemma's 1 + w, else 0.</summary>
    public float NormOffset { get; init; }
    /// <summary>True for LayerNorm instead of RMSNorm.</summary>
    public bool LayerNorm { get; init; }
    /// <summary>Non-linearity of the MLP.</summary>
    public Activation Activation { get; init; } = Activation.Silu;
    /// <summary>True for act(gate) ⊙ up.</summary>
    public bool GatedMlp { get; init; } = true;
    /// <summary>Experts of a mixture, 0 for a plain MLP.</summary>
    public int Experts { get; init; }
    /// <summary>Experts that each token uses.</summary>
    public int ExpertsPerToken { get; init; }
    /// <summary>Norm of queries and keys.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }
    /// <summary>True when matrices are stored [in, out] (GPT-2's Conv1D).</summary>
    public bool TransposedWeights { get; init; }
    /// <summary>Factor on q·k; null for 1/√head size.</summary>
    public float? AttentionScale { get; init; }
    /// <summary>Cap on attention scores, 0 for none.</summary>
    public float AttentionSoftCap { get; init; }
    /// <summary>Cap on final logits, 0 for none.</summary>
    public float FinalSoftCap { get; init; }
    /// <summary>Factor on embeddings.</summary>
    public float EmbeddingScale { get; init; } = 1;
    /// <summary>True when the head is the embedding.</summary>
    public bool TiedEmbeddings { get; init; }
    /// <summary>Rotation of each layer, null for a layer without (SmolLM3, GPT-2).</summary>
    public required Func<int, RopeScaling?> Rope { get; init; }
    /// <summary>Sliding window of each layer, 0 for none.</summary>
    public Func<int, int> Window { get; init; } = static _ => 0;
    /// <summary>Module names.</summary>
    public DecoderNames Names { get; init; } = new();
    /// <summary>Default LoRA targets (PEFT's table by model_type).</summary>
    public IReadOnlyList<string> DefaultTargets { get; init; } = ["q_proj", "v_proj"];
}
