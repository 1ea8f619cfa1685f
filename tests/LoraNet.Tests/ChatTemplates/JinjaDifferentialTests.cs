using System.Text.Json.Nodes;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>Byte for byte against Jinja2 3.1.6 set up as transformers does, failures included.</summary>
public class JinjaDifferentialTests
{
    [Fact]
    public void Styles_of_published_templates_render_as_jinja_renders_them()
    {
        JinjaCases.AssertNone(
            JinjaCases.Stored["rendered"]!.AsArray().Select(node =>
            {
                JsonObject c = node!.AsObject();
                string style = (string)c["style"]!, name = (string)c["conversation"]!;
                JsonObject conversation = JinjaCases.Conversation(name);
                string source = (string)JinjaCases.Stored["styles"]![style]!;
                string? difference = JinjaCases.Difference(source, c, conversation["messages"]!, conversation["tools"], (bool)c["prompt"]!, c["variables"]!.AsObject());
                return ($"{style}/{name}/{c["prompt"]}", difference);
            }),
            atLeast: 500);
    }

    [Fact]
    public void Constructs_behave_as_in_jinja() => AssertSnippets("constructs", atLeast: 250);

    [Fact]
    public void Random_expressions_evaluate_as_in_jinja() => AssertSnippets("expressions", atLeast: 700);

    private static void AssertSnippets(string part, int atLeast)
    {
        JsonObject conversation = JinjaCases.Conversation("tool_calls");
        JsonObject variables = JinjaCases.Stored["variables"]!.AsObject();
        JinjaCases.AssertNone(
            JinjaCases.Stored[part]!.AsArray().Select(node =>
            {
                JsonObject c = node!.AsObject();
                string source = (string)c["source"]!;
                return (source, JinjaCases.Difference(source, c, conversation["messages"]!, conversation["tools"], false, variables));
            }),
            atLeast);
    }
}
