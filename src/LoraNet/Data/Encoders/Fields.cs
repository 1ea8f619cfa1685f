using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Data.Reading;

namespace LoraNet.Data.Encoders;

/// <summary>Typed access to a row's fields; errors name the file, the line and the key.</summary>
internal static class Fields
{
    /// <summary>Whether the key is there with a value.</summary>
    public static bool Has(JsonObject row, string key) => row.TryGetPropertyValue(key, out JsonNode? node) && node is not null;

    public static string Text(JsonObject row, string key, RowPlace place) =>
        row[key] is { } node && node.GetValueKind() == JsonValueKind.String ? node.GetValue<string>() : throw new LoraNetException($"{place}: '{key}' must be a string, but is {Describe(row[key])}.");

    /// <summary>A text that may be absent or null.</summary>
    public static string OptionalText(JsonObject row, string key, RowPlace place) => Has(row, key) ? Text(row, key, place) : "";

    public static JsonArray Array(JsonObject row, string key, RowPlace place) =>
        row[key] as JsonArray ?? throw new LoraNetException($"{place}: '{key}' must be a list, but is {Describe(row[key])}.");

    public static int[] Integers(JsonObject row, string key, RowPlace place)
    {
        JsonArray array = Array(row, key, place);
        int[] values = new int[array.Count];
        for (int i = 0; i < values.Length; i++)
        {
            if (array[i] is not JsonValue value || value.GetValueKind() != JsonValueKind.Number || !TryInteger(value, out values[i]))
                throw new LoraNetException($"{place}: '{key}' must be a list of integers, but entry {i} is {Describe(array[i])}.");
        }
        return values;
    }

    /// <summary>A JSON list or object that is stored as such or as text, as data sets with a fixed schema do with tools.</summary>
    public static JsonNode? Structure(JsonNode? node, string key, RowPlace place)
    {
        if (node is null || node.GetValueKind() != JsonValueKind.String) return node;
        string text = node.GetValue<string>();
        if (string.IsNullOrWhiteSpace(text)) return null;
        return TryParse(text) ?? throw new LoraNetException($"{place}: '{key}' is text but no JSON.", "Give a JSON list.");
    }

    /// <summary>Parses an object or a list; null when the text is something else.</summary>
    public static JsonNode? TryParse(string text)
    {
        try
        {
            JsonNode? node = JsonNode.Parse(text, null, new JsonDocumentOptions { AllowDuplicateProperties = false });
            if (node is not (JsonObject or JsonArray)) return null;
            Formats.JsonFile.Touch(node);
            return node;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>A short description of a value for messages.</summary>
    public static string Describe(JsonNode? node)
    {
        if (node is null) return "missing";
        string text = node.ToJsonString();
        return text.Length > 60 ? text[..60] + "…" : text;
    }

    private static bool TryInteger(JsonValue value, out int result)
    {
        if (value.TryGetValue(out result)) return true;
        if (value.TryGetValue(out long wide) && wide is >= int.MinValue and <= int.MaxValue)
        {
            result = (int)wide;
            return true;
        }
        return false;
    }
}
