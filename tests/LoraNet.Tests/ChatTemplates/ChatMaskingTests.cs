using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>The spans to train, with and without generation blocks, also where templates rewrite earlier turns.</summary>
public class ChatMaskingTests
{
    private static ChatTemplate Style(string name) => ChatTemplate.Parse((string)JinjaCases.Stored["styles"]![name]!);

    private static MaskedChat Mask(ChatTemplate template, JsonNode messages, TrainOn trainOn = TrainOn.Assistant, JsonNode? tools = null) =>
        ChatMasking.Apply(template, messages, tools, trainOn, "<s>", "</s>", null, JinjaCases.Options);

    private static string[] Spans(MaskedChat chat) => [.. chat.TrainedSpans.Select(s => chat.Text[s.Start..s.End])];

    private static string[] Spans(string style, string conversation, TrainOn trainOn = TrainOn.Assistant)
    {
        JsonObject c = JinjaCases.Conversation(conversation);
        return Spans(Mask(Style(style), c["messages"]!, trainOn, c["tools"]));
    }

    [Fact]
    public void Prefixes_give_the_turn_with_its_end()
    {
        Assert.Equal(["4<|im_end|>\n", "\n 6 \n<|im_end|>\n"], Spans("chatml", "system"));
        Assert.Equal(["4<|eot_id|>", "6<|eot_id|>"], Spans("llama3", "system"));
        Assert.Equal([" Hi there.</s>"], Spans("mistral", "turn"));
        Assert.Equal(["Hi there.<end_of_turn>\n"], Spans("gemma", "turn"));
        Assert.Equal(["4<end_of_turn>\n", "6<end_of_turn>\n"], Spans("gemma3", "system"));
        Assert.Equal(["👩‍👩‍👧 ok <|im_end|>\n"], Spans("qwen25", "unicode"));
        Assert.Equal(Enumerable.Range(0, 6).Select(i => $"a{i}<|im_end|>\n"), Spans("chatml", "long"));
    }

    [Fact]
    public void Reasoning_that_the_template_drops_from_earlier_turns_is_not_trained()
    {
        Assert.Equal(
            ["One<|im_end|>\n", "Two<|im_end|>\n", "<think>\nlast\n</think>\n\nThree<|im_end|>\n"],
            Spans("qwen3_think", "think"));
        Assert.Equal(["One<|im_end|>\n", "<think>\nwhy two\n</think>\n\nTwo<|im_end|>\n"], Spans("qwen3_think", "reasoning"));
    }

    [Fact]
    public void A_prompt_that_opens_a_thought_the_history_lacks_leaves_the_turns_own_text()
    {
        Assert.Equal(["Hi there.</s>"], Spans("deepseek", "turn"));
        Assert.Equal(["\n\nOne</s>", "\n\nTwo</s>", "\n\nThree</s>"], Spans("deepseek", "think"));
    }

    [Fact]
    public void The_end_of_the_conversation_belongs_to_the_last_turn_only()
    {
        string[] spans = Spans("phi3", "long");
        Assert.Equal("a0<|end|>\n", spans[0]);
        Assert.Equal("a4<|end|>\n", spans[4]);
        Assert.Equal("a5<|end|>\n</s>", spans[5]);
    }

    [Fact]
    public void Tool_calls_are_trained_and_tool_results_are_not()
    {
        string[] spans = Spans("qwen25", "tool_calls");
        Assert.Equal(2, spans.Length);
        Assert.Equal(
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"place\": \"Paris\", \"days\": 2, \"exact\": true, \"near\": null}}\n</tool_call>\n"
            + "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2.5}}\n</tool_call><|im_end|>\n",
            spans[0]);
        Assert.Equal("21° and 3.5<|im_end|>\n", spans[1]);

        string[] mistral = Spans("mistral_tools", "tool_text");
        Assert.StartsWith("[TOOL_CALLS] [{\"name\": \"add\"", mistral[0]);
        Assert.EndsWith("\"id\": \"abcdefghi\"}]</s>", mistral[0]);
        Assert.Equal(" Done</s>", mistral[1]);
    }

    [Fact]
    public void Tool_calls_are_placed_where_the_prompt_opens_a_thought_the_history_lacks()
    {
        ChatTemplate template = ChatTemplate.Parse("""
            {%- for m in messages %}
                {{- '<' + m.role + '>' + (m.content or '') }}
                {%- for c in m.tool_calls or [] %}{{- '[call ' + c.function.name + c.function.arguments | tojson + ']' }}{% endfor %}
                {{- '</>' }}
            {%- endfor %}
            {%- if add_generation_prompt %}{{- '<assistant><think>' }}{% endif %}
            """);
        string[] spans = Spans(Mask(template, JinjaCases.Conversation("tool_calls")["messages"]!));
        Assert.Equal(2, spans.Length);
        Assert.StartsWith("[call get_weather{\"place\": \"Paris\"", spans[0]);
        Assert.EndsWith("[call add{\"a\": 1, \"b\": 2.5}]</>", spans[0]);
        Assert.Equal("21° and 3.5</>", spans[1]);
    }

    [Fact]
    public void The_last_text_part_ends_a_turn_of_parts()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}{{ m.role }}: {% for p in m.content %}{{ p.text }} {% endfor %}{{ loop.index }}/{{ loop.length if loop.last }};{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}");
        JsonNode messages = JsonNode.Parse("""[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"text":"b"},{"text":"c"}]}]""")!;
        Assert.Equal(["b c 2/2;"], Spans(Mask(template, messages)));
    }

    [Fact]
    public void Generation_blocks_say_what_is_trained()
    {
        Assert.Equal(["4<|im_end|>", "\n 6 \n<|im_end|>"], Spans("chatml_generation", "system"));
        Assert.Equal(["\n 6 \n<|im_end|>"], Spans("chatml_generation", "system", TrainOn.Last));
        Assert.Empty(Spans("chatml_generation", "single"));
    }

    [Fact]
    public void A_generation_block_inside_a_macro_falls_back_on_prefixes()
    {
        ChatTemplate template = ChatTemplate.Parse("""
            {%- macro turn(m) %}{{ m.role }}: {% generation %}{{ m.content }};{% endgeneration %}{% endmacro %}
            {%- for m in messages %}{{ turn(m) if m.role == 'assistant' else m.role ~ ': ' ~ m.content ~ ';' }}{% endfor %}
            {%- if add_generation_prompt %}assistant: {% endif %}
            """);
        JsonNode messages = JinjaCases.Conversation("long")["messages"]!;
        Assert.False(template.Render(messages).GenerationSpansComplete);
        Assert.Equal(Enumerable.Range(0, 6).Select(i => $"a{i};"), Spans(Mask(template, messages)));
    }

    [Theory]
    [InlineData("chatml")]
    [InlineData("qwen3_think")]
    [InlineData("phi3")]
    public void Last_trains_the_last_turn_and_all_the_whole_text(string style)
    {
        string[] every = Spans(style, "long");
        Assert.Equal([every[^1]], Spans(style, "long", TrainOn.Last));
        JsonObject c = JinjaCases.Conversation("long");
        MaskedChat all = Mask(Style(style), c["messages"]!, TrainOn.All);
        Assert.Equal((0, all.Text.Length), Assert.Single(all.TrainedSpans));
    }

    [Theory]
    [InlineData("{% for m in messages|reverse %}{{ m.content }};{% endfor %}", "reversed")]
    [InlineData("{% for m in messages %}{{ m.role }}: {{ m.content }} {{ loop.revindex }};{% endfor %}", "end depends on the count")]
    [InlineData("{% for m in messages %}{{ m.content|upper }}{{ '.' if loop.last else ';' }}{% endfor %}", "changes text and end")]
    [InlineData("{% for m in messages %}{{ m.content }}{{ m.content }}{{ '.' if loop.last else ';' }}{% endfor %}", "repeats text")]
    public void A_turn_that_cannot_be_placed_is_an_error_naming_it(string source, string why)
    {
        Assert.NotEmpty(why);
        JsonNode messages = JinjaCases.Conversation("long")["messages"]!;
        var e = Assert.Throws<LoraNetException>(() => Mask(ChatTemplate.Parse(source), messages));
        Assert.Contains("message 2 of 12", e.Message);
        Assert.Contains("{% generation %}", e.Advice);
    }

    [Fact]
    public void A_separator_between_turns_is_no_part_of_them()
    {
        // The text after a turn depends on whether another follows, so its end can't be told from the prefix.
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '' if loop.last else ' | ' }}{% endfor %}{% if add_generation_prompt %} | assistant: {% endif %}");
        Assert.Equal(Enumerable.Range(0, 6).Select(i => $"a{i}"), Spans(Mask(template, JinjaCases.Conversation("long")["messages"]!)));
    }

    [Fact]
    public void The_clock_stands_still_while_prefixes_are_rendered()
    {
        int calls = 0;
        var options = new ChatRenderOptions { Clock = () => new DateTime(2024, 1, 1).AddSeconds(calls++) };
        ChatTemplate template = ChatTemplate.Parse("{{ strftime_now('%H:%M:%S') }} {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}");
        MaskedChat chat = ChatMasking.Apply(template, JinjaCases.Conversation("turn")["messages"]!, options: options);
        Assert.Equal(["Hi there.\n"], Spans(chat));
        Assert.Equal(1, calls);
    }

    [Fact]
    public void Messages_must_be_a_list() =>
        Assert.Throws<LoraNetException>(() => Mask(Style("chatml"), new JsonObject { ["role"] = "user" }));
}
