namespace LoraNet.Tokenizers;

/// <summary>
/// Hand-written equivalents of the split patterns that most byte-level models use. All of them cover the whole text:
/// every position starts a match.
/// </summary>
internal abstract class SplitScanner
{
    /// <summary>GPT-2's pattern (also ByteLevel's own).</summary>
    public const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>Llama 3's pattern: at most three digits together.</summary>
    public const string Llama3Pattern = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>Qwen's pattern: every digit alone.</summary>
    public const string QwenPattern = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>A scanner for a pattern, or null if only a regular expression can do it.</summary>
    public static SplitScanner? For(string pattern) => pattern switch
    {
        Gpt2Pattern => new Gpt2Scanner(),
        Llama3Pattern => new Cl100kScanner(3),
        QwenPattern => new Cl100kScanner(1),
        _ => null,
    };

    /// <summary>The end of the match that starts at <paramref name="at"/>.</summary>
    public abstract int Next(ReadOnlySpan<char> text, int at);

    /// <summary>The end of the run of characters that have one of the class bits.</summary>
    protected static int Run(ReadOnlySpan<char> text, int at, byte mask)
    {
        while (at < text.Length)
        {
            byte c = CharClass.Of(text[at]);
            if (c == CharClass.Surrogate)
            {
                if ((CharClass.At(text, at, out int units) & mask) == 0) return at;
                at += units;
                continue;
            }
            if ((c & mask) == 0) return at;
            at++;
        }
        return at;
    }

    /// <summary>The end of the run of characters that are neither letter nor number nor space.</summary>
    protected static int RunOther(ReadOnlySpan<char> text, int at)
    {
        const byte mask = CharClass.Letter | CharClass.Number | CharClass.Space;
        while (at < text.Length)
        {
            byte c = CharClass.At(text, at, out int units);
            if ((c & mask) != 0) return at;
            at += units;
        }
        return at;
    }

    /// <summary>The end of a match of \s+(?!\S)|\s+ in front of a run of white space.</summary>
    protected static int Spaces(ReadOnlySpan<char> text, int at, int runEnd) =>
        runEnd == text.Length || runEnd - at == 1 ? runEnd : runEnd - 1;

    /// <summary>The length of a contraction ('s 't 're 've 'm 'll 'd) at an apostrophe, or 0.</summary>
    protected static int Contraction(ReadOnlySpan<char> text, int at, bool ignoreCase)
    {
        if (at + 1 >= text.Length) return 0;
        char a = Fold(text[at + 1], ignoreCase);
        if (a is 's' or 't' or 'm' or 'd') return 2;
        if (at + 2 >= text.Length) return 0;
        char b = Fold(text[at + 2], ignoreCase);
        return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
    }

    private static char Fold(char c, bool ignoreCase)
    {
        if (!ignoreCase) return c;
        // U+017F, the long s, folds to s.
        return c == '\u017F' ? 's' : (char)(c | 0x20) is >= 'a' and <= 'z' and var lower && c < 128 ? lower : c;
    }

    private sealed class Gpt2Scanner : SplitScanner
    {
        public override int Next(ReadOnlySpan<char> text, int at)
        {
            char first = text[at];
            if (first == '\'')
            {
                int n = Contraction(text, at, ignoreCase: false);
                if (n > 0) return at + n;
            }
            int body = first == ' ' && at + 1 < text.Length ? at + 1 : at;
            byte c = CharClass.At(text, body, out int units);
            if ((c & CharClass.Letter) != 0) return Run(text, body + units, CharClass.Letter);
            if ((c & CharClass.Number) != 0) return Run(text, body + units, CharClass.Number);
            if ((c & CharClass.Space) == 0) return RunOther(text, body + units);
            return Spaces(text, at, Run(text, at, CharClass.Space));
        }
    }

    private sealed class Cl100kScanner(int digits) : SplitScanner
    {
        public override int Next(ReadOnlySpan<char> text, int at)
        {
            char first = text[at];
            if (first == '\'')
            {
                int n = Contraction(text, at, ignoreCase: true);
                if (n > 0) return at + n;
            }
            byte c = CharClass.At(text, at, out int units);
            if ((c & CharClass.Letter) != 0) return Run(text, at + units, CharClass.Letter);
            if ((c & CharClass.Number) != 0)
            {
                at += units;
                for (int k = 1; k < digits && at < text.Length && (CharClass.At(text, at, out units) & CharClass.Number) != 0; k++) at += units;
                return at;
            }
            // One character that is neither a line end nor a number may lead a word.
            if ((c & CharClass.LineEnd) == 0 && at + units < text.Length
                && (CharClass.At(text, at + units, out int more) & CharClass.Letter) != 0)
            {
                return Run(text, at + units + more, CharClass.Letter);
            }
            int body = first == ' ' && at + 1 < text.Length ? at + 1 : at;
            c = CharClass.At(text, body, out units);
            if ((c & (CharClass.Letter | CharClass.Number | CharClass.Space)) == 0)
            {
                int end = RunOther(text, body + units);
                while (end < text.Length && text[end] is ('\r' or '\n')) end++;
                return end;
            }
            int run = Run(text, at, CharClass.Space);
            int lineEnd = text[at..run].LastIndexOfAny('\r', '\n');
            return lineEnd >= 0 ? at + lineEnd + 1 : Spaces(text, at, run);
        }
    }
}
