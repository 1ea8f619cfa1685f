using System.Text.Json;
using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>Ids that other implementations gave for hard strings (llama.cpp's vocabulary tests, Google's sentencepiece).</summary>
public class ExpectedIdsTests
{
    private static string[] Inputs() =>
        File.ReadAllText(TestData.SharedPath("data", "tokenizers", "llama.cpp-expected", "all.inp")).Split("\n__ggml_vocab_test__\n");

    private static int[][] Outputs(string name) =>
        File.ReadAllText(TestData.SharedPath("data", "tokenizers", "llama.cpp-expected", name + ".out")).Split('\n')
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse).ToArray()).ToArray();

    [SharedTheory]
    [InlineData("gpt2/tokenizer.json", "gpt-2")]
    [InlineData("gpt2/vocab.json", "gpt-2")]
    [InlineData("bert/tokenizer.json", "bert-bge")]
    [InlineData("bert/vocab.txt", "bert-bge")]
    [InlineData("llama2/tokenizer.model", "llama-spm")]
    [InlineData("llama3/tokenizer.model", "llama-bpe")]
    [InlineData("qwen/qwen.tiktoken", "qwen2")]
    public void Matches_llama_cpp(string file, string expected)
    {
        Tokenizer tokenizer = Tokenizer.Load(TestData.SharedPath("data", "tokenizers", file));
        string[] inputs = Inputs();
        int[][] outputs = Outputs(expected);
        Assert.True(inputs.Length >= 46);
        for (int i = 0; i < inputs.Length; i++) Assert.Equal((i, string.Join(' ', outputs[i])), (i, string.Join(' ', tokenizer.Encode(inputs[i], addSpecialTokens: false))));
    }

    [SharedFact]
    public void TinyStories_ids_are_those_of_the_expected_values()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestData.SharedPath("data", "TinyStories-656K"));
        using JsonDocument doc = JsonDocument.Parse(File.ReadAllBytes(TestData.SharedPath("data", "expected-values.json")));
        foreach (JsonElement p in doc.RootElement.GetProperty("TinyStories-656K").GetProperty("prompts").EnumerateArray())
        {
            int[] ids = p.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32()).ToArray();
            string text = p.GetProperty("text").GetString()!;
            Assert.Equal(ids, tokenizer.Encode(text));
            Assert.Equal(text, tokenizer.Decode(ids));
        }
    }

    [SharedTheory]
    [InlineData("llama2/tokenizer.model", "llama2")]
    [InlineData("mistral-v1/tokenizer.model", "mistral-v1")]
    [InlineData("mistral-v1/tokenizer.json", "mistral-v1")]
    [InlineData("mistral-v3/tokenizer.model.v3", "mistral-v3")]
    public void Matches_sentencepiece(string file, string expected)
    {
        Tokenizer tokenizer = Tokenizer.Load(TestData.SharedPath("data", "tokenizers", file));
        using JsonDocument doc = JsonDocument.Parse(File.ReadAllBytes(TestData.SharedPath("data", "tokenizers", "expected-sentencepiece.json")));
        string[] inputs = doc.RootElement.GetProperty("cases").EnumerateArray().Select(e => e.GetString()!).ToArray();
        JsonElement outputs = doc.RootElement.GetProperty(expected);
        Assert.Equal(38, inputs.Length);
        for (int i = 0; i < inputs.Length; i++)
        {
            string want = string.Join(' ', outputs[i].EnumerateArray().Select(e => e.GetInt32()));
            Assert.Equal((i, want), (i, string.Join(' ', tokenizer.Encode(inputs[i], addSpecialTokens: false))));
        }
    }

    [SharedFact]
    public void Stories260K_ids_are_those_of_the_expected_values()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestData.SharedPath("data", "stories260K", "tok512.bin"));
        using JsonDocument doc = JsonDocument.Parse(File.ReadAllBytes(TestData.SharedPath("data", "expected-values.json")));
        int count = 0;
        foreach (JsonElement p in doc.RootElement.GetProperty("stories260K").GetProperty("prompts").EnumerateArray())
        {
            int[] ids = p.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32()).ToArray();
            string text = p.GetProperty("text").GetString()!;
            Assert.Equal(ids, tokenizer.Encode(text));
            Assert.Equal(text, tokenizer.Decode(ids));
            count++;
        }
        Assert.Equal(6, count);
    }
}
