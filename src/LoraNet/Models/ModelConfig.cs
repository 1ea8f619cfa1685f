using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>
/// A model's config.json, as transformers 4 and 5 write it: the sizes and switches that the model families share.
/// Keys it does not know are ignored; keys it knows are checked when the file is read.
/// Names are those of the Llama configuration; GPT-2's (<c>n_embd</c>, <c>n_layer</c>, …) are read as synonyms.
/// </summary>
public sealed partial class ModelConfig
{
    private readonly JsonReader _reader;
    private readonly IReadOnlyDictionary<string, RopeScaling> _ropes;

    private ModelConfig(string source, JsonObject root)
    {
        Source = source;
        Json = root;
        JsonReader outer = new(source, root);
        OuterModelType = outer.String("model_type") ?? throw outer.Missing("model_type");
        // Models with vision towers keep the language model's settings in an object of their own.
        _reader = outer.Object("text_config") ?? outer;
        JsonReader r = _reader;
        ModelType = r.String("model_type") ?? OuterModelType;
        Architectures = outer.Strings("architectures") ?? [];

        HiddenSize = r.RequiredInt(1, 1 << 20, "hidden_size", "n_embd");
        NumHiddenLayers = r.RequiredInt(1, 4096, "num_hidden_layers", "n_layer");
        NumAttentionHeads = r.RequiredInt(1, 1 << 16, "num_attention_heads", "n_head");
        VocabSize = r.RequiredInt(1, 1 << 26, "vocab_size");
        MaxPositionEmbeddings = r.RequiredInt(2, int.MaxValue, "max_position_embeddings", "n_positions");
        IntermediateSize = r.Int(1, 1 << 24, "intermediate_size", "n_inner") ?? (ModelType == "gpt2" ? 4 * HiddenSize : throw r.Missing("intermediate_size"));
        NumKeyValueHeads = r.Int(1, 1 << 16, "num_key_value_heads") ?? NumAttentionHeads;
        if (NumAttentionHeads % NumKeyValueHeads != 0)
            throw r.Error("num_key_value_heads", $"is {NumKeyValueHeads}, but must divide num_attention_heads ({NumAttentionHeads})");
        int? headDim = r.Int(1, 1 << 16, "head_dim");
        if (headDim is null && HiddenSize % NumAttentionHeads != 0)
            throw r.Error("num_attention_heads", $"is {NumAttentionHeads}, but must divide hidden_size ({HiddenSize}), since there is no head_dim");
        HeadDim = headDim ?? HiddenSize / NumAttentionHeads;

        NormEps = r.Number(0, 1, "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon") ?? ModelDefaults.NormEps(ModelType);
        HiddenAct = ReadActivation(r);
        TieWordEmbeddings = r.Bool("tie_word_embeddings") ?? outer.Bool("tie_word_embeddings") ?? ModelDefaults.TieWordEmbeddings(ModelType);
        AttentionBias = r.Bool("attention_bias") ?? false;
        MlpBias = r.Bool("mlp_bias") ?? false;
        TypeVocabSize = r.Int(0, 1 << 20, "type_vocab_size") ?? 0;
        FinalLogitSoftcapping = r.Number(0, 1e9, "final_logit_softcapping") is > 0 and double final ? final : null;
        AttnLogitSoftcapping = r.Number(0, 1e9, "attn_logit_softcapping") is > 0 and double attn ? attn : null;
        QueryPreAttnScalar = r.Number(1e-6, 1e9, "query_pre_attn_scalar");
        NumLocalExperts = r.Int(1, 1 << 16, "num_local_experts", "num_experts");
        NumExpertsPerToken = r.Int(1, 1 << 16, "num_experts_per_tok");
        if (NumExpertsPerToken > NumLocalExperts) throw r.Error("num_experts_per_tok", $"is {NumExpertsPerToken}, more than the {NumLocalExperts} experts there are");

        DType = ReadDType(r) ?? ReadDType(outer);
        BosTokenId = Ids(r, outer, "bos_token_id") is [int bos, ..] ? bos : null;
        EosTokenIds = Ids(r, outer, "eos_token_id");
        PadTokenId = Ids(r, outer, "pad_token_id") is [int pad, ..] ? pad : null;
        Id2Label = ReadLabels(outer);
        NumLabels = Id2Label.Count > 0 ? Id2Label.Count : outer.Int(1, 1 << 20, "num_labels") ?? 2;
        ProblemType = outer.String("problem_type");
        QuantizationMethod = outer.Object("quantization_config")?.String("quant_method");

        RopeLayers = ReadRopeLayers(r);
        (LayerTypes, Window) = ReadLayerTypes(r);
        _ropes = ReadRopes(r);
    }

    /// <summary>Where it was read from, for messages.</summary>
    public string Source { get; }

    /// <summary>The whole file as it was read. Treat it as read-only; <see cref="ToJson"/> makes a changed copy.</summary>
    public JsonObject Json { get; }

    /// <summary><c>model_type</c> of the language model, such as <c>llama</c>.</summary>
    public string ModelType { get; }

    /// <summary><c>model_type</c> of the whole file; differs from <see cref="ModelType"/> where the language model is part of a larger one.</summary>
    public string OuterModelType { get; }

    /// <summary><c>architectures</c>: names of the transformers classes that were saved.</summary>
    public IReadOnlyList<string> Architectures { get; }

    /// <summary>Width of the residual stream.</summary>
    public int HiddenSize { get; }

    /// <summary>Width inside the feed-forward blocks.</summary>
    public int IntermediateSize { get; }

    /// <summary>Number of layers.</summary>
    public int NumHiddenLayers { get; }

    /// <summary>Query heads.</summary>
    public int NumAttentionHeads { get; }

    /// <summary>Key and value heads (grouped-query attention); divides <see cref="NumAttentionHeads"/>.</summary>
    public int NumKeyValueHeads { get; }

    /// <summary>Size of a head.</summary>
    public int HeadDim { get; }

    /// <summary>Rows of the embedding.</summary>
    public int VocabSize { get; }

    /// <summary>Longest sequence of positions the model was made for.</summary>
    public int MaxPositionEmbeddings { get; }

    /// <summary>ε of RMSNorm or LayerNorm.</summary>
    public double NormEps { get; }

    /// <summary>Activation of the feed-forward blocks by its transformers name: silu, gelu, gelu_new, gelu_pytorch_tanh, relu ….</summary>
    public string HiddenAct { get; }

    /// <summary>Whether the output head shares the embedding's weight.</summary>
    public bool TieWordEmbeddings { get; }

    /// <summary>Whether the attention projections have biases (false if the file does not say: Qwen 2 has some regardless).</summary>
    public bool AttentionBias { get; }

    /// <summary>Whether the feed-forward projections have biases.</summary>
    public bool MlpBias { get; }

    /// <summary>Rows of the token-type embedding of encoders; 0 if none.</summary>
    public int TypeVocabSize { get; }

    /// <summary>c of c·tanh(x/c) on the final logits (Gemma 2), or null.</summary>
    public double? FinalLogitSoftcapping { get; }

    /// <summary>c of c·tanh(x/c) on the attention scores (Gemma 2), or null.</summary>
    public double? AttnLogitSoftcapping { get; }

    /// <summary>Attention scores are scaled by this to the power −½ instead of the head size (Gemma 2 and 3), or null.</summary>
    public double? QueryPreAttnScalar { get; }

    /// <summary>Number of experts of each mixture, or null.</summary>
    public int? NumLocalExperts { get; }

    /// <summary>Experts that see each token, or null.</summary>
    public int? NumExpertsPerToken { get; }

    /// <summary>Type the weights are said to be stored in (<c>dtype</c> or <c>torch_dtype</c>), or null.</summary>
    public DType? DType { get; }

    /// <summary>Id of the token that starts a sequence, or null.</summary>
    public int? BosTokenId { get; }

    /// <summary>Ids of the tokens that end a sequence.</summary>
    public IReadOnlyList<int> EosTokenIds { get; }

    /// <summary>Id of the padding token, or null.</summary>
    public int? PadTokenId { get; }

    /// <summary>Number of classes of a classifier.</summary>
    public int NumLabels { get; }

    /// <summary>Names of the classes by number; empty if the file has none.</summary>
    public IReadOnlyDictionary<int, string> Id2Label { get; }

    /// <summary><c>regression</c>, <c>single_label_classification</c>, <c>multi_label_classification</c> or null.</summary>
    public string? ProblemType { get; }

    /// <summary>Method of a quantised checkpoint (<c>gptq</c>, <c>bitsandbytes</c>, …), or null for plain weights.</summary>
    public string? QuantizationMethod { get; }

    /// <summary>Kind of attention of each layer: <c>full_attention</c> or <c>sliding_attention</c>.</summary>
    public IReadOnlyList<string> LayerTypes { get; }

    /// <summary>Which layers rotate queries and keys (SmolLM 3 leaves some without positions).</summary>
    public IReadOnlyList<bool> RopeLayers { get; }

    /// <summary>Width of the sliding window, the token itself included, if any layer has one; else null.</summary>
    public int? Window { get; }

    /// <summary>The window of one layer, or null for full attention.</summary>
    public int? SlidingWindow(int layer) => LayerTypes[layer] == Sliding ? Window : null;

    /// <summary>The rotary settings of one layer.</summary>
    public RopeScaling Rope(int layer) => _ropes.TryGetValue(LayerTypes[layer], out RopeScaling? rope) ? rope : _ropes[Full];

    /// <summary>A switch that only some families have; <paramref name="otherwise"/> if absent.</summary>
    /// <exception cref="LoraNetException">The value is not true or false.</exception>
    public bool Flag(string key, bool otherwise = false) => _reader.Bool(key) ?? otherwise;

    /// <summary>A number that only some families have, or null.</summary>
    /// <exception cref="LoraNetException">The value is not a number.</exception>
    public double? Number(string key) => _reader.Number(double.MinValue, double.MaxValue, key);

    /// <summary>A text that only some families have, or null.</summary>
    /// <exception cref="LoraNetException">The value is not a text.</exception>
    public string? Text(string key) => _reader.String(key);

    /// <summary>Reads config.json.</summary>
    /// <param name="path">A model folder or the file itself.</param>
    /// <exception cref="LoraNetException">The file is missing, malformed, or a value is missing, of the wrong type or impossible.</exception>
    public static ModelConfig Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, "config.json") : path;
        if (!File.Exists(file)) throw new LoraNetException($"{file} does not exist.", "Give the folder of a Hugging Face model; it holds config.json beside the weights.");
        return new ModelConfig(file, JsonFile.ParseObject(file));
    }

    /// <summary>Reads a configuration from memory.</summary>
    /// <param name="json">The object; kept, not copied.</param>
    /// <param name="source">A name for messages.</param>
    /// <exception cref="LoraNetException">A value is missing, of the wrong type or impossible.</exception>
    public static ModelConfig Parse(JsonObject json, string source = "config.json") => new(source, json);

    /// <summary>A copy of the file for a model derived from this one. Everything not named is kept.</summary>
    /// <param name="dtype">The type its weights are stored in.</param>
    /// <param name="tieWordEmbeddings">Whether its output head shares the embedding.</param>
    /// <param name="vocabSize">Rows of its embedding.</param>
    public JsonObject ToJson(DType? dtype = null, bool? tieWordEmbeddings = null, int? vocabSize = null)
    {
        JsonObject root = (JsonObject)Json.DeepClone();
        JsonObject text = root["text_config"] as JsonObject ?? root;
        if (dtype is DType type)
        {
            foreach (JsonObject o in new[] { root, text })
                foreach (string key in new[] { "dtype", "torch_dtype" })
                    if (o.ContainsKey(key)) o[key] = TorchName(type);
            // The older key: every version of transformers reads it.
            if (!root.ContainsKey("dtype") && !root.ContainsKey("torch_dtype")) root["torch_dtype"] = TorchName(type);
        }
        if (tieWordEmbeddings is bool tie)
        {
            text["tie_word_embeddings"] = tie;
            root["tie_word_embeddings"] = tie;
        }
        if (vocabSize is int vocab) text["vocab_size"] = vocab;
        return root;
    }
}
