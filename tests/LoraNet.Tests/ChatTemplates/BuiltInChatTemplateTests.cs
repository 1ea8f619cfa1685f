using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using LoraNet.ChatTemplates;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>Our own templates: their texts, and that their generation blocks agree with what prefixes say.</summary>
public class BuiltInChatTemplateTests
{
    private static JsonArray Chat(params string[] roleThenContent) =>
        [.. roleThenContent.Chunk(2).Select(m => new JsonObject { ["role"] = m[0], ["content"] = m[1] })];

    [Theory]
    [InlineData("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n[A<|im_end|>]\n<|im_start|>user\nV<|im_end|>\n", "<|im_start|>assistant\n")]
    [InlineData("llama3", "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[A<|eot_id|>]<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n")]
    [InlineData("mistral", "<s>[INST] S\n\nU [/INST][ A</s>][INST] V [/INST]", "")]
    [InlineData("gemma", "<s><start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\n[A<end_of_turn>]\n<start_of_turn>user\nV<end_of_turn>\n", "<start_of_turn>model\n")]
    [InlineData("phi3", "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\n[A<|end|>]\n<|user|>\nV<|end|>\n", "<|assistant|>\n")]
    [InlineData("zephyr", "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n[A</s>]\n<|user|>\nV</s>\n", "<|assistant|>\n")]
    [InlineData("alpaca", "<s>S\n\n### Instruction:\nU\n\n### Response:\n[A</s>]\n\n### Instruction:\nV\n\n", "### Response:\n")]
    public void Texts_and_trained_spans(string name, string marked, string prompt)
    {
        // [ ] stand around what is trained; Mistral's own brackets hold its words INST.
        string[] words = ["[INST]", "[/INST]"];
        string held = marked.Replace(words[0], "\u0001").Replace(words[1], "\u0002");
        int start = held.IndexOf('['), end = held.IndexOf(']') - 1;
        string trained = held[(start + 1)..(end + 1)];
        string text = held.Remove(end + 1, 1).Remove(start, 1).Replace("\u0001", words[0]).Replace("\u0002", words[1]);
        ChatTemplate template = BuiltInChatTemplates.Get(name);
        JsonArray chat = Chat("system", "S", "user", "U", "assistant", "A", "user", "V");
        ChatRendering rendering = template.Render(chat, bosToken: "<s>", eosToken: "</s>");
        Assert.Equal(text, rendering.Text);
        (int s, int e) = Assert.Single(rendering.GenerationSpans);
        Assert.Equal(trained, rendering.Text[s..e]);
        Assert.Equal(text + prompt, template.Render(chat, null, true, "<s>", "</s>").Text);
    }

    [Fact]
    public void Alpaca_opens_with_its_usual_words_when_there_is_no_system_message()
    {
        string text = BuiltInChatTemplates.Get("alpaca").Render(Chat("user", "Hi"), null, true).Text;
        Assert.StartsWith("Below is an instruction that describes a task.", text);
        Assert.EndsWith("\n\n### Instruction:\nHi\n\n### Response:\n", text);
    }

    [Fact]
    public void Names_are_listed_and_a_wrong_one_says_so()
    {
        Assert.Equal(7, BuiltInChatTemplates.Names.Count);
        foreach (string name in BuiltInChatTemplates.Names) Assert.True(BuiltInChatTemplates.Get(name.ToUpperInvariant()).HasGenerationBlocks);
        Assert.Contains("chatml", Assert.Throws<LoraNetException>(() => BuiltInChatTemplates.Get("nope")).Advice);
    }

    [Theory]
    [InlineData("""[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{}}}]}]""", "tool calls")]
    [InlineData("""[{"role":"user","content":[{"type":"image"}]}]""", "other than text")]
    [InlineData("""[{"role":"user","content":{"text":"a"}}]""", "string or a list")]
    public void What_they_cannot_write_they_refuse(string messages, string reason)
    {
        foreach (string name in BuiltInChatTemplates.Names)
            Assert.Contains(reason, Assert.Throws<LoraNetException>(() => BuiltInChatTemplates.Get(name).Render(JsonNode.Parse(messages)!)).Message);
        Assert.Contains("tools", Assert.Throws<LoraNetException>(() => BuiltInChatTemplates.Get("chatml").Render(Chat("user", "a"), new JsonArray(new JsonObject()))).Message);
    }

    [Fact]
    public void Text_parts_are_joined()
    {
        JsonNode parts = JsonNode.Parse("""[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]""")!;
        Assert.Equal("<|im_start|>user\nab<|im_end|>\n", BuiltInChatTemplates.Get("chatml").Render(parts).Text);
    }

    [Property(MaxTest = 100)]
    public Property Blocks_and_prefixes_agree()
    {
        Gen<string> word = Gen.Elements("a", "Hello", " x ", "\n", "ß🙂", "<|im_end|>", "{{ y }}", "it's", "[INST]", "\t", "</think>", "Zq0jXw").NonEmptyListOf().Select(string.Concat);
        Gen<string[]> contents = word.NonEmptyListOf().Select(l => l.Take(6).ToArray());
        return Prop.ForAll(contents.ToArbitrary(), turns =>
        {
            JsonArray chat = [.. turns.Append("end").SelectMany((t, i) => new[] { ("user", t), ("assistant", t + i) })
                .Select(m => new JsonObject { ["role"] = m.Item1, ["content"] = m.Item2 })];
            foreach (string name in BuiltInChatTemplates.Names)
            {
                ChatTemplate template = BuiltInChatTemplates.Get(name);
                MaskedChat blocks = ChatMasking.Apply(template, chat, bosToken: "<s>", eosToken: "</s>");
                Assert.Equal(turns.Length + 1, blocks.TrainedSpans.Count);
                ChatTemplate bare = ChatTemplate.Parse(template.Source.Replace("{%- generation %}", "").Replace("{%- endgeneration %}", ""));
                MaskedChat prefixes = ChatMasking.Apply(bare, chat, bosToken: "<s>", eosToken: "</s>");
                Assert.Equal(blocks.Text, prefixes.Text);
                Assert.Equal(blocks.TrainedSpans.Count, prefixes.TrainedSpans.Count);
                foreach (((int Start, int End) b, (int Start, int End) p) in blocks.TrainedSpans.Zip(prefixes.TrainedSpans))
                {
                    // The newline after the end-of-turn token is the prefix method's, not the blocks'.
                    Assert.Equal(b.Start, p.Start);
                    Assert.True(b.End <= p.End && string.IsNullOrWhiteSpace(blocks.Text[b.End..p.End]));
                }
            }
        });
    }
}
