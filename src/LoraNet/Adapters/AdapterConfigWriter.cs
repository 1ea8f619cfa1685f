using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using LoraNet.Lora;

namespace LoraNet.Adapters;

/// <summary>
/// Writes adapter_config.json: keys sorted, indented by 2. Only keys that every PEFT version since 0.9 knows, and those that differ from their
/// defaults: older versions refuse keys they do not know.
/// </summary>
internal static class AdapterConfigWriter
{
    public static string ToJson(PeftAdapterConfig c)
    {
        SortedDictionary<string, Action<Utf8JsonWriter>> keys = new(StringComparer.Ordinal)
        {
            ["alpha_pattern"] = w => WritePattern(w, c.AlphaPattern, WriteNumber),
            ["base_model_name_or_path"] = w => w.WriteStringValue(c.BaseModelNameOrPath),
            ["bias"] = w => w.WriteStringValue(c.Bias switch { BiasTraining.All => "all", BiasTraining.LoraOnly => "lora_only", _ => "none" }),
            ["fan_in_fan_out"] = w => w.WriteBooleanValue(c.FanInFanOut),
            ["inference_mode"] = w => w.WriteBooleanValue(c.InferenceMode),
            ["init_lora_weights"] = w => WriteInit(w, c.InitLoraWeights),
            ["modules_to_save"] = w => WriteStrings(w, c.ModulesToSave.Count == 0 ? null : c.ModulesToSave),
            ["peft_type"] = w => w.WriteStringValue(c.Method?.PeftType ?? "LORA"),
            ["rank_pattern"] = w => WritePattern(w, c.RankPattern, static (w, r) => w.WriteNumberValue(r)),
            ["target_modules"] = w => WriteSelector(w, c.TargetModules),
            ["task_type"] = w => w.WriteStringValue(c.TaskType),
            ["use_dora"] = w => w.WriteBooleanValue(c.UseDora),
            ["use_rslora"] = w => w.WriteBooleanValue(c.UseRsLora),
        };
        if (c.Method is not { HasRank: false })
        {
            keys[MethodJson.RankKey(c.Method)] = w => w.WriteNumberValue(c.R);
            if (c.Method is not VeraSettings) keys[MethodJson.AlphaKey(c.Method)] = w => WriteNumber(w, c.LoraAlpha);
        }
        // A float even when 0, as Python writes it.
        if (c.Method is not { HasDropout: false }) keys[MethodJson.DropoutKey(c.Method)] = w => w.WriteRawValue(c.LoraDropout == 0 ? "0.0" : Invariant(c.LoraDropout));
        if (c.InitLoraWeights == "loftq")
        {
            keys["loftq_config"] = w =>
            {
                w.WriteStartObject();
                w.WriteNumber("loftq_bits", c.LoftQBits);
                w.WriteNumber("loftq_iter", c.LoftQIterations);
                w.WriteEndObject();
            };
        }
        MethodJson.Write(c, keys, WriteNumber, WriteSelector);
        if (c.ExcludeModules is not null) keys["exclude_modules"] = w => WriteSelector(w, c.ExcludeModules);
        if (c.TargetParameters is not null) keys["target_parameters"] = w => WriteStrings(w, c.TargetParameters);
        if (c.LoraBias) keys["lora_bias"] = static w => w.WriteBooleanValue(true);
        if (c.LayersToTransform is not null) keys["layers_to_transform"] = w => WriteInts(w, c.LayersToTransform);
        if (c.LayersPattern is not null) keys["layers_pattern"] = w => WriteStrings(w, c.LayersPattern);
        if (c.EnsureWeightTying) keys["ensure_weight_tying"] = static w => w.WriteBooleanValue(true);
        if (c.TrainableTokenIndices is not null) keys["trainable_token_indices"] = w => WriteTokens(w, c.TrainableTokenIndices);
        if (c.Revision is not null) keys["revision"] = w => w.WriteStringValue(c.Revision);

        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            foreach ((string key, Action<Utf8JsonWriter> write) in keys)
            {
                writer.WritePropertyName(key);
                write(writer);
            }
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static string Invariant(double value) => value.ToString("R", System.Globalization.CultureInfo.InvariantCulture);

    // Older readers want whole alphas as integers.
    private static void WriteNumber(Utf8JsonWriter w, double value)
    {
        if (value == Math.Floor(value) && Math.Abs(value) < 1e15) w.WriteNumberValue((long)value);
        else w.WriteNumberValue(value);
    }

    private static void WriteInit(Utf8JsonWriter w, string init)
    {
        if (init is "true" or "false") w.WriteBooleanValue(init == "true");
        else w.WriteStringValue(init);
    }

    private static void WriteSelector(Utf8JsonWriter w, ModuleSelector? selector)
    {
        if (selector is null) w.WriteNullValue();
        else if (selector.AllLinear) w.WriteStringValue("all-linear");
        else if (selector.Pattern is not null) w.WriteStringValue(selector.Pattern);
        else WriteStrings(w, selector.Names);
    }

    // Sets in PEFT: sorted here, so that equal adapters have equal files.
    private static void WriteStrings(Utf8JsonWriter w, IReadOnlyList<string>? list)
    {
        if (list is null)
        {
            w.WriteNullValue();
            return;
        }
        w.WriteStartArray();
        foreach (string s in list.Order(StringComparer.Ordinal)) w.WriteStringValue(s);
        w.WriteEndArray();
    }

    private static void WriteInts(Utf8JsonWriter w, IReadOnlyList<int> list)
    {
        w.WriteStartArray();
        foreach (int i in list) w.WriteNumberValue(i);
        w.WriteEndArray();
    }

    // Never sorted: the first match wins.
    private static void WritePattern<T>(Utf8JsonWriter w, IReadOnlyList<KeyValuePair<string, T>> pattern, Action<Utf8JsonWriter, T> write)
    {
        w.WriteStartObject();
        foreach ((string key, T value) in pattern)
        {
            w.WritePropertyName(key);
            write(w, value);
        }
        w.WriteEndObject();
    }

    private static void WriteTokens(Utf8JsonWriter w, IReadOnlyDictionary<string, IReadOnlyList<int>> byModule)
    {
        if (byModule.Count == 1 && byModule.TryGetValue("", out IReadOnlyList<int>? ids))
        {
            WriteInts(w, ids);
            return;
        }
        w.WriteStartObject();
        foreach ((string module, IReadOnlyList<int> list) in byModule.OrderBy(static p => p.Key, StringComparer.Ordinal))
        {
            w.WritePropertyName(module);
            WriteInts(w, list);
        }
        w.WriteEndObject();
    }
}
