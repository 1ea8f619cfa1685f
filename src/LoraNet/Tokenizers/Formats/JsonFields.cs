using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads fields of a JSON object with errors that name the file and the place.</summary>
internal readonly struct JsonFields(JsonElement element, string source, string path)
{
    public JsonElement Element => element;

    public string Path => path;

    public string Source => source;

    public LoraNetException Error(string what) =>
        new($"{source}: {path} {what}.", "Check that the file is complete and is a tokenizer.json of Hugging Face's format.");

    /// <summary>The field, or null if it is absent or null.</summary>
    public JsonElement? Get(string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>The field as an object to read on, or null.</summary>
    public JsonFields? Object(string name)
    {
        if (Get(name) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Object) throw Error($"has a field \"{name}\" that is not an object");
        return new JsonFields(value, source, $"{path}.{name}");
    }

    public JsonFields Required(string name) => Object(name) ?? throw Error($"lacks the field \"{name}\"");

    /// <summary>The elements of an array field; none if it is absent.</summary>
    public IEnumerable<JsonFields> Array(string name)
    {
        if (Get(name) is not { } value) return [];
        if (value.ValueKind != JsonValueKind.Array) throw Error($"has a field \"{name}\" that is not an array");
        return Elements(value, source, $"{path}.{name}");
    }

    public string? String(string name)
    {
        if (Get(name) is not { } value) return null;
        return value.ValueKind == JsonValueKind.String ? Text(value) : throw Error($"has a field \"{name}\" that is not a string");
    }

    public string RequiredString(string name) => String(name) ?? throw Error($"lacks the string \"{name}\"");

    public bool Bool(string name, bool fallback)
    {
        if (Get(name) is not { } value) return fallback;
        return value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Error($"has a field \"{name}\" that is not true or false"),
        };
    }

    public int? Int(string name)
    {
        if (Get(name) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int n) ? n : throw Error($"has a field \"{name}\" that is not a whole number in range");
    }

    public int RequiredInt(string name) => Int(name) ?? throw Error($"lacks the number \"{name}\"");

    /// <summary>The string at an element; a lone surrogate in an escape is an error, not a crash.</summary>
    public string Text(JsonElement value)
    {
        try
        {
            return value.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{source}: {path} holds a string that is not valid Unicode.", "Check that the file is complete.", e);
        }
    }

    private static IEnumerable<JsonFields> Elements(JsonElement array, string source, string path)
    {
        int i = 0;
        foreach (JsonElement e in array.EnumerateArray()) yield return new JsonFields(e, source, $"{path}[{i++}]");
    }
}
