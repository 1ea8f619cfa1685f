using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;
using LoraNet.Data;
using LoraNet.Models;

namespace LoraNet.Tests.Data;

/// <summary>Which tokens each form of row gives, and which of them are trained ([…]).</summary>
public sealed class FormTests : IDisposable
{
    private readonly DataFixture _fixture = new();
    private readonly DataFixture _chat = new(ChatMl, "<|im_end|>");

    private const string ChatMl = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    public void Dispose()
    {
        _fixture.Dispose();
        _chat.Dispose();
    }

    [Theory]
    [InlineData("""{"text":"the end"}""", "<s>[the end</s>]")]
    [InlineData("""{"text":"the end</s>"}""", "<s>[the end</s>]")]
    [InlineData("""{"text":"<s>the end"}""", "<s>[the end</s>]")]
    [InlineData("""{"prompt":"the","completion":" end"}""", "<s>the[ end</s>]")]
    [InlineData("""{"prompt":"the</s>","completion":" end</s>"}""", "<s>the[ end</s>]")]
    [InlineData("""{"prompt":"","completion":"x"}""", "<s>[x</s>]")]
    [InlineData("""{"prompt":"a","completion":""}""", "<s>a[</s>]")]
    [InlineData("""{"prompt":"a","response":"b"}""", "<s>a[b</s>]")]
    [InlineData("""{"question":"a","answer":"b"}""", "<s>a[b</s>]")]
    [InlineData("""{"instruction":"Do","output":"done"}""", "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nDo\n\n### Response:\n[done</s>]")]
    [InlineData("""{"instruction":"Do","input":"it","output":"done"}""", "<s>Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nDo\n\n### Input:\nit\n\n### Response:\n[done</s>]")]
    [InlineData("""{"instruction":"Do","input":"","output":"done","system":"Be brief.","history":[["Hi","Ho"]]}""", "<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\n[Ho</s>]\n\n### Instruction:\nDo\n\n### Response:\n[done</s>]")]
    [InlineData("""{"instruction":"Do","context":"it","response":"done","category":"x"}""", "<s>Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nDo\n\n### Input:\nit\n\n### Response:\n[done</s>]")]
    public void Text_forms(string row, string expected) => Assert.Equal(expected, _fixture.Marked("a.jsonl", row));

    [Fact]
    public void Prompt_and_completion_are_tokenised_apart()
    {
        // "th" + "e" would merge to one token if the text were tokenised as a whole.
        TokenRow row = _fixture.Load("a.jsonl", """{"prompt":"th","completion":"e"}""").Rows[0];
        Assert.Equal(4, row.InputIds.Length);
        Assert.Equal([TokenRow.Ignored, TokenRow.Ignored, row.InputIds[2], TestTokenizer.Eos], row.Labels);
    }

    [Theory]
    [InlineData("""{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}""", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]},{"role":"assistant","content":"Ho"}]}""", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]")]
    [InlineData("""{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Ho"}],"system":"S"}""", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]")]
    [InlineData("""{"conversations":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}""", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]")]
    [InlineData("""{"instruction":"Do","input":"it","output":"done"}""", "<|im_start|>user\nDo\nit<|im_end|>\n<|im_start|>assistant\n[done<|im_end|>\n]")]
    [InlineData("""{"prompt":[{"role":"user","content":"Hi"}],"completion":[{"role":"assistant","content":"Ho"}]}""", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]")]
    [InlineData("""{"prompt":"a","completion":"b"}""", "<s>a[b<|im_end|>]")]
    public void Conversations_through_the_template(string row, string expected) => Assert.Equal(expected, _chat.Marked("a.jsonl", row));

    private const string TwoTurns = """{"messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2"},{"role":"user","content":"3"},{"role":"assistant","content":"4"}]}""";

    [Theory]
    [InlineData(TrainOn.Assistant, "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n[2<|im_end|>\n]<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>\n]")]
    [InlineData(TrainOn.Last, "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>\n]")]
    [InlineData(TrainOn.All, "<|im_start|>[user\n1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n]")]
    public void Which_turns_are_trained(TrainOn trainOn, string expected) => Assert.Equal(expected, _chat.Marked("a.jsonl", TwoTurns, new DataOptions { TrainOn = trainOn }));

    private const string Weighted = """{"messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2","weight":0},{"role":"user","content":"3"},{"role":"assistant","content":"4","weight":1}]}""";

    [Theory]
    [InlineData(TrainOn.Assistant, null, "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>\n]")]
    [InlineData(TrainOn.Assistant, "chatml", "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>]\n")]
    [InlineData(TrainOn.Last, null, "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n[4<|im_end|>\n]")]
    [InlineData(TrainOn.All, null, "<|im_start|>[user\n1<|im_end|>\n<|im_start|>assistant\n]2<|im_end|>\n[<|im_start|>user\n3<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n]")]
    public void Single_turns_can_be_left_out(TrainOn trainOn, string? template, string expected)
    {
        Assert.Equal(expected, _chat.Marked("a.jsonl", Weighted, new DataOptions { TrainOn = trainOn, ChatTemplate = template }));
        string share = """{"conversations":[{"from":"human","value":"1"},{"from":"gpt","value":"2","train":false},{"from":"human","value":"3"},{"from":"gpt","value":"4"}]}""";
        Assert.Equal(expected, _chat.Marked("a.jsonl", share, new DataOptions { TrainOn = trainOn, ChatTemplate = template }));
        // A system text in front moves every message by one.
        Assert.EndsWith(trainOn == TrainOn.All ? "]2<|im_end|>\n[<|im_start|>user" + expected[(expected.IndexOf("3<", StringComparison.Ordinal) - 1)..] : expected, _chat.Marked("a.jsonl", share.Replace("{\"conversations\"", "{\"system\":\"S\",\"conversations\""), new DataOptions { TrainOn = trainOn, ChatTemplate = template }));
    }

    [Fact]
    public void All_trains_prompts_too()
    {
        DataOptions all = new() { TrainOn = TrainOn.All };
        Assert.Equal("<s>[ab</s>]", _fixture.Marked("a.jsonl", """{"prompt":"a","completion":"b"}""", all));
        const string history = """{"instruction":"Do","output":"done","system":"S","history":[["Hi","Ho"]]}""";
        Assert.Equal("<s>S\n\n### Instruction:\nHi\n\n### Response:\nHo</s>\n\n### Instruction:\nDo\n\n### Response:\n[done</s>]", _fixture.Marked("a.jsonl", history, new DataOptions { TrainOn = TrainOn.Last }));
        Assert.StartsWith("<s>[S\n", _fixture.Marked("a.jsonl", history, all));
    }

    [Fact]
    public void Templates_by_name_file_and_text()
    {
        const string row = """{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}""";
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>]\n", _fixture.Marked("a.jsonl", row, new DataOptions { ChatTemplate = "chatml" }));
        string file = _fixture.Write("t.jinja", ChatMl);
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]", _fixture.Marked("a.jsonl", row, new DataOptions { ChatTemplate = file }));
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]", _fixture.Marked("a.jsonl", row, new DataOptions { ChatTemplate = ChatMl }));
        Assert.Contains("--chat-template", _fixture.Fails("a.jsonl", row));
        Assert.Contains("no built-in chat template named 'nope'", Assert.Throws<LoraNetException>(() => _fixture.Load("a.jsonl", row, new DataOptions { ChatTemplate = "nope" })).Message);
    }

    [Fact]
    public void A_template_that_writes_bos_gives_one()
    {
        using DataFixture fixture = new("<s>" + ChatMl);
        DataSet set = fixture.Load("a.jsonl", """{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}""");
        Assert.Equal([TestTokenizer.Bos, TestTokenizer.Start], set.Rows[0].InputIds[..2]);
        Assert.Equal(0, set.Report.DoubledBos);
        set = fixture.Load("a.jsonl", """{"text":"<s>Hi"}""");
        Assert.Equal(1, set.Report.DoubledBos);
        Assert.EndsWith("a.jsonl, line 1", set.Report.DoubledBosPlaces[0]);
        Assert.Equal([TestTokenizer.Bos], set.Rows[0].InputIds.Where(i => i == TestTokenizer.Bos));
    }

    [Fact]
    public void A_token_across_the_edge_of_an_answer_is_an_error()
    {
        // "\nA" is one token of this vocabulary: the line break before the answer and its first letter.
        const string row = """{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"A"}]}""";
        string message = _chat.Fails("a.jsonl", "\n" + row);
        Assert.Contains("line 2, answer 1: the token \"\\nA\" stands across the edge", message);
        Assert.Contains("assistant\\n\" | \"A<|im_end|>", message);
        TokenRow split = _chat.Load("a.jsonl", row, new DataOptions { SplitStraddlingTokens = true }).Rows[0];
        Assert.Equal("A<|im_end|>\n", _chat.Tokenizer.Decode([.. split.Labels.Where(l => l != TokenRow.Ignored)], false));
    }

    [Fact]
    public void Tool_calls_reach_the_template_as_objects()
    {
        using DataFixture fixture = new("{% for m in messages %}<|im_start|>{{ m.role }}:{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments.x }}{% endfor %}{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}{% if tools %}{% endif %}");
        const string calls = """{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"x\": 5}"}}]},{"role":"tool","content":"6"},{"role":"assistant","content":"six"}],"tools":"[{\"name\":\"f\"}]"}""";
        const string expected = "<|im_start|>user:Hi<|im_end|><|im_start|>assistant:[f5<|im_end|>]<|im_start|>tool:6<|im_end|><|im_start|>assistant:[six<|im_end|>]";
        Assert.Equal(expected, fixture.Marked("a.jsonl", calls));
        const string share = """{"conversations":[{"from":"human","value":"Hi"},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{\"x\":5}}"},{"from":"observation","value":"6"},{"from":"gpt","value":"six"}]}""";
        Assert.Equal(expected, fixture.Marked("a.jsonl", share));
    }

    [Fact]
    public void Token_rows_are_taken_as_they_are()
    {
        DataSet set = DataSet.Load(_fixture.Write("a.jsonl", """
            {"input_ids":[1,1,7],"labels":[-100,5,6],"attention_mask":[1,1,0]}
            {"input_ids":[8,9]}
            """), null);
        Assert.Equal([1, 1, 7], set.Rows[0].InputIds);
        Assert.Equal([-100, 5, 6], set.Rows[0].Labels);
        Assert.Equal([1, 1, 0], set.Rows[0].AttentionMask!);
        Assert.Equal([8, 9], set.Rows[1].Labels);
        Assert.Null(set.Rows[1].AttentionMask);
        Assert.Equal(1, _fixture.Load("a.jsonl", """{"input_ids":[1,1,7]}""").Report.DoubledBos);
    }

    [Fact]
    public void Rows_of_several_forms_are_counted()
    {
        DataSet set = _fixture.Load("a.jsonl", """
            {"text":"a"}
            {"prompt":"b","completion":"c"}
            {"input_ids":[5,6]}
            {"text":"d"}
            """);
        Assert.Equal(new Dictionary<DataForm, int> { [DataForm.Text] = 2, [DataForm.PromptCompletion] = 1, [DataForm.Tokens] = 1 }, set.Report.Forms);
        Assert.Contains(set.Report.Warnings, w => w.Contains("several forms"));
    }

    [Theory]
    [InlineData("""{"txt":"a","n":1}""", "no known form; the row's keys are txt, n")]
    [InlineData("""{"text":null}""", "the row's keys are text (null)")]
    [InlineData("{}", "the row's keys are none")]
    [InlineData("""{"prompt":"a","chosen":"b","rejected":"c"}""", "a row of preferences")]
    [InlineData("""{"text":"a","label":1}""", "a row with a label is for a classifier")]
    [InlineData("""{"text":1}""", "'text' must be a string, but is 1")]
    [InlineData("""{"prompt":"a","completion":["b"]}""", "'completion' must be a string")]
    [InlineData("""{"input_ids":[1,2],"labels":[1]}""", "input_ids has 2 entries, labels 1")]
    [InlineData("""{"input_ids":[1,2.5]}""", "entry 1 is 2.5")]
    [InlineData("""{"input_ids":[1,-2]}""", "input_ids[1] is -2")]
    [InlineData("""{"input_ids":[1,99999999999]}""", "entry 1 is 99999999999")]
    [InlineData("""{"input_ids":"1 2"}""", "'input_ids' must be a list")]
    [InlineData("""{"messages":"hello"}""", "'messages' is text but no JSON")]
    [InlineData("""{"messages":[]}""", "'messages' is empty")]
    [InlineData("""{"messages":[{"content":"x"}]}""", "messages[0] has no role")]
    [InlineData("""{"messages":[{"role":"user"}]}""", "messages[0] has no content")]
    [InlineData("""{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}""", "a part that is no text")]
    [InlineData("""{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}""", "it has no trained turn of the assistant")]
    [InlineData("""{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0.5}]}""", "messages[1]: weight must be 0 or 1")]
    [InlineData("""{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":1}]}""", "messages[1]: train must be true or false")]
    [InlineData("""{"messages":[{"role":"user","content":"x"}]}""", "it has no trained turn of the assistant")]
    [InlineData("""{"conversations":[{"from":"alien","value":"x"}]}""", "'from' is 'alien'")]
    [InlineData("""{"instruction":"a","output":"b","history":[["x"]]}""", "list of pairs")]
    [InlineData("""{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"user","content":"b"}]}""", "must be one message of the assistant")]
    public void Faults_are_named_with_the_line(string row, string expected)
    {
        string message = _chat.Fails("a.jsonl", "{\"text\":\"fine\"}\n" + row);
        Assert.Contains(expected, message);
        Assert.Contains("line 2", message);
    }

    [Fact]
    public void Columns_can_be_renamed()
    {
        DataOptions options = new() { Columns = new Dictionary<string, string> { ["in"] = "prompt", ["out"] = "completion" } };
        Assert.Equal("<s>a[b</s>]", _fixture.Marked("a.csv", "in,out\na,b\n", options));
        Assert.Contains("has a 'prompt' too", _fixture.Fails("b.jsonl", """{"in":"a","prompt":"c","out":"b"}""", options));
    }

    [Fact]
    public void Csv_cells_hold_structures_as_json()
    {
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Ho<|im_end|>\n]",
            _chat.Marked("a.csv", "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"Hi\"\"},{\"\"role\"\":\"\"assistant\"\",\"\"content\"\":\"\"Ho\"\"}]\"\n"));
        Assert.Equal([5, 6], _chat.Load("b.csv", "input_ids,labels\n\"[5, 6]\",\n").Rows[0].InputIds);
    }

    [Fact]
    public void Template_variables_reach_the_template()
    {
        DataOptions options = new() { ChatTemplate = "{{ greeting }}{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}", TrainOn = TrainOn.All, TemplateVariables = new Dictionary<string, JsonNode?> { ["greeting"] = "Yo" } };
        Assert.Equal("Y[o<|im_start|>Hi]", _fixture.Marked("a.jsonl", """{"messages":[{"role":"user","content":"Hi"}]}""", options));
    }

    [Fact]
    public void AColumnNamesEachRowsAdapter()
    {
        using DataFixture fixture = new();
        string text = """
            {"text":"hello","task":"a"}
            {"prompt":"hello","completion":"world","task":"__base__"}
            {"text":"hello"}
            """;
        Assert.Equal(["a", "__base__", null], fixture.Load("rows.jsonl", text, new DataOptions { AdapterColumn = "task", CacheDirectory = fixture.Folder }).Rows.Select(r => r.Adapter));
        Assert.All(fixture.Load("rows.jsonl", text).Rows, r => Assert.Null(r.Adapter));
        Assert.Contains("'task' must be a string", fixture.Fails("bad.jsonl", """{"text":"hello","task":1}""", new DataOptions { AdapterColumn = "task" }));
    }
}
