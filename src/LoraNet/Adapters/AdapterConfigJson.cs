using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Lora;

namespace LoraNet.Adapters;

/// <summary>
/// Reads PEFT's adapter_config.json of any version. Keys that are not known are ignored while they are inactive
/// (null, false, empty, or PEFT's default); one that is active changes what the adapter means, and is an error.
/// </summary>
public static class AdapterConfigJson
{
    /// <summary>Name of the file in an adapter's folder.</summary>
    public const string FileName = "adapter_config.json";

    // Settings of methods that are over once an adapter is stored, and of other software: no value of them changes the result.
    private static readonly HashSet<string> _ignored = new(StringComparer.Ordinal)
    {
        "auto_mapping", "peft_version", "runtime_config", "megatron_config", "megatron_core", "qalora_group_size",
        "loftq_config", "eva_config", "corda_config", "lora_ga_config",
    };

    private static readonly HashSet<string> _known = new(StringComparer.Ordinal)
    {
        "peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "r", "lora_alpha", "lora_dropout", "target_modules",
        "exclude_modules", "target_parameters", "bias", "lora_bias", "use_rslora", "use_dora", "fan_in_fan_out", "modules_to_save", "rank_pattern",
        "alpha_pattern", "layers_to_transform", "layers_pattern", "init_lora_weights", "ensure_weight_tying", "trainable_token_indices",
    };

    /// <summary>Reads a file.</summary>
    /// <param name="path">An adapter's folder or the file itself.</param>
    /// <exception cref="LoraNetException">It is missing or malformed, not LoRA, or needs something that is not supported.</exception>
    public static PeftAdapterConfig Read(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, FileName) : path;
        if (!File.Exists(file)) throw new LoraNetException($"{file} does not exist.", "Give the folder of a PEFT adapter; it holds adapter_config.json beside adapter_model.safetensors.");
        return Parse(JsonFile.ParseObject(file), file);
    }

    /// <summary>Reads an object from memory.</summary>
    /// <param name="json">The object.</param>
    /// <param name="source">A name for messages.</param>
    /// <exception cref="LoraNetException">See <see cref="Read"/>.</exception>
    public static PeftAdapterConfig Parse(JsonObject json, string source = FileName)
    {
        JsonReader r = new(source, json);
        string type = r.String("peft_type") ?? throw new LoraNetException($"{source}: \"peft_type\" is missing, so this is not a PEFT adapter.", "Adapters of other tools must be converted to PEFT's format first.");
        if (!MethodJson.Types.Contains(type)) throw r.Error("peft_type", $"is \"{type}\", but only {string.Join(", ", MethodJson.Types)} are supported");
        IReadOnlyList<string> own = MethodJson.Keys(type);
        foreach ((string key, JsonNode? node) in json)
            if (!own.Contains(key) && !_known.Contains(key) && !_ignored.Contains(key) && IsActive(node)) throw r.Error(key, "is in use, which is not supported", "Without it the adapter would give other results than where it was made.");
        MethodSettings? method = MethodJson.Read(type, r, Selector);
        string dropout = MethodJson.DropoutKey(method);
        return new PeftAdapterConfig
        {
            Method = method,
            R = r.Int(1, 1 << 20, MethodJson.RankKey(method)) ?? MethodJson.DefaultRank(method),
            LoraAlpha = r.Number(-1e9, 1e9, MethodJson.AlphaKey(method)) ?? 8,
            LoraDropout = r.Number(0, 1, dropout) is not double p ? 0 : p < 1 ? p : throw r.Error(dropout, "is 1, but must be less"),
            TargetModules = Selector(r, "target_modules"),
            // PEFT takes an empty list here for "none".
            ExcludeModules = Selector(r, "exclude_modules") is { Names: not { Count: 0 } } exclude ? exclude : null,
            TargetParameters = Strings(r, "target_parameters"),
            Bias = (r.String("bias") ?? "none") switch
            {
                "none" => BiasTraining.None,
                "all" => BiasTraining.All,
                "lora_only" => BiasTraining.LoraOnly,
                string other => throw r.Error("bias", $"is \"{other}\", but must be none, all or lora_only"),
            },
            LoraBias = r.Bool("lora_bias") ?? false,
            UseRsLora = r.Bool("use_rslora") ?? false,
            UseDora = r.Bool("use_dora") ?? false,
            FanInFanOut = r.Bool("fan_in_fan_out") ?? false,
            ModulesToSave = Strings(r, "modules_to_save") ?? [],
            RankPattern = method is AdaLoraSettings ? [] : [.. Pattern(r, "rank_pattern", static (o, key, node) => o.ToInt(key, node, 1, 1 << 20))],
            AlphaPattern = [.. Pattern(r, "alpha_pattern", static (o, key, node) => o.ToNumber(key, node, -1e9, 1e9))],
            LayersToTransform = Ints(r, "layers_to_transform"),
            LayersPattern = Strings(r, "layers_pattern"),
            InitLoraWeights = Init(r),
            LoftQBits = r.Object("loftq_config")?.Int(4, 8, "loftq_bits") ?? 4,
            LoftQIterations = r.Object("loftq_config")?.Int(1, 100, "loftq_iter") ?? 1,
            TaskType = r.String("task_type"),
            BaseModelNameOrPath = r.String("base_model_name_or_path"),
            Revision = r.String("revision"),
            InferenceMode = r.Bool("inference_mode") ?? false,
            EnsureWeightTying = r.Bool("ensure_weight_tying") ?? false,
            TrainableTokenIndices = TokenIndices(r),
        };
    }

    /// <summary>Writes a file as <see cref="AtomicFile"/> does.</summary>
    /// <exception cref="LoraNetException">It cannot be written.</exception>
    public static void Write(string path, PeftAdapterConfig config) => AtomicFile.WriteAllText(path, AdapterConfigWriter.ToJson(config));

    /// <summary>The text of the file: see <see cref="Write"/>.</summary>
    public static string ToJson(PeftAdapterConfig config) => AdapterConfigWriter.ToJson(config);

    private static bool IsActive(JsonNode? node) => node switch
    {
        null => false,
        JsonArray a => a.Count > 0,
        JsonObject o => o.Count > 0,
        _ => node.ToJsonString() is not ("false" or "\"\"" or "0" or "0.0"),
    };

    // A text is a regular expression for the whole path, a list holds names.
    private static ModuleSelector? Selector(JsonReader r, string key)
    {
        if (r.Find(key) is not var (_, node)) return null;
        if (node is JsonArray) return ModuleSelector.Of(r.Strings(key)!);
        string text = r.ToText(key, node);
        return text.Equals("all-linear", StringComparison.OrdinalIgnoreCase) ? ModuleSelector.AllLinearLayers : ModuleSelector.Regex(text);
    }

    // A list or one text; empty means the same as absent.
    private static string[]? Strings(JsonReader r, string key)
    {
        if (r.Find(key) is not var (_, node)) return null;
        string[] list = node is JsonArray ? r.Strings(key)! : [r.ToText(key, node)];
        return list.Length == 0 || list is [""] ? null : list;
    }

    private static int[]? Ints(JsonReader r, string key)
    {
        if (r.Find(key) is not var (_, node)) return null;
        int[] list = node is JsonArray ? r.Ints(key, 0, int.MaxValue)! : [r.ToInt(key, node, 0, int.MaxValue)];
        return list.Length == 0 ? null : list;
    }

    private static IEnumerable<KeyValuePair<string, T>> Pattern<T>(JsonReader r, string key, Func<JsonReader, string, JsonNode?, T> read)
    {
        if (r.Object(key) is not { } o) yield break;
        foreach ((string pattern, JsonNode? node) in o.Json) yield return new(pattern, read(o, pattern, node));
    }

    private static string Init(JsonReader r)
    {
        if (r.Find("init_lora_weights") is not var (key, node)) return "true";
        return node.ToJsonString() switch
        {
            "true" => "true",
            "false" => "false",
            _ => r.ToText(key, node),
        };
    }

    private static Dictionary<string, IReadOnlyList<int>>? TokenIndices(JsonReader r)
    {
        const string Key = "trainable_token_indices";
        if (r.Find(Key) is not var (_, node)) return null;
        Dictionary<string, IReadOnlyList<int>> byModule = new(StringComparer.Ordinal);
        if (node is JsonArray)
        {
            if (Ints(r, Key) is { } ids) byModule.Add("", ids);
        }
        else
        {
            JsonReader o = r.Object(Key)!;
            foreach ((string module, _) in o.Json)
                if (Ints(o, module) is { } ids) byModule.Add(module, ids);
        }
        return byModule.Count == 0 ? null : byModule;
    }
}
