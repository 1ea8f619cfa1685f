using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace LoraNet.Cli.Settings;

/// <summary>
/// Reads a recipe: YAML (or JSON, which is YAML too) whose keys are settings in kebab or snake case, at the top or under the
/// section names. Works on YAML nodes, without reflection. An unknown or repeated key is an error with its line and the nearest name.
/// </summary>
internal static class RecipeReader
{
    private const long MaxBytes = 1 << 20;

    /// <summary>Adds the recipe's values as a layer.</summary>
    public static void Read(string path, SettingValues values)
    {
        YamlMappingNode root = Parse(path);
        HashSet<string> sections = [.. TrainSettings.All.Select(s => s.Section)];
        HashSet<string> seen = [];
        ReadMapping(root, top: true);

        void ReadMapping(YamlMappingNode mapping, bool top)
        {
            foreach ((YamlNode keyNode, YamlNode value) in mapping.Children)
            {
                string key = ((YamlScalarNode)keyNode).Value ?? "";
                string name = key.Replace('_', '-');
                string origin = $"{path}, line {keyNode.Start.Line}";
                if (name == "$schema") continue;
                if (top && value is YamlMappingNode section && (sections.Contains(name) || name is "train" or "eval"))
                {
                    ReadMapping(section, top: false);
                    continue;
                }
                Setting setting = Find(name, top, origin, key);
                if (!seen.Add(setting.Name)) throw new LoraNetException($"{origin}: {key} is set twice.", "Keep one of them.");
                if (Text(setting, value, origin) is not { } text) continue;
                // Recipes are shared by commands: what this one does not use is left to the others.
                if (values.Settings.Contains(setting)) values.Add(setting.Name, text, origin);
            }
        }
    }

    private static Setting Find(string name, bool top, string origin, string key)
    {
        if (!top && name == "path") throw new LoraNetException($"{origin}: unknown key 'path'.", "Write the path as 'model:', 'data:' or 'output:' at the top.");
        Setting? setting = TrainSettings.All.FirstOrDefault(s => s.Name == name || s.RecipeAliases.Any(a => a.Replace('_', '-') == name));
        if (setting is not null) return setting;
        IReadOnlyList<string> near = NearestNames.Find(name, TrainSettings.All.Select(s => s.Name), 2);
        throw new LoraNetException($"{origin}: unknown key '{key}'.", near.Count > 0 ? $"Nearest: {string.Join(", ", near)}." : "The keys are the flags of 'loranet train' without the dashes in front.");
    }

    private static string? Text(Setting setting, YamlNode node, string origin)
    {
        switch (node)
        {
            case YamlScalarNode scalar:
                bool isNull = scalar.Style == ScalarStyle.Plain && scalar.Value is null or "" or "~" or "null";
                return isNull ? null : scalar.Value;
            case YamlSequenceNode sequence when setting.Kind == SettingKind.List:
                return string.Join(',', sequence.Children.Select(c => c is YamlScalarNode s ? s.Value
                    : throw new LoraNetException($"{origin}: {setting.Name} must be a list of texts.")));
            case YamlMappingNode mapping when setting.Kind == SettingKind.Json:
                return Json(mapping, origin, setting.Name).ToJsonString();
            default:
                throw new LoraNetException($"{origin}: {setting.Name} must be {(setting.Kind == SettingKind.List ? "a list" : setting.Kind == SettingKind.Json ? "a mapping" : "a single value")}.");
        }
    }

    private static JsonObject Json(YamlMappingNode mapping, string origin, string name)
    {
        JsonObject result = [];
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            if (key is not YamlScalarNode { Value: { } text } || value is not YamlScalarNode { Value: { } number } || !double.TryParse(number, System.Globalization.CultureInfo.InvariantCulture, out _))
                throw new LoraNetException($"{origin}: {name} must map names to numbers.");
            result[text] = JsonNode.Parse(number);
        }
        return result;
    }

    private static YamlMappingNode Parse(string path)
    {
        if (!File.Exists(path)) throw new LoraNetException($"The recipe {path} does not exist.", "Give a YAML file with -c.");
        try
        {
            if (new FileInfo(path).Length > MaxBytes) throw new LoraNetException($"{path} is too large for a recipe.");
            using StreamReader reader = File.OpenText(path);
            YamlStream yaml = [];
            // Aliases could expand to any size; recipes have no use for them, and the node reader keeps them as references.
            yaml.Load(reader);
            if (yaml.Documents.Count == 0) return [];
            return yaml.Documents[0].RootNode switch
            {
                YamlMappingNode mapping when mapping.Children.Keys.All(k => k is YamlScalarNode) => mapping,
                YamlScalarNode { Value: null or "" } => [],
                _ => throw new LoraNetException($"{path} is not a recipe: it must be a mapping of settings.", "Write lines such as 'rank: 16'."),
            };
        }
        catch (YamlException e)
        {
            throw new LoraNetException($"{path}, line {e.Start.Line}: not valid YAML: {e.Message}", null, e);
        }
        catch (InvalidOperationException e)
        {
            // What the YAML library throws on some unbalanced brackets.
            throw new LoraNetException($"{path} is not valid YAML: {e.Message}", null, e);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Reading(path, e);
        }
        catch (JsonException e)
        {
            throw new LoraNetException($"{path}: {e.Message}", null, e);
        }
    }
}
