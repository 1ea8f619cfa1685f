using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>Ten thousand random strings a tokenizer.json, encoded and decoded, against Hugging Face's own library (native, tests only).</summary>
public class HuggingFaceAgreementTests
{
    [SharedTheory]
    [InlineData("tokenizers/gpt2/tokenizer.json", "<|endoftext|>")]
    [InlineData("tokenizers/bert/tokenizer.json", "[MASK]", "[SEP]")]
    [InlineData("tokenizers/mistral-v1/tokenizer.json", "<s>", "</s>", "<unk>", "<0x41>")]
    [InlineData("TinyStories-656K/tokenizer.json", "<|end_story|>", "there was a little girl named ", "<unk>")]
    public void Agrees_on_random_text(string file, params string[] extra) => Assert.Null(Compare(TestData.SharedPath(["data", .. file.Split('/')]), 10_000, extra));

    [Fact]
    public void Agrees_on_every_part()
    {
        string directory = Directory.CreateTempSubdirectory("loranet-tok-").FullName;
        try
        {
            string path = Path.Combine(directory, "tokenizer.json");
            var problems = new List<string>();
            foreach ((string name, byte[] json) in ComponentTests.AllCases())
            {
                File.WriteAllBytes(path, json);
                if (Compare(path, 120, ["<x>", "LOWEST", "the lowest", "newest"]) is { } problem) problems.Add($"{name}: {problem}");
            }
            Assert.True(problems.Count == 0, string.Join('\n', problems));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string? Compare(string path, int count, string[] extra)
    {
        if (!OperatingSystem.IsLinux() || System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64) return null; // the oracle is native code
        // The configuration beside the file does not exist for the oracle, so the file is read alone.
        Tokenizer ours = TokenizerLoader.FromJson(path);
        using var theirs = new global::Tokenizers.DotNet.Tokenizer(path);
        var random = new RandomText(12345, extra);
        for (int i = 0; i < count; i++)
        {
            string text = random.Next();
            uint[] want = theirs.Encode(text);
            int[] got = ours.Encode(text);
            if (!want.Select(x => (int)x).SequenceEqual(got))
                return ($"string {i}, \"{Escape(text)}\":\n  want {string.Join(' ', want)}\n  got  {string.Join(' ', got)}\n  {string.Join(" | ", got.Select(ours.TokenOf))}");
            string decoded = theirs.Decode(want);
            string mine = ours.Decode(got);
            if (decoded != mine) return ($"string {i}, \"{Escape(text)}\" decodes to\n  \"{Escape(mine)}\", not to\n  \"{Escape(decoded)}\"");
        }
        return null;
    }

    private static string Escape(string s) => string.Concat(s.Select(c => c is < ' ' or > '~' ? $"\\u{(int)c:X4}" : c.ToString()));
}
