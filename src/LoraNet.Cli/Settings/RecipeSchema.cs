using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.Cli.Settings;

/// <summary>The JSON schema of recipes, for editors that complete YAML; docs/recipe.schema.json holds its output.</summary>
internal static class RecipeSchema
{
    private static readonly JsonSerializerOptions _indented = new() { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The schema as JSON text.</summary>
    public static string Write()
    {
        JsonObject properties = [], definitions = [];
        foreach (Setting setting in TrainSettings.All)
        {
            definitions[setting.Name] = Describe(setting);
            foreach (string name in Names(setting)) properties[name] = Reference(setting);
        }
        foreach (IGrouping<string, Setting> section in TrainSettings.All.GroupBy(s => s.Section))
        {
            // 'model', 'data' and 'output' name a setting or a section.
            JsonObject inside = [];
            foreach (Setting setting in section) foreach (string name in Names(setting)) inside[name] = Reference(setting);
            JsonObject mapping = new() { ["type"] = "object", ["additionalProperties"] = false, ["properties"] = inside };
            properties[section.Key] = properties[section.Key] is { } own ? new JsonObject { ["anyOf"] = new JsonArray(own.DeepClone(), mapping) } : mapping;
        }
        properties["$schema"] = new JsonObject { ["type"] = "string" };
        JsonObject schema = new()
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["title"] = "LoraNet recipe",
            ["description"] = "Settings of 'loranet train', at the top or under section names.",
            ["type"] = "object",
            ["additionalProperties"] = false,
            ["properties"] = properties,
            ["$defs"] = definitions,
        };
        return schema.ToJsonString(_indented) + "\n";
    }

    private static IEnumerable<string> Names(Setting setting) =>
        new[] { setting.Name, setting.Name.Replace('-', '_') }.Concat(setting.RecipeAliases).Distinct(StringComparer.Ordinal);

    private static JsonObject Reference(Setting setting) => new() { ["$ref"] = "#/$defs/" + setting.Name };

    private static JsonObject Describe(Setting setting)
    {
        JsonObject result = setting.Kind switch
        {
            SettingKind.Integer => new JsonObject { ["type"] = "integer" },
            SettingKind.Number => new JsonObject { ["type"] = "number" },
            SettingKind.Switch => new JsonObject { ["type"] = "boolean" },
            SettingKind.Choice => new JsonObject { ["enum"] = new JsonArray([.. setting.Choices.Select(c => (JsonNode)c)]) },
            SettingKind.List => new JsonObject { ["type"] = new JsonArray("string", "integer", "array"), ["items"] = new JsonObject { ["type"] = new JsonArray("string", "integer") } },
            SettingKind.Json => new JsonObject { ["type"] = "object", ["additionalProperties"] = new JsonObject { ["type"] = "number" } },
            _ => new JsonObject { ["type"] = "string" },
        };
        result["description"] = setting.Description + (setting.Default is null ? "" : $" Default {setting.Default}.");
        return result;
    }
}
