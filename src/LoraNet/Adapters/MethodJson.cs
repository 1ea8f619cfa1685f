using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Lora;

namespace LoraNet.Adapters;

/// <summary>What adapter_config.json holds for methods other than LoRA, under PEFT's names.</summary>
internal static class MethodJson
{
    private const string RankPattern = "rank_pattern", EnergySuffix = ".lora_E";

    /// <summary>peft_type of every supported method.</summary>
    public static IReadOnlyList<string> Types { get; } = ["LORA", "ADALORA", "VERA", "IA3", "LOHA", "LOKR"];

    /// <summary>Keys of a type besides those of LoRA.</summary>
    public static IReadOnlyList<string> Keys(string type) => type switch
    {
        "ADALORA" => ["init_r", "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step"],
        "VERA" => ["projection_prng_key", "save_projection", "vera_dropout", "d_initial", "init_weights"],
        "IA3" => ["feedforward_modules", "init_ia3_weights"],
        "LOHA" => ["alpha", "rank_dropout", "module_dropout", "init_weights", "use_effective_conv2d"],
        "LOKR" => ["alpha", "rank_dropout", "module_dropout", "init_weights", "use_effective_conv2d", "decompose_both", "decompose_factor", "rank_dropout_scale"],
        _ => [],
    };

    /// <summary>Name of the rank's key.</summary>
    public static string RankKey(MethodSettings? method) => method is AdaLoraSettings ? "init_r" : "r";

    /// <summary>PEFT's default rank.</summary>
    public static int DefaultRank(MethodSettings? method) => method switch { AdaLoraSettings => 12, VeraSettings => 256, _ => 8 };

    /// <summary>Name of alpha's key.</summary>
    public static string AlphaKey(MethodSettings? method) => method is MatrixSettings ? "alpha" : "lora_alpha";

    /// <summary>Name of the dropout's key.</summary>
    public static string DropoutKey(MethodSettings? method) => method is VeraSettings ? "vera_dropout" : "lora_dropout";

    /// <summary>The method's own settings; null for LoRA.</summary>
    public static MethodSettings? Read(string type, JsonReader r, Func<JsonReader, string, ModuleSelector?> selector) => type switch
    {
        "VERA" => new VeraSettings
        {
            ProjectionSeed = r.Int(0, int.MaxValue, "projection_prng_key") ?? 0,
            SaveProjection = r.Bool("save_projection") ?? true,
            InitialD = r.Number(-1e9, 1e9, "d_initial") ?? 0.1,
        },
        "IA3" => new Ia3Settings { FeedForwardModules = selector(r, "feedforward_modules") },
        "LOHA" => new LoHaSettings { RankDropout = Probability(r, "rank_dropout"), ModuleDropout = Probability(r, "module_dropout") },
        "LOKR" => new LoKrSettings
        {
            RankDropout = Probability(r, "rank_dropout"),
            ModuleDropout = Probability(r, "module_dropout"),
            RankDropoutScale = r.Bool("rank_dropout_scale") ?? false,
            DecomposeBoth = r.Bool("decompose_both") ?? false,
            DecomposeFactor = r.Int(-1, 1 << 30, "decompose_factor") ?? -1,
        },
        "ADALORA" => new AdaLoraSettings
        {
            TargetRank = r.Int(1, 1 << 20, "target_r") ?? 8,
            InitialSteps = r.Int(0, int.MaxValue, "tinit") ?? 0,
            FinalSteps = r.Int(0, int.MaxValue, "tfinal") ?? 0,
            Interval = r.Int(1, int.MaxValue, "deltaT") ?? 1,
            Beta1 = r.Number(0, 1, "beta1") ?? 0.85,
            Beta2 = r.Number(0, 1, "beta2") ?? 0.85,
            OrthogonalWeight = r.Number(0, 1e9, "orth_reg_weight") ?? 0.5,
            TotalSteps = r.Int(0, int.MaxValue, "total_step") ?? 0,
            Kept = [.. Kept(r)],
        },
        _ => null,
    };

    /// <summary>Adds the keys that a method writes and takes away those that it does not have.</summary>
    public static void Write(PeftAdapterConfig c, IDictionary<string, Action<Utf8JsonWriter>> keys, Action<Utf8JsonWriter, double> number, Action<Utf8JsonWriter, ModuleSelector?> selector)
    {
        if (c.Method is not { } method) return;
        foreach (string key in new[] { "use_dora", "use_rslora", "init_lora_weights" }) keys.Remove(key);
        if (method is not MatrixSettings)
            foreach (string key in new[] { RankPattern, "alpha_pattern" }) keys.Remove(key);
        if (method is MatrixSettings or Ia3Settings)
            foreach (string key in new[] { "bias", "fan_in_fan_out" }) keys.Remove(key);
        switch (method)
        {
            case VeraSettings v:
                keys["projection_prng_key"] = w => w.WriteNumberValue(v.ProjectionSeed);
                keys["save_projection"] = w => w.WriteBooleanValue(v.SaveProjection);
                keys["d_initial"] = w => number(w, v.InitialD);
                break;
            case Ia3Settings i:
                keys["fan_in_fan_out"] = w => w.WriteBooleanValue(c.FanInFanOut);
                keys["feedforward_modules"] = w => selector(w, i.FeedForwardModules);
                break;
            case MatrixSettings m:
                keys["rank_dropout"] = w => number(w, m.RankDropout);
                keys["module_dropout"] = w => number(w, m.ModuleDropout);
                if (m is not LoKrSettings k) break;
                keys["rank_dropout_scale"] = w => w.WriteBooleanValue(k.RankDropoutScale);
                keys["decompose_both"] = w => w.WriteBooleanValue(k.DecomposeBoth);
                keys["decompose_factor"] = w => w.WriteNumberValue(k.DecomposeFactor);
                break;
            case AdaLoraSettings a:
                keys["target_r"] = w => w.WriteNumberValue(a.TargetRank);
                keys["tinit"] = w => w.WriteNumberValue(a.InitialSteps);
                keys["tfinal"] = w => w.WriteNumberValue(a.FinalSteps);
                keys["deltaT"] = w => w.WriteNumberValue(a.Interval);
                keys["beta1"] = w => number(w, a.Beta1);
                keys["beta2"] = w => number(w, a.Beta2);
                keys["orth_reg_weight"] = w => number(w, a.OrthogonalWeight);
                // PEFT refuses a configuration whose schedule has no room between its two ends.
                keys["total_step"] = w => w.WriteNumberValue(Math.Max(a.TotalSteps, a.InitialSteps + a.FinalSteps + 1));
                keys[RankPattern] = w => WriteKept(w, a.Kept);
                break;
        }
    }

    private static double Probability(JsonReader r, string key) => r.Number(0, 1, key) is not double p ? 0 : p < 1 ? p : throw r.Error(key, "is 1, but must be less");

    // {"model.layers.0.self_attn.q_proj.lora_E": [true, false, …]}
    private static IEnumerable<KeyValuePair<string, bool[]>> Kept(JsonReader r)
    {
        if (r.Object(RankPattern) is not { } pattern) yield break;
        foreach ((string key, JsonNode? node) in pattern.Json)
        {
            if (node is not JsonArray array) throw pattern.Error(key, "is not a list of true and false");
            string path = key.EndsWith(EnergySuffix, StringComparison.Ordinal) ? key[..^EnergySuffix.Length] : throw pattern.Error(key, "does not name a lora_E");
            yield return new(path, [.. array.Select(n => n is JsonValue v && v.TryGetValue(out bool b) ? b : throw pattern.Error(key, "is not a list of true and false"))]);
        }
    }

    private static void WriteKept(Utf8JsonWriter w, IReadOnlyList<KeyValuePair<string, bool[]>> kept)
    {
        if (kept.Count == 0)
        {
            w.WriteNullValue();
            return;
        }
        w.WriteStartObject();
        foreach ((string path, bool[] flags) in kept)
        {
            w.WriteStartArray(path + EnergySuffix);
            foreach (bool flag in flags) w.WriteBooleanValue(flag);
            w.WriteEndArray();
        }
        w.WriteEndObject();
    }
}
