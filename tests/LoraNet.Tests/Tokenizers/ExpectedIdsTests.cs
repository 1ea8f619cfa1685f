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
    [InlineData("bert/tokenizer.json", "bert-bge")]
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
}
