using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.Formats;

/// <summary>
/// Typed access to a JSON object whose errors name the file and the key. A key that is absent and a key that is null are the same,
/// as they are to Python's readers of these files.
/// </summary>
internal sealed class JsonReader(string source, JsonObject json, string prefix = "")
{
    public string Source => source;

    public JsonObject Json => json;

    /// <summary>The first of <paramref name="keys"/> that is present, with its value.</summary>
    public (string Key, JsonNode Node)? Find(params ReadOnlySpan<string> keys)
    {
        foreach (string key in keys)
            if (json.TryGetPropertyValue(key, out JsonNode? node) && node is not null) return (key, node);
        return null;
    }

    public bool Has(string key) => Find(key) is not null;

    /// <summary>A whole number in [min, max], or null if absent.</summary>
    public int? Int(long min, long max, params ReadOnlySpan<string> keys)
    {
        if (Find(keys) is not var (key, node)) return null;
        return ToInt(key, node, min, max);
    }

    public int RequiredInt(long min, long max, params ReadOnlySpan<string> keys) => Int(min, max, keys) ?? throw Missing(keys[0]);

    /// <summary>A finite number in [min, max], or null if absent.</summary>
    public double? Number(double min, double max, params ReadOnlySpan<string> keys)
    {
        if (Find(keys) is not var (key, node)) return null;
        return ToNumber(key, node, min, max);
    }

    public bool? Bool(params ReadOnlySpan<string> keys)
    {
        if (Find(keys) is not var (key, node)) return null;
        return node.GetValueKind() switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Error(key, $"is {Show(node)}, but must be true or false"),
        };
    }

    public string? String(params ReadOnlySpan<string> keys)
    {
        if (Find(keys) is not var (key, node)) return null;
        return ToText(key, node);
    }

    public JsonReader? Object(string key)
    {
        if (Find(key) is not var (_, node)) return null;
        return node is JsonObject o ? new JsonReader(source, o, prefix + key + ".") : throw Error(key, $"is {Show(node)}, but must be an object");
    }

    public JsonArray? Array(string key)
    {
        if (Find(key) is not var (_, node)) return null;
        return node as JsonArray ?? throw Error(key, $"is {Show(node)}, but must be a list");
    }

    public string[]? Strings(string key) => Array(key)?.Select(n => ToText(key, n)).ToArray();

    public int[]? Ints(string key, long min, long max) => Array(key)?.Select(n => ToInt(key, n, min, max)).ToArray();

    public double[]? Numbers(string key, double min, double max) => Array(key)?.Select(n => ToNumber(key, n, min, max)).ToArray();

    public int ToInt(string key, JsonNode? node, long min, long max)
    {
        // Python writes whole numbers as floats now and then ("128.0"); those are whole numbers too.
        if (node?.GetValueKind() != JsonValueKind.Number || !TryDouble(node, out double value) || value != Math.Floor(value))
            throw Error(key, $"is {Show(node)}, but must be a whole number");
        if (value < min || value > max) throw Error(key, $"is {Show(node)}, but must be between {min} and {max}");
        return (int)value;
    }

    public double ToNumber(string key, JsonNode? node, double min, double max)
    {
        if (node?.GetValueKind() != JsonValueKind.Number || !TryDouble(node, out double value)) throw Error(key, $"is {Show(node)}, but must be a number");
        if (!(value >= min && value <= max))
            throw Error(key, string.Create(CultureInfo.InvariantCulture, $"is {Show(node)}, but must be between {min:R} and {max:R}"));
        return value;
    }

    public string ToText(string key, JsonNode? node)
    {
        if (node?.GetValueKind() != JsonValueKind.String) throw Error(key, $"is {Show(node)}, but must be a text");
        try
        {
            return node.GetValue<string>();
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{source}: \"{prefix}{key}\" holds a malformed string: {e.Message}", null, e);
        }
    }

    public LoraNetException Missing(string key) => new($"{source}: \"{prefix}{key}\" is missing.", "Use the file that belongs to the weights.");

    public LoraNetException Error(string key, string what, string? advice = null) => new($"{source}: \"{prefix}{key}\" {what}.", advice);

    private static bool TryDouble(JsonNode node, out double value)
    {
        try
        {
            // A number node is backed by parsed text or by a .NET number of any type; its JSON text serves both.
            return double.TryParse(node.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);
        }
        catch (InvalidOperationException)
        {
            value = 0;
            return false;
        }
    }

    private static string Show(JsonNode? node)
    {
        if (node is null) return "null";
        string text;
        try
        {
            text = node.ToJsonString();
        }
        catch (InvalidOperationException)
        {
            return "a malformed string";
        }
        return text.Length > 60 ? text[..60] + "…" : text;
    }
}
