using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Models;

public sealed partial class ModelConfig
{
    private const string Full = "full_attention";
    private const string Sliding = "sliding_attention";

    private static readonly (string Name, DType Type)[] _dtypes =
        [("float32", Tensors.DType.F32), ("bfloat16", Tensors.DType.BF16), ("float16", Tensors.DType.F16), ("float64", Tensors.DType.F64)];

    private static string TorchName(DType dtype) => _dtypes.First(d => d.Type == dtype).Name;

    // Unknown names ("auto", 8-bit floats) say nothing useful: the weight file has the last word anyway.
    private static DType? ReadDType(JsonReader r)
    {
        string? name = r.String("dtype", "torch_dtype")?.Replace("torch.", "", StringComparison.Ordinal);
        foreach ((string n, DType type) in _dtypes)
            if (n == name) return type;
        return null;
    }

    private string ReadActivation(JsonReader r)
    {
        string? act = r.String("hidden_activation", "hidden_act", "activation_function", "hidden_activation_function");
        // Gemma's first files say "gelu" where the model was trained with the tanh form; transformers corrects them likewise.
        if (ModelType == "gemma" && !r.Has("hidden_activation") && act is null or "gelu") return "gelu_pytorch_tanh";
        return act ?? ModelType switch
        {
            "gpt2" => "gelu_new",
            "bert" or "roberta" or "xlm-roberta" or "distilbert" => "gelu",
            "gemma2" or "gemma3" or "gemma3_text" => "gelu_pytorch_tanh",
            _ => "silu",
        };
    }

    // One id, a list of them, or nothing. Some files write −1 for "none".
    private int[] Ids(JsonReader text, JsonReader outer, string key)
    {
        JsonReader r = text.Has(key) ? text : outer;
        if (r.Find(key) is not var (_, node)) return [];
        JsonNode?[] nodes = node is JsonArray list ? [.. list] : [node];
        return [.. nodes.Select(n => r.ToInt(key, n, -1, int.MaxValue)).Where(static id => id >= 0)];
    }

    private static IReadOnlyDictionary<int, string> ReadLabels(JsonReader r)
    {
        SortedDictionary<int, string> labels = [];
        if (r.Object("id2label") is not { } map) return labels;
        foreach ((string key, JsonNode? node) in map.Json)
        {
            if (!int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out int id)) throw r.Error("id2label", $"has the key \"{key}\", which is not a number");
            if (!labels.TryAdd(id, map.ToText(key, node))) throw r.Error("id2label", $"names class {id} twice");
        }
        for (int i = 0; i < labels.Count; i++)
            if (!labels.ContainsKey(i)) throw r.Error("id2label", $"names {labels.Count} classes, but not class {i}");
        return labels;
    }

    private bool[] ReadRopeLayers(JsonReader r)
    {
        if (!ModelDefaults.UsesRope(ModelType)) return new bool[NumHiddenLayers];
        if (r.Ints("no_rope_layers", 0, 1) is { } given)
        {
            if (given.Length != NumHiddenLayers) throw r.Error("no_rope_layers", $"has {given.Length} entries for {NumHiddenLayers} layers");
            // Despite the key's name, 1 marks the layers that do have rotary embeddings.
            return [.. given.Select(static g => g == 1)];
        }
        int? interval = r.Int(1, int.MaxValue, "no_rope_layer_interval") ?? (ModelType == "smollm3" ? 4 : null);
        return [.. Enumerable.Range(0, NumHiddenLayers).Select(i => interval is not int n || (i + 1) % n != 0)];
    }

    private (string[], int?) ReadLayerTypes(JsonReader r)
    {
        bool useWindow = r.Bool("use_sliding_window") ?? ModelType is not ("qwen2" or "qwen2_moe" or "qwen3" or "qwen3_moe" or "smollm3");
        int? window = useWindow ? r.Int(1, int.MaxValue, "sliding_window") : null;
        string[]? types = r.Strings("layer_types");
        if (types is not null)
        {
            if (types.Length != NumHiddenLayers) throw r.Error("layer_types", $"has {types.Length} entries for {NumHiddenLayers} layers");
            if (types.FirstOrDefault(static t => t is not (Full or Sliding)) is string other) throw r.Error("layer_types", $"holds \"{other}\", which is not supported (supported: {Full}, {Sliding})");
            if (window is null && types.Contains(Sliding)) throw r.Error("layer_types", $"holds {Sliding}, but there is no sliding_window");
        }
        else
        {
            int maxWindowLayers = r.Int(0, int.MaxValue, "max_window_layers") ?? 28;
            int pattern = r.Int(1, int.MaxValue, "sliding_window_pattern", "_sliding_window_pattern") ?? 6;
            if (window is null && ModelType is "gemma2" or "gemma3" or "gemma3_text") throw r.Missing("sliding_window");
            types = [.. Enumerable.Range(0, NumHiddenLayers).Select(i =>
                window is not null && ModelDefaults.IsSliding(ModelType, i, RopeLayers[i], useWindow, maxWindowLayers, pattern) ? Sliding : Full)];
        }
        return (types, types.Contains(Sliding) ? window : null);
    }

    private Dictionary<string, RopeScaling> ReadRopes(JsonReader r)
    {
        if (!ModelDefaults.UsesRope(ModelType)) return new() { [Full] = new RopeScaling { OriginalMaxPositionEmbeddings = MaxPositionEmbeddings } };
        double theta = r.Number(1.001, 1e15, "rope_theta", "rotary_emb_base") ?? ModelDefaults.RopeTheta(ModelType);
        double? partial = r.Number(0, 1, "partial_rotary_factor", "rotary_pct");
        int? original = r.Int(2, int.MaxValue, "original_max_position_embeddings");
        JsonReader? newer = r.Object("rope_parameters");
        JsonReader? flat = newer ?? r.Object("rope_scaling");
        RopeScaling Read(JsonReader? json, double theta) => RopeScaling.Read(json, ModelType, theta, partial, original, MaxPositionEmbeddings, HeadDim);

        if (newer is not null && (newer.Has(Full) || newer.Has(Sliding)))
        {
            Dictionary<string, RopeScaling> byType = [];
            foreach (string type in new[] { Full, Sliding })
                if (newer.Object(type) is { } json) byType[type] = Read(json, theta);
            foreach (string type in LayerTypes)
                if (!byType.ContainsKey(type)) throw newer.Missing(type);
            return byType;
        }
        Dictionary<string, RopeScaling> ropes = new() { [Full] = Read(flat, theta) };
        // Gemma 3 before transformers 5: local layers keep the old base, and the scaling is for the global ones.
        if (ModelType is "gemma3" or "gemma3_text" && newer is null)
            ropes[Sliding] = Read(null, r.Number(1.001, 1e15, "rope_local_base_freq") ?? 10_000);
        return ropes;
    }
}
