using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace LoraNet.Cli.Settings;

/// <summary>
/// recipe.resolved.yaml: every setting of a run with its value and where it came from, in a form that <c>-c</c> reads back.
/// </summary>
internal static class RecipeWriter
{
    /// <summary>The recipe as YAML text.</summary>
    /// <param name="values">Values that some layer set.</param>
    /// <param name="resolved">Values in force by name; beats <paramref name="values"/>.</param>
    public static string Write(SettingValues values, IReadOnlyDictionary<string, string> resolved)
    {
        StringBuilder yaml = new();
        yaml.Append("# Every setting of this run. 'loranet train -c recipe.resolved.yaml' repeats it.\n");
        foreach (IGrouping<string, Setting> section in values.Settings.GroupBy(s => s.Section))
        {
            List<(Setting Setting, string Value)> lines = [];
            foreach (Setting setting in section)
            {
                string? value = resolved.TryGetValue(setting.Name, out string? text) ? text : values.Text(setting.Name) ?? setting.Default;
                // Resuming and the preset's name are no part of the recipe: its values are written out.
                if (value is not null && setting.Name is not ("resume" or "preset")) lines.Add((setting, value));
            }
            if (lines.Count == 0) continue;
            yaml.Append('\n').Append("# ").Append(section.Key).Append('\n');
            foreach ((Setting setting, string value) in lines)
            {
                yaml.Append(setting.Name).Append(": ").Append(Value(setting, value));
                string origin = values.Origin(setting.Name);
                if (origin != "default") yaml.Append("  # ").Append(origin.ReplaceLineEndings(" "));
                yaml.Append('\n');
            }
        }
        return yaml.ToString();
    }

    private static string Value(Setting setting, string value) => setting.Kind switch
    {
        SettingKind.Integer or SettingKind.Number => value,
        SettingKind.Switch => value.ToLowerInvariant() is "true" or "yes" or "on" ? "true" : "false",
        SettingKind.Json => Mapping((JsonObject)JsonNode.Parse(value)!),
        SettingKind.List when !value.StartsWith("regex:", StringComparison.OrdinalIgnoreCase) =>
            value.Contains(',') ? "[" + string.Join(", ", value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Quote)) + "]" : Quote(value),
        _ => Quote(value),
    };

    private static string Mapping(JsonObject json) => "{" + string.Join(", ", json.Select(p => $"{Quote(p.Key)}: {p.Value!.ToJsonString()}")) + "}";

    // Plain where no YAML reader can take it for something else; else in double quotes with JSON's escapes, which YAML shares.
    private static string Quote(string text)
    {
        bool plain = text.Length > 0 && text.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.' or '/') && (char.IsAsciiLetter(text[0]) || text[0] is '/' or '.')
            && text is not ("true" or "false" or "null" or "yes" or "no" or "on" or "off" or "True" or "False" or "Null") && !double.TryParse(text, CultureInfo.InvariantCulture, out _);
        return plain ? text : JsonValue.Create(text).ToJsonString();
    }
}
