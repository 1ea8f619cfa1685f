using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>The hand-written scanners and .NET's regular expressions must cut alike.</summary>
public class SplitScannerTests
{
    [Theory]
    [InlineData(SplitScanner.Gpt2Pattern)]
    [InlineData(SplitScanner.Llama3Pattern)]
    [InlineData(SplitScanner.QwenPattern)]
    public void Scanner_and_regex_agree(string pattern)
    {
        SplitPattern fast = SplitPattern.FromRegex(pattern, "test");
        SplitPattern general = SplitPattern.FromRegex(pattern, "test", allowScanner: false);
        Assert.NotNull(fast.Scanner);
        Assert.Null(general.Scanner);
        var random = new RandomText(7, "'\u017F", "'LL", "12345", "\r\n\r\n ", "𝟙𝟚𝟛𝟜", "𝔘𝔫");
        var a = new List<(int, int)>();
        var b = new List<(int, int)>();
        for (int i = 0; i < 5000; i++)
        {
            string text = random.Next();
            fast.FindAll(text, a);
            general.FindAll(text, b);
            Assert.Equal(b, a);
        }
    }

    [Fact]
    public void Every_character_of_unicode_is_classified_alike()
    {
        SplitPattern fast = SplitPattern.FromRegex(SplitScanner.Llama3Pattern, "test");
        SplitPattern general = SplitPattern.FromRegex(SplitScanner.Llama3Pattern, "test", allowScanner: false);
        var a = new List<(int, int)>();
        var b = new List<(int, int)>();
        for (int c = 0; c < 0x110000; c += c < 0x30000 ? 1 : 97)
        {
            if (c is >= 0xD800 and < 0xE000) continue;
            string s = char.ConvertFromUtf32(c);
            string text = $"a{s}1{s}{s}.{s} {s}b";
            fast.FindAll(text, a);
            general.FindAll(text, b);
            if (!a.SequenceEqual(b)) Assert.Fail($"U+{c:X}: {string.Join(' ', a)} but {string.Join(' ', b)}");
        }
    }

    [Fact]
    public void A_pattern_that_cannot_be_read_is_named()
    {
        LoraNetException e = Assert.Throws<LoraNetException>(() => SplitPattern.FromRegex("(unclosed", "tokenizer.json"));
        Assert.Contains("tokenizer.json", e.Message);
        Assert.Contains("(unclosed", e.Message);
    }
}
