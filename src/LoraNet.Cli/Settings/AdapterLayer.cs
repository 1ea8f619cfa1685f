using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Lora;

namespace LoraNet.Cli.Settings;

/// <summary>The settings of a loaded adapter as a layer: above the preset, below everything a person wrote.</summary>
internal static class AdapterLayer
{
    // These decide shapes or which modules there are; the stored tensors fix them.
    private static readonly string[] _fixed =
        ["rank", "target-modules", "target-parameters", "exclude-modules", "use-dora", "lora-bias", "bias", "modules-to-save", "rank-pattern", "layers-to-transform", "layers-pattern"];

    /// <summary>Adds the adapter's settings.</summary>
    /// <returns>What to change in the stored settings: dropout, alpha and the kind of scaling may differ.</returns>
    /// <exception cref="LoraNetException">A flag, variable or recipe key contradicts the stored tensors.</exception>
    public static Func<LoraConfig, LoraConfig> Apply(SettingValues values, string directory)
    {
        if (!Directory.Exists(directory)) throw new LoraNetException($"The adapter folder {directory} does not exist.", "Give the folder that PEFT or loranet wrote.");
        LoraConfig stored = AdapterFile.ReadConfig(directory);
        IReadOnlyDictionary<string, string> text = Text(stored);
        foreach (string name in _fixed.Concat(MethodReaders.Names.Where(n => !n.EndsWith("-dropout", StringComparison.Ordinal))))
        {
            if (!values.IsSet(name) || Same(values.Text(name)!, text.GetValueOrDefault(name, ""))) continue;
            throw values.Error(name, $"--{name} {values.Text(name)} contradicts the adapter in {directory}, which has {(text.TryGetValue(name, out string? has) ? has : "none")}.", "Leave it out, or start a new adapter without --adapter.");
        }
        foreach ((string name, string value) in text) values.Add(name, value, "adapter_config.json");
        return config => config with
        {
            Dropout = values.Number("dropout") ?? config.Dropout,
            Alpha = values.Number("alpha") ?? config.Alpha,
            UseRsLora = values.Switch("use-rslora"),
            Method = config.Method is MatrixSettings m ? m with { RankDropout = values.Number("rank-dropout") ?? 0, ModuleDropout = values.Number("module-dropout") ?? 0 } : config.Method,
            AlphaPattern = values.Origin("alpha-pattern") is "adapter_config.json" or "default" ? config.AlphaPattern : SettingReaders.ReadLora(values).AlphaPattern,
        };
    }

    /// <summary>A configuration as setting texts; what is at its neutral value and may be absent is left out.</summary>
    public static IReadOnlyDictionary<string, string> Text(LoraConfig config)
    {
        Dictionary<string, string> text = new()
        {
            ["rank"] = config.Rank.ToString(System.Globalization.CultureInfo.InvariantCulture),
            ["alpha"] = Format.Exact(config.Alpha),
            ["dropout"] = Format.Exact(config.Dropout),
            ["use-rslora"] = Bool(config.UseRsLora),
            ["use-dora"] = Bool(config.UseDora),
            ["lora-bias"] = Bool(config.LoraBias),
            ["bias"] = config.Bias switch { BiasTraining.All => "all", BiasTraining.LoraOnly => "lora_only", _ => "none" },
        };
        foreach ((string name, string value) in MethodReaders.Text(config.Method)) text[name] = value;
        if (config.TargetModules is { } target && target.ToString() is { Length: > 0 } names) text["target-modules"] = names;
        if (config.TargetParameters.Count > 0) text["target-parameters"] = string.Join(',', config.TargetParameters);
        if (config.ExcludeModules is { } exclude) text["exclude-modules"] = exclude.ToString();
        if (config.ModulesToSave.Count > 0) text["modules-to-save"] = string.Join(',', config.ModulesToSave);
        if (config.RankPattern.Count > 0) text["rank-pattern"] = Json(config.RankPattern.Select(p => (p.Key, (double)p.Value)));
        if (config.AlphaPattern.Count > 0) text["alpha-pattern"] = Json(config.AlphaPattern.Select(p => (p.Key, p.Value)));
        if (config.LayersToTransform is { } layers) text["layers-to-transform"] = string.Join(',', layers);
        if (config.LayersPattern is { } pattern) text["layers-pattern"] = string.Join(',', pattern);
        return text;

        static string Bool(bool value) => value ? "true" : "false";
        static string Json(IEnumerable<(string, double)> pattern)
        {
            JsonObject json = [];
            foreach ((string key, double value) in pattern) json[key] = value;
            return json.ToJsonString();
        }
    }

    private static bool Same(string a, string b)
    {
        if (a.Equals(b, StringComparison.OrdinalIgnoreCase)) return true;
        if (a.StartsWith('{') || b.StartsWith('{')) return a.StartsWith('{') && b.StartsWith('{') && JsonNode.DeepEquals(JsonNode.Parse(a), JsonNode.Parse(b));
        return Parts(a).SetEquals(Parts(b));

        static HashSet<string> Parts(string text) => [.. text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)];
    }
}
