using System.Globalization;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Values from JSON as Python's json module would read them: 1 is an int, 1.0 a float, keys keep their order.</summary>
internal static class JsonValues
{
    private const int MaxDepth = 200;

    public static object? Convert(JsonNode? node) => Convert(node, 0);

    private static object? Convert(JsonNode? node, int depth)
    {
        if (depth > MaxDepth) throw new LoraNetException($"The conversation's JSON nests deeper than {MaxDepth}.", "Flatten the tool or message it is in.");
        switch (node)
        {
            case null:
                return null;
            case JsonArray array:
                var items = new List<object?>(array.Count);
                foreach (JsonNode? item in array) items.Add(Convert(item, depth + 1));
                return new PyList(items);
            case JsonObject obj:
                var dict = new PyDict();
                try
                {
                    foreach ((string key, JsonNode? value) in obj) dict.Set(key, Convert(value, depth + 1));
                }
                catch (ArgumentException e)
                {
                    throw new LoraNetException($"A JSON object of the conversation has the same key twice: {e.Message}", "Remove one of them.", e);
                }

                return dict;
            case JsonValue value:
                return Scalar(value);
            default:
                throw new LoraNetException($"A {node.GetType().Name} can't be given to a chat template.", "Use JSON objects, arrays and values.");
        }
    }

    private static object? Scalar(JsonValue value)
    {
        switch (value.GetValueKind())
        {
            case JsonValueKind.Null or JsonValueKind.Undefined:
                return null;
            case JsonValueKind.True:
                return true;
            case JsonValueKind.False:
                return false;
            case JsonValueKind.String:
                return value.GetValue<string>();
        }

        // A parsed number says by its spelling whether it is an integer; one made in code, by its type.
        if (value.TryGetValue(out JsonElement element)) return Number(element.GetRawText());
        if (value.TryGetValue(out double d)) return d;
        if (value.TryGetValue(out float f)) return (double)f;
        return Number(value.ToJsonString());
    }

    private static object Number(string text) => text.AsSpan().IndexOfAny('.', 'e', 'E') < 0 && text.Length <= 1000
        ? Num.Normal(BigInteger.Parse(text, CultureInfo.InvariantCulture))
        : double.Parse(text, CultureInfo.InvariantCulture);
}
