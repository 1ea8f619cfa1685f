using System.Text;
using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;
using LoraNet.Testing;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>The stored renderings of Jinja2 (tests/fixtures/chat_templates/generate.py) and how ours are compared with them.</summary>
internal static class JinjaCases
{
    public static readonly ChatRenderOptions Options = new() { Clock = () => new DateTime(2024, 3, 7, 15, 4, 9) };

    public static JsonObject Stored { get; } =
        JsonNode.Parse(File.ReadAllText(Path.Combine(TestData.Fixtures, "chat_templates", "cases.json")))!.AsObject();

    public static JsonObject Conversation(string name) => Stored["conversations"]![name]!.AsObject();

    /// <summary>What differs between our rendering and the stored one, or null.</summary>
    public static string? Difference(string source, JsonObject expected, JsonNode messages, JsonNode? tools, bool prompt, JsonObject? variables)
    {
        ChatRendering rendering;
        try
        {
            var values = variables?.ToDictionary(v => v.Key, v => v.Value);
            rendering = ChatTemplate.Parse(source).Render(messages, tools, prompt, "<s>", "</s>", values, Options);
        }
        catch (LoraNetException e)
        {
            if (!e.Message.StartsWith("Chat template line ", StringComparison.Ordinal)) return $"the error names no line: {e.Message}";
            if (!expected.ContainsKey("error")) return $"ours fails, Jinja gives {expected["text"]!.ToJsonString()}\n  ours: {e.Message}";
            string message = (string)expected["message"]!;
            return (string)expected["error"]! == "TemplateError" && !e.Message.Contains(message, StringComparison.Ordinal)
                ? $"the refusal '{message}' is not in '{e.Message}'"
                : null;
        }

        if (expected.ContainsKey("error")) return $"Jinja fails ({expected["error"]}: {expected["message"]}), ours gives {Show(rendering.Text)}";
        string text = (string)expected["text"]!;
        if (text != rendering.Text) return $"\n  jinja: {Show(text)}\n  ours:  {Show(rendering.Text)}";
        string spans = expected["spans"]?.ToJsonString() ?? "[]";
        string ours = "[" + string.Join(',', rendering.GenerationSpans.Select(s => $"[{s.Start},{s.End}]")) + "]";
        return spans == ours ? null : $"spans {ours}, Jinja's {spans}";
    }

    private static string Show(string text) => JsonValue.Create(text).ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    /// <summary>Fails with every difference at once.</summary>
    public static void AssertNone(IEnumerable<(string Name, string? Difference)> cases, int atLeast)
    {
        var report = new StringBuilder();
        int count = 0, wrong = 0;
        foreach ((string name, string? difference) in cases)
        {
            count++;
            if (difference is null) continue;
            wrong++;
            report.Append(name.ReplaceLineEndings("\\n")).Append(" -> ").AppendLine(difference);
        }

        Assert.True(wrong == 0, $"{wrong} of {count} differ:\n{report}");
        Assert.True(count >= atLeast, $"only {count} cases");
    }
}
