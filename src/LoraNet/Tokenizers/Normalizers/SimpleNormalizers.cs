using System.Globalization;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>Puts a string in front of a text that is not empty; it shares the first character's range.</summary>
internal sealed class PrependNormalizer(string prefix) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text) => text.Length == 0 ? text : Prepend(text, 0, text.Length, prefix);

    public static TextBuffer Prepend(TextBuffer text, int start, int length, string prefix)
    {
        var b = new TextBuilder(length + prefix.Length, text.Tracks);
        int from = text.OriginalStart(start);
        int to = text.OriginalEnd(start);
        b.Add(prefix, from, to);
        b.Copy(text, start, start + length);
        return b.Build();
    }
}

/// <summary>Puts a string behind a text that is not empty; it shares the last character's range.</summary>
internal sealed class AppendNormalizer(string suffix) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        if (text.Length == 0) return text;
        var b = new TextBuilder(text.Length + suffix.Length, text.Tracks);
        b.Copy(text, 0, text.Length);
        TokenSpan last = b.LastOriginal(text.Shift);
        b.Add(suffix, last.Start, last.End);
        return b.Build();
    }
}

/// <summary>Replaces every match of a pattern.</summary>
internal sealed class ReplaceNormalizer(SplitPattern pattern, string content, char single = '\0') : ITextNormalizer
{
    [ThreadStatic]
    private static List<(int Start, int End)>? t_matches;

    /// <summary>A replacement of one character by one other, the commonest, needs no new alignments.</summary>
    public static ReplaceNormalizer ForString(string from, string to) =>
        new(SplitPattern.Literal(from), to, from.Length == 1 && to.Length == 1 ? from[0] : '\0');

    public TextBuffer Normalize(TextBuffer text) => Replace(text, 0, text.Length);

    public TextBuffer Replace(TextBuffer text, int start, int length)
    {
        ReadOnlySpan<char> s = text.Span.Slice(start, length);
        if (single != '\0') return s.Contains(single) ? text.Map(start, length, single, content[0]) : text.Slice(start, length);
        List<(int Start, int End)> matches = t_matches ??= [];
        pattern.FindAll(s, matches);
        if (matches.Count == 0) return text.Slice(start, length);
        var b = new TextBuilder(length, text.Tracks);
        int from = 0;
        foreach ((int at, int end) in matches)
        {
            b.Copy(text, start + from, start + at);
            // Like Hugging Face's library: the new characters share the range of the last one they replace.
            TokenSpan span = end > at ? text.Original(start + end - 1, start + end) : b.LastOriginal(text.Shift);
            b.Add(content, span.Start, span.End);
            from = end;
        }
        b.Copy(text, start + from, start + length);
        matches.Clear();
        return b.Build();
    }
}

/// <summary>Removes white space at either end.</summary>
internal sealed class StripNormalizer(bool left, bool right) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        ReadOnlySpan<char> s = text.Span;
        int start = 0;
        int end = s.Length;
        if (left) while (start < end && CharClass.IsSpace(s[start])) start++;
        if (right) while (end > start && CharClass.IsSpace(s[end - 1])) end--;
        return text.Slice(start, end - start);
    }
}

/// <summary>Works code point by code point; a rune may be kept, dropped or replaced.</summary>
internal abstract class RuneNormalizer : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        ReadOnlySpan<char> s = text.Span;
        int from = FirstChange(s);
        if (from < 0) return text;
        var b = new TextBuilder(text.Length, text.Tracks);
        b.Copy(text, 0, from);
        for (int i = from; i < s.Length;)
        {
            Rune.DecodeFromUtf16(s[i..], out Rune rune, out int units);
            TokenSpan span = text.Original(i, i + units);
            Apply(rune.Value, span, b);
            i += units;
        }
        return b.Build();
    }

    /// <summary>The first unit that may change, or -1 if nothing does.</summary>
    protected virtual int FirstChange(ReadOnlySpan<char> text) => 0;

    protected abstract void Apply(int codePoint, TokenSpan span, TextBuilder output);
}

/// <summary>Lower case by the Unicode standard's full mappings, without regard to context or language.</summary>
internal sealed class LowercaseNormalizer : RuneNormalizer
{
    protected override int FirstChange(ReadOnlySpan<char> text)
    {
        for (int i = 0; i < text.Length; i++)
            if (text[i] > 127 || (uint)(text[i] - 'A') <= 'Z' - 'A') return i;
        return -1;
    }

    protected override void Apply(int codePoint, TokenSpan span, TextBuilder output) => Lower(codePoint, span, output);

    public static void Lower(int codePoint, TokenSpan span, TextBuilder output)
    {
        if (codePoint < 128)
        {
            output.Add((uint)(codePoint - 'A') <= 'Z' - 'A' ? (char)(codePoint | 0x20) : (char)codePoint, span.Start, span.End);
            return;
        }
        if (codePoint == 0x130)
        {
            // The only character whose lower case is longer.
            output.Add('i', span.Start, span.End);
            output.Add('\u0307', span.Start, span.End);
            return;
        }
        output.AddCodePoint(Rune.ToLowerInvariant(new Rune(codePoint)).Value, span.Start, span.End);
    }
}

/// <summary>Drops combining marks (categories Mn, Mc and Me).</summary>
internal sealed class StripAccentsNormalizer : RuneNormalizer
{
    protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
    {
        if (CharUnicodeInfo.GetUnicodeCategory(codePoint) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark) return;
        output.AddCodePoint(codePoint, span.Start, span.End);
    }
}

/// <summary>The clean-up of Google's machine translation models: control characters go, odd white space becomes a space.</summary>
internal sealed class NmtNormalizer : RuneNormalizer
{
    protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
    {
        switch (codePoint)
        {
            case (>= 0x01 and <= 0x08) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or 0x8F or 0x9F:
                return;
            case 0x09 or 0x0A or 0x0C or 0x0D or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD:
                output.Add(' ', span.Start, span.End);
                return;
            default:
                output.AddCodePoint(codePoint, span.Start, span.End);
                return;
        }
    }
}

/// <summary>Spells the text in the byte alphabet, as the ByteLevel normalizer does.</summary>
internal sealed class ByteLevelNormalizer : RuneNormalizer
{
    protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int n = new Rune(codePoint).EncodeToUtf8(utf8);
        for (int i = 0; i < n; i++) output.Add(ByteAlphabet.CharOf(utf8[i]), span.Start, span.End);
    }
}
