using System.Globalization;
using System.Runtime.CompilerServices;

namespace LoraNet.Tokenizers;

/// <summary>Character classes used by the split patterns, as bits; one table for the basic plane.</summary>
internal static class CharClass
{
    public const byte Letter = 1;
    public const byte Number = 2;
    public const byte Space = 4;
    public const byte LineEnd = 8;
    public const byte Surrogate = 16;

    private static readonly byte[] s_table = Build();

    /// <summary>The class bits of a UTF-16 unit; halves of a pair give <see cref="Surrogate"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte Of(char c) => s_table[c];

    /// <summary>The class bits of the character at a position, and its length in units.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte At(ReadOnlySpan<char> text, int at, out int units)
    {
        byte c = s_table[text[at]];
        units = 1;
        return c == Surrogate ? AtPair(text, at, out units) : c;
    }

    /// <summary>White_Space of the Unicode standard, which is what Rust's is_whitespace and a pattern's \s mean.</summary>
    public static bool IsSpace(char c) => (s_table[c] & Space) != 0;

    public static bool IsSpace(int codePoint) => codePoint < 0x10000 && (s_table[codePoint] & Space) != 0;

    /// <summary>\w of Unicode patterns: alphabetic, marks, decimal digits and connectors.</summary>
    public static bool IsWord(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber
            or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation => true,
        // Other_Alphabetic symbols (circled and squared letters) and the joiners.
        _ => codePoint is (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169)
            or (>= 0x1F170 and <= 0x1F189) or 0x200C or 0x200D,
    };

    /// <summary>Any number category, as Rust's is_numeric.</summary>
    public static bool IsNumeric(int codePoint) => CharUnicodeInfo.GetUnicodeCategory(codePoint) is
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    /// <summary>Punctuation as BERT takes it: every printable ASCII symbol, and the Unicode punctuation categories.</summary>
    public static bool IsPunctuation(int codePoint)
    {
        if (codePoint < 128)
            return codePoint is (>= '!' and <= '/') or (>= ':' and <= '@') or (>= '[' and <= '`') or (>= '{' and <= '~');
        return CharUnicodeInfo.GetUnicodeCategory(codePoint) is UnicodeCategory.ConnectorPunctuation or UnicodeCategory.DashPunctuation
            or UnicodeCategory.OpenPunctuation or UnicodeCategory.ClosePunctuation or UnicodeCategory.InitialQuotePunctuation
            or UnicodeCategory.FinalQuotePunctuation or UnicodeCategory.OtherPunctuation;
    }

    private static byte AtPair(ReadOnlySpan<char> text, int at, out int units)
    {
        units = 1;
        if (!char.IsHighSurrogate(text[at]) || at + 1 >= text.Length || !char.IsLowSurrogate(text[at + 1])) return 0;
        units = 2;
        return Classify(CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(text[at], text[at + 1])));
    }

    private static byte Classify(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
            or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Number,
        UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => Space,
        UnicodeCategory.Surrogate => Surrogate,
        _ => 0,
    };

    private static byte[] Build()
    {
        var table = new byte[65536];
        for (int c = 0; c < table.Length; c++) table[c] = Classify(CharUnicodeInfo.GetUnicodeCategory((char)c));
        foreach (char c in "\t\n\v\f\r\u0085") table[c] = Space;
        table['\n'] |= LineEnd;
        table['\r'] |= LineEnd;
        return table;
    }
}
