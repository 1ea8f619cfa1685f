using System.Globalization;
using System.Text;

namespace LoraNet.Tests.Tokenizers;

/// <summary>Random strings that provoke tokenizers: words, all of Unicode, white space of every kind, special tokens, marks and emoji.</summary>
internal sealed class RandomText(int seed, params string[] extra)
{
    private static readonly string[] s_words =
    [
        "the", "The", "hello", "World", "don't", "DON'T", "I've", "we'll", "it's", "he'd", "they're", "'s", "'S", "''", "ſ", "İstanbul", "straße", "ﬁne", "naïve", "café", "Ｆｕｌｌ", "x86_64",
        "3.14159", "1234567890", "½", "²", "Ⅷ", "٣٤", "e\u0301", "n\u0303o", "日本語", "中文字符", "한국어", "조선", "ไทย", "हिन्दी", "العربية", "עברית", "Ελληνικά", "Привет", "🦙", "👩‍👩‍👧‍👦", "🇩🇪", "☀️", "𝔘𝔫𝔦", "𠀀", "𐍈",
        "http://a.b/c?d=e&f", "a@b.co", "C++", "!=", "...", "—", "“quoted”", "$9.99", "100%", "\\n", "_under_score_", "#hash", "<tag>", "[UNK]", "##ing", "▁", "Ġ",
    ];

    private static readonly string[] s_spaces = [" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00A0", "\u2003", "\u3000", "\u2028", "\v", "\u0085", "\u200B", " \n ", "\r"];

    private readonly Random _random = new(seed);
    private readonly int[] _points = Points();

    public string Next()
    {
        var b = new StringBuilder();
        int parts = _random.Next(1, 14);
        for (int i = 0; i < parts; i++)
        {
            switch (_random.Next(10))
            {
                case 0 or 1 or 2:
                    b.Append(s_words[_random.Next(s_words.Length)]);
                    break;
                case 3 or 4 or 5:
                    b.Append(s_spaces[_random.Next(s_spaces.Length)]);
                    break;
                case 6:
                    for (int k = _random.Next(1, 6); k > 0; k--) b.Append(char.ConvertFromUtf32(_points[_random.Next(_points.Length)]));
                    break;
                case 7:
                    for (int k = _random.Next(1, 9); k > 0; k--) b.Append((char)_random.Next(32, 127));
                    break;
                case 8:
                    for (int k = _random.Next(1, 5); k > 0; k--) b.Append((char)_random.Next(1, 0x250));
                    break;
                default:
                    b.Append(extra.Length > 0 ? extra[_random.Next(extra.Length)] : "x");
                    break;
            }
        }
        return b.ToString();
    }

    /// <summary>Code points that were assigned long ago: libraries differ in the Unicode version they carry, which is not our subject.</summary>
    private static int[] Points()
    {
        var points = new List<int>();
        foreach ((int from, int to) in ((int, int)[])[(0x20, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x556), (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0x93E, 0x94C), (0xE01, 0xE3A), (0x10A0, 0x10C5),
            (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x1E00, 0x1EFF), (0x1F00, 0x1F15), (0x2000, 0x2064), (0x2070, 0x2071), (0x20A0, 0x20B5), (0x2100, 0x214D), (0x2150, 0x2188), (0x2190, 0x23E0), (0x2460, 0x24FF), (0x2500, 0x26FF),
            (0x2701, 0x27BF), (0x3000, 0x303F), (0x3041, 0x3096), (0x30A1, 0x30FF), (0x3400, 0x3410), (0x4E00, 0x4FFF), (0x9000, 0x9FBB), (0xAC00, 0xAD00), (0xD700, 0xD7A3), (0xE000, 0xE010), (0xF900, 0xFA2D), (0xFB00, 0xFB06), (0xFE00, 0xFE0F),
            (0xFF01, 0xFF60), (0xFFF9, 0xFFFD), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x1D400, 0x1D454), (0x1D7CE, 0x1D7FF), (0x1F300, 0x1F320), (0x1F400, 0x1F43E), (0x1F600, 0x1F640), (0x20000, 0x20100), (0x2F800, 0x2F810), (0xE0100, 0xE0110)])
        {
            for (int c = from; c <= to; c++)
                if (CharUnicodeInfo.GetUnicodeCategory(c) != UnicodeCategory.OtherNotAssigned) points.Add(c);
        }
        return points.ToArray();
    }
}
