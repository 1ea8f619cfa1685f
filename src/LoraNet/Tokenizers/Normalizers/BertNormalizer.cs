using System.Globalization;

namespace LoraNet.Tokenizers;

/// <summary>
/// BERT's clean-up: control characters go, white space becomes a space, ideographs get spaces around them,
/// accents are stripped and letters lowered on request (Devlin et al. 2018, the released tokenization).
/// </summary>
internal sealed class BertNormalizer(bool cleanText, bool handleChinese, bool stripAccents, bool lowercase) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        if (cleanText) text = CleanText.Instance.Normalize(text);
        if (handleChinese) text = SpaceIdeographs.Instance.Normalize(text);
        if (stripAccents) text = DropMarks.Instance.Normalize(UnicodeNormalizer.Nfd.Normalize(text));
        if (lowercase) text = new LowercaseNormalizer().Normalize(text);
        return text;
    }

    private sealed class CleanText : RuneNormalizer
    {
        public static readonly CleanText Instance = new();

        protected override int FirstChange(ReadOnlySpan<char> text) => text.IndexOfAnyExceptInRange(' ', '~');

        protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
        {
            if (codePoint is >= ' ' and <= '~')
            {
                output.Add((char)codePoint, span.Start, span.End);
                return;
            }
            if (codePoint is 0 or 0xFFFD || IsControl(codePoint)) return;
            if (CharClass.IsSpace(codePoint)) output.Add(' ', span.Start, span.End);
            else output.AddCodePoint(codePoint, span.Start, span.End);
        }

        private static bool IsControl(int codePoint) => codePoint is not ('\t' or '\n' or '\r')
            && CharUnicodeInfo.GetUnicodeCategory(codePoint) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse
                or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate;
    }

    private sealed class SpaceIdeographs : RuneNormalizer
    {
        public static readonly SpaceIdeographs Instance = new();

        protected override int FirstChange(ReadOnlySpan<char> text) => text.IndexOfAnyInRange('\u3400', '\uFAFF');

        protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
        {
            bool ideograph = codePoint is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF)
                or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF)
                or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);
            if (ideograph) output.Add(' ', span.Start, span.End);
            output.AddCodePoint(codePoint, span.Start, span.End);
            if (ideograph) output.Add(' ', span.Start, span.End);
        }
    }

    private sealed class DropMarks : RuneNormalizer
    {
        public static readonly DropMarks Instance = new();

        protected override int FirstChange(ReadOnlySpan<char> text) => text.IndexOfAnyExceptInRange('\0', '\u02FF');

        protected override void Apply(int codePoint, TokenSpan span, TextBuilder output)
        {
            if (CharUnicodeInfo.GetUnicodeCategory(codePoint) != UnicodeCategory.NonSpacingMark) output.AddCodePoint(codePoint, span.Start, span.End);
        }
    }
}
