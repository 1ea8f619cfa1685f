using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace LoraNet.Tokenizers;

/// <summary>
/// A pattern of a tokenizer file (Oniguruma or Rust syntax) that finds matches in UTF-16 text: a hand-written scanner for the usual ones,
/// a plain string search, or .NET's regular expressions. For the latter, characters beyond the basic plane are each replaced by one
/// stand-in of the same category, because .NET's classes look at UTF-16 units.
/// </summary>
internal sealed class SplitPattern
{
    // A hostile file must not hang the reader; a real pattern needs microseconds.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2);

    private const int CompileAfter = 1 << 16;

    private readonly string? _literal;
    private readonly SplitScanner? _scanner;
    private Regex? _regex;
    private int _work; // characters searched so far; compiling pays only for many
    private readonly string _source;

    private SplitPattern(string? literal, SplitScanner? scanner, Regex? regex, string source)
    {
        _literal = literal;
        _scanner = scanner;
        _regex = regex;
        _source = source;
    }

    /// <summary>The scanner, if this pattern has one: then matches cover the whole text.</summary>
    public SplitScanner? Scanner => _scanner;

    public static SplitPattern Literal(string text) => new(text, null, null, text);

    /// <param name="pattern">The pattern as the file has it.</param>
    /// <param name="source">The file, for error messages.</param>
    /// <param name="allowScanner">False forces the regular expression; tests compare the two.</param>
    public static SplitPattern FromRegex(string pattern, string source, bool allowScanner = true)
    {
        SplitScanner? scanner = allowScanner ? SplitScanner.For(pattern) : null;
        if (scanner is not null) return new SplitPattern(null, scanner, null, source);
        try
        {
            string translated = PatternTranslator.ToDotNet(pattern);
            return new SplitPattern(null, null, new Regex(translated, RegexOptions.CultureInvariant, s_limit), source);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException or InvalidOperationException or InsufficientExecutionStackException)
        {
            throw new LoraNetException($"{source}: the pattern {Vocabulary.Show(pattern)} can't be understood: {e.Message}", "Check the pattern in the tokenizer file.", e);
        }
    }

    /// <summary>Adds the (start, end) of every match, in order.</summary>
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches)
    {
        matches.Clear();
        if (_literal is not null)
        {
            if (_literal.Length == 0) return;
            int from = 0;
            while (text[from..].IndexOf(_literal, StringComparison.Ordinal) is >= 0 and int i)
            {
                matches.Add((from + i, from + i + _literal.Length));
                from += i + _literal.Length;
            }
            return;
        }
        if (_scanner is not null)
        {
            for (int at = 0; at < text.Length;)
            {
                int end = _scanner.Next(text, at);
                matches.Add((at, end));
                at = end;
            }
            return;
        }
        if (_work >= 0)
        {
            _work += text.Length;
            if (_work > CompileAfter)
            {
                _regex = new Regex(_regex!.ToString(), RegexOptions.CultureInvariant | RegexOptions.Compiled, s_limit);
                _work = int.MinValue;
            }
        }
        try
        {
            if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            {
                foreach (ValueMatch m in _regex!.EnumerateMatches(text)) matches.Add((m.Index, m.Index + m.Length));
                return;
            }
            FindInProjection(text, matches);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new LoraNetException($"{_source}: the split pattern takes too long on a text of {text.Length} characters.", "The pattern in the tokenizer file backtracks without end; use the model's original file.", e);
        }
    }

    private void FindInProjection(ReadOnlySpan<char> text, List<(int Start, int End)> matches)
    {
        char[] units = ArrayPool<char>.Shared.Rent(text.Length);
        int[] at = ArrayPool<int>.Shared.Rent(text.Length + 1);
        try
        {
            int n = 0;
            for (int i = 0; i < text.Length;)
            {
                Rune.DecodeFromUtf16(text[i..], out Rune rune, out int used);
                at[n] = i;
                units[n++] = rune.IsBmp ? (char)rune.Value : StandIn(rune.Value);
                i += used;
            }
            at[n] = text.Length;
            foreach (ValueMatch m in _regex!.EnumerateMatches(units.AsSpan(0, n))) matches.Add((at[m.Index], at[m.Index + m.Length]));
        }
        finally
        {
            ArrayPool<char>.Shared.Return(units);
            ArrayPool<int>.Shared.Return(at);
        }
    }

    /// <summary>A character of the basic plane, of the same category, that patterns don't name.</summary>
    private static char StandIn(int codePoint)
    {
        // Ideographs keep their script, for patterns that name it.
        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(codePoint);
        if (category == UnicodeCategory.OtherLetter && codePoint is >= 0x20000 and <= 0x3FFFF) return '\u4DB0';
        return category switch
        {
            UnicodeCategory.UppercaseLetter => '\u0186',
            UnicodeCategory.LowercaseLetter => '\u0254',
            UnicodeCategory.TitlecaseLetter => '\u01C5',
            UnicodeCategory.ModifierLetter => '\u02B0',
            UnicodeCategory.OtherLetter => '\u01BB',
            UnicodeCategory.NonSpacingMark => '\u0300',
            UnicodeCategory.SpacingCombiningMark => '\u0903',
            UnicodeCategory.EnclosingMark => '\u20DD',
            UnicodeCategory.DecimalDigitNumber => '\u0966',
            UnicodeCategory.LetterNumber => '\u2160',
            UnicodeCategory.OtherNumber => '\u00B2',
            UnicodeCategory.ConnectorPunctuation => '\u203F',
            UnicodeCategory.DashPunctuation => '\u2010',
            UnicodeCategory.OpenPunctuation => '\u2045',
            UnicodeCategory.ClosePunctuation => '\u2046',
            UnicodeCategory.InitialQuotePunctuation => '\u00AB',
            UnicodeCategory.FinalQuotePunctuation => '\u00BB',
            UnicodeCategory.OtherPunctuation => '\u2020',
            UnicodeCategory.MathSymbol => '\u2200',
            UnicodeCategory.CurrencySymbol => '\u20AC',
            UnicodeCategory.ModifierSymbol => '\u02C2',
            UnicodeCategory.OtherSymbol => CharClass.IsWord(codePoint) ? '\u24B6' : '\u2600',
            UnicodeCategory.Format => '\u2060',
            UnicodeCategory.PrivateUse => '\uE000',
            _ => '\u0378',
        };
    }
}
