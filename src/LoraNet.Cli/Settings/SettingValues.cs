using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Formats;

namespace LoraNet.Cli.Settings;

/// <summary>
/// The values of settings, each with where it came from. Layers are added strongest first: flags, environment, recipe, the
/// loaded adapter, the preset. Defaults belong to the reader.
/// </summary>
internal sealed class SettingValues(IReadOnlyList<Setting> settings)
{
    private readonly Dictionary<string, (string Text, string Origin)> _values = [];

    /// <summary>The settings that may be asked for.</summary>
    public IReadOnlyList<Setting> Settings => settings;

    /// <summary>Sets a value unless a stronger layer did; it is checked at once.</summary>
    /// <param name="name">Setting.</param>
    /// <param name="text">Its value as text.</param>
    /// <param name="origin">Where it came from: <c>--rank</c>, <c>LORANET_RANK</c>, <c>recipe.yaml, line 3</c>.</param>
    public void Add(string name, string text, string origin)
    {
        Setting setting = Known(name);
        Check(setting, text, origin);
        _values.TryAdd(name, (text, origin));
    }

    /// <summary>Whether any layer set it.</summary>
    public bool IsSet(string name) => _values.ContainsKey(name);

    /// <summary>Where the value came from, or "default".</summary>
    public string Origin(string name) => _values.TryGetValue(name, out (string, string Origin) value) ? value.Origin : "default";

    /// <summary>The value as text; null when nothing sets it or the command has no such setting.</summary>
    public string? Text(string name) => _values.TryGetValue(name, out (string Text, string) value) ? value.Text : null;

    /// <summary>The value as text.</summary>
    /// <exception cref="LoraNetException">Nothing sets it.</exception>
    public string Required(string name) => Text(name) is { Length: > 0 } text ? text
        : throw new LoraNetException($"--{name} is missing.", Known(name).Description);

    /// <summary>A whole number, or null.</summary>
    public int? Integer(string name) => Text(name) is { } text ? (int)ParseInteger(text)! : null;

    /// <summary>A number, or null.</summary>
    public double? Number(string name) => Text(name) is { } text ? ParseNumber(text) : null;

    /// <summary>A switch; false when nothing sets it.</summary>
    public bool Switch(string name) => Text(name) is { } text && ParseSwitch(text)!.Value;

    /// <summary>A list, or null.</summary>
    public IReadOnlyList<string>? List(string name) => Text(name)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A JSON object, or null.</summary>
    public JsonObject? Json(string name) => Text(name) is { } text ? (JsonObject)JsonNode.Parse(text)! : null;

    /// <summary>An error about a setting's value that says where it was set.</summary>
    public LoraNetException Error(string name, string what, string? advice = null) => new($"{Origin(name)}: {what}", advice);

    private Setting Known(string name) => settings.FirstOrDefault(s => s.Name == name) ?? throw new ArgumentException($"No setting is called '{name}'.", nameof(name));

    private static void Check(Setting setting, string text, string origin)
    {
        string where = origin == setting.Flag || origin == setting.Short ? origin : $"{origin}: {setting.Name}";
        switch (setting.Kind)
        {
            case SettingKind.Integer when ParseInteger(text) is null:
                throw new LoraNetException($"{where} is '{text}', but must be a whole number.");
            case SettingKind.Number when ParseNumber(text) is null:
                throw new LoraNetException($"{where} is '{text}', but must be a number.");
            case SettingKind.Switch when ParseSwitch(text) is null:
                throw new LoraNetException($"{where} is '{text}', but must be true or false.");
            case SettingKind.Choice when !setting.Choices.Contains(Normal(text)):
                IReadOnlyList<string> near = NearestNames.Find(text, setting.Choices, 1);
                throw new LoraNetException($"{where} is '{text}', which is not one of {string.Join(", ", setting.Choices)}.", near.Count > 0 ? $"Nearest: {near[0]}." : null);
            case SettingKind.Json:
                try
                {
                    if (JsonNode.Parse(text) is not JsonObject) throw new LoraNetException($"{where} is not a JSON object.", "Write it as '{\"q_proj\": 16}'.");
                }
                catch (JsonException e)
                {
                    throw new LoraNetException($"{where} is not valid JSON: {e.Message}", "Write it as '{\"q_proj\": 16}', quoted for the shell.", e);
                }
                break;
        }

        // The scheduler's names are written with underscores elsewhere; the biases are written so here.
        string Normal(string value) => setting.Choices.FirstOrDefault(c => c.Replace('_', '-').Equals(value.Replace('_', '-'), StringComparison.OrdinalIgnoreCase)) ?? value;
    }

    private static long? ParseInteger(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) && value is >= int.MinValue and <= int.MaxValue ? value : null;

    private static double? ParseNumber(string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value) ? value : null;

    private static bool? ParseSwitch(string text) => text.ToLowerInvariant() switch { "true" or "yes" or "on" => true, "false" or "no" or "off" => false, _ => null };
}
