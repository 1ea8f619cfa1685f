using System.Text.Json.Nodes;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>
/// Templates as published, which are not ours to keep in the repository. $LORANET_CHAT_TEMPLATES names a folder of JSON
/// files: {"template": text, "cases": [{"messages", "tools", "prompt", "variables", and "text" or "error" with "message"}]},
/// the expected texts rendered by Jinja2 with tests/fixtures/chat_templates/environment.py.
/// </summary>
public class PublishedTemplateTests
{
    [PublishedFact]
    public void Published_templates_render_as_jinja_renders_them()
    {
        var cases = new List<(string, string?)>();
        foreach (string file in Directory.GetFiles(PublishedFactAttribute.Folder!, "*.json").Order(StringComparer.Ordinal))
        {
            JsonNode stored = JsonNode.Parse(File.ReadAllText(file))!;
            foreach (JsonNode? node in stored["cases"]!.AsArray())
            {
                JsonObject c = node!.AsObject();
                string? difference = JinjaCases.Difference(
                    (string)stored["template"]!, c, c["messages"]!, c["tools"], (bool)c["prompt"]!, c["variables"]?.AsObject());
                cases.Add(($"{Path.GetFileNameWithoutExtension(file)} {c["name"]} {c["prompt"]}", difference));
            }
        }

        JinjaCases.AssertNone(cases, atLeast: 1);
    }
}

/// <summary>A fact over published templates, reported as skipped without them.</summary>
internal sealed class PublishedFactAttribute : FactAttribute
{
    public PublishedFactAttribute()
    {
        if (!Directory.Exists(Folder)) Skip = "set LORANET_CHAT_TEMPLATES to a folder of published templates with their renderings";
    }

    public static string? Folder { get; } = Environment.GetEnvironmentVariable("LORANET_CHAT_TEMPLATES");
}
