using System.Globalization;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// Rewrites a pattern from Oniguruma's (Ruby) or Rust's syntax to .NET's: possessive quantifiers become atomic groups, \h a digit class,
/// script names ranges, \x{...} a unit. What .NET writes the same way is left alone.
/// </summary>
internal static class PatternTranslator
{
    // Oniguruma's word characters: alphabetic, marks, decimal digits, connectors, and (Latin-1 has a table of its own) ² ³ ¹ ¼ ½ ¾; .NET's lack some.
    private const string Word = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u00B2\u00B3\u00B9\u00BC-\u00BE\u24B6-\u24E9";

    public static string ToDotNet(string pattern)
    {
        var output = new StringBuilder(pattern.Length + 16);
        int atom = -1; // where the last complete item starts in the output
        var groups = new Stack<int>();
        int foldDepth = -1; // the depth of the outermost group that ignores case
        for (int i = 0; i < pattern.Length;)
        {
            char c = pattern[i];
            switch (c)
            {
                case '\\':
                    atom = output.Length;
                    i = Escape(pattern, i, output, inClass: false);
                    break;
                case '[':
                    atom = output.Length;
                    i = Class(pattern, i, output, 0);
                    break;
                case '(':
                    groups.Push(output.Length);
                    if (foldDepth < 0 && pattern.AsSpan(i).StartsWith("(?i:", StringComparison.Ordinal)) foldDepth = groups.Count;
                    atom = -1;
                    output.Append(c);
                    i++;
                    break;
                case ')':
                    if (groups.Count == foldDepth) foldDepth = -1;
                    atom = groups.Count > 0 ? groups.Pop() : -1;
                    output.Append(c);
                    i++;
                    break;
                case '*' or '+' or '?' or '{' when atom >= 0 && Quantifier(pattern, i) is int end && end > i:
                    // "++" and "?+" are possessive; behind an interval "+" is a second quantifier in Ruby but possessive elsewhere: the same matches.
                    output.Append(pattern, i, end - i);
                    i = end;
                    if (i < pattern.Length && pattern[i] == '+')
                    {
                        output.Insert(atom, "(?>").Append(')');
                        i++;
                    }
                    else if (i < pattern.Length && pattern[i] == '?')
                    {
                        output.Append('?');
                        i++;
                    }
                    break;
                case 's' or 'S' when foldDepth >= 0:
                    // Unicode's case folding, which .NET does not follow here, makes the long s an s.
                    atom = output.Length;
                    output.Append(@"[s\u017F]");
                    i++;
                    break;
                default:
                    atom = output.Length;
                    output.Append(c);
                    i++;
                    break;
            }
        }
        return output.ToString();
    }

    private static int Quantifier(string p, int i)
    {
        if (p[i] != '{') return i + 1;
        int close = p.IndexOf('}', i);
        if (close < 0 || close == i + 1) return i;
        for (int k = i + 1; k < close; k++)
            if (!char.IsAsciiDigit(p[k]) && p[k] != ',') return i;
        return close + 1;
    }

    private static int Class(string p, int i, StringBuilder output, int depth)
    {
        if (depth > 4) throw new NotSupportedException("character classes are nested too deeply");
        output.Append('[');
        i++;
        if (i < p.Length && p[i] == '^')
        {
            output.Append('^');
            i++;
        }
        bool first = true;
        while (i < p.Length)
        {
            char c = p[i];
            if (c == ']' && !first)
            {
                output.Append(']');
                return i + 1;
            }
            first = false;
            if (c == '\\')
            {
                i = Escape(p, i, output, inClass: true);
            }
            else if (c == '[')
            {
                if (i + 1 < p.Length && p[i + 1] == ':') throw new NotSupportedException("POSIX classes such as [[:alpha:]] are not supported");
                // A nested class is a union; only a positive one can be written without brackets.
                if (i + 1 < p.Length && p[i + 1] == '^') throw new NotSupportedException("a negated class inside a class is not supported");
                var inner = new StringBuilder();
                i = Class(p, i, inner, depth + 1);
                output.Append(inner, 1, inner.Length - 2);
            }
            else if (c == '&' && i + 1 < p.Length && p[i + 1] == '&')
            {
                throw new NotSupportedException("an intersection of classes (&&) is not supported");
            }
            else
            {
                output.Append(c);
                i++;
            }
        }
        throw new ArgumentException("a character class is not closed");
    }

    private static int Escape(string p, int i, StringBuilder output, bool inClass)
    {
        if (i + 1 >= p.Length) throw new ArgumentException("the pattern ends in a backslash");
        char c = p[i + 1];
        switch (c)
        {
            case 'h':
                output.Append(inClass ? "0-9a-fA-F" : "[0-9a-fA-F]");
                return i + 2;
            case 'b' or 'B' when !inClass:
                output.Append(c == 'b' ? $"(?:(?<=[{Word}])(?![{Word}])|(?<![{Word}])(?=[{Word}]))" : $"(?:(?<=[{Word}])(?=[{Word}])|(?<![{Word}])(?![{Word}]))");
                return i + 2;
            case 'w' or 'W':
                if (inClass && c == 'W') output.Append("\\W");
                else output.Append(inClass ? Word : c == 'W' ? $"[^{Word}]" : $"[{Word}]");
                return i + 2;
            case 'p' or 'P' when i + 2 < p.Length && p[i + 2] == '{':
                int close = p.IndexOf('}', i);
                if (close < 0) throw new ArgumentException("\\p{ is not closed");
                Property(p[(i + 3)..close], c == 'P', inClass, output);
                return close + 1;
            case 'p' or 'P' when i + 2 < p.Length:
                Property(p[i + 2].ToString(), c == 'P', inClass, output);
                return i + 3;
            case 'x' or 'u' when i + 2 < p.Length && p[i + 2] == '{':
                int end = p.IndexOf('}', i);
                if (end < 0 || !int.TryParse(p.AsSpan(i + 3, end - i - 3), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) || value > 0xFFFF)
                    throw new NotSupportedException($"the escape {p[i..Math.Min(p.Length, i + 12)]} is not supported");
                output.Append("\\u").Append(value.ToString("X4", CultureInfo.InvariantCulture));
                return end + 1;
            case '/' or '\'' or '"' or '-' or '<' or '>' or '!' or ':' or ',' or '=' or '~' or '@' or '%' or '&' or ';' or '`' or '_':
                if (c is '<' or '>' or '_' || !inClass && c != '-') output.Append(c == '_' ? "_" : c.ToString());
                else output.Append('\\').Append(c);
                return i + 2;
            case 'z' when !inClass:
                output.Append("\\z");
                return i + 2;
            default:
                output.Append('\\').Append(c);
                return i + 2;
        }
    }

    private static void Property(string name, bool negated, bool inClass, StringBuilder output)
    {
        if (name.StartsWith('^'))
        {
            negated = !negated;
            name = name[1..];
        }
        string? ranges = name switch
        {
            "Han" or "Script=Han" or "script=Han" => @"\u2E80-\u2E99\u2E9B-\u2EF3\u2F00-\u2FD5\u3005\u3007\u3021-\u3029\u3038-\u303B\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFA6D\uFA70-\uFAD9",
            "Hiragana" => @"\u3041-\u3096\u309D-\u309F",
            "Katakana" => @"\u30A1-\u30FA\u30FD-\u30FF\u31F0-\u31FF\u32D0-\u32FE\u3300-\u3357\uFF66-\uFF6F\uFF71-\uFF9D",
            "Hangul" => @"\u1100-\u11FF\u302E-\u302F\u3131-\u318E\u3200-\u321E\u3260-\u327E\uA960-\uA97C\uAC00-\uD7A3\uD7B0-\uD7C6\uD7CB-\uD7FB\uFFA0-\uFFBE\uFFC2-\uFFC7\uFFCA-\uFFCF\uFFD2-\uFFD7\uFFDA-\uFFDC",
            "Thai" => @"\u0E01-\u0E3A\u0E40-\u0E5B",
            _ => null,
        };
        if (ranges is null)
        {
            string category = name switch
            {
                "Letter" => "L",
                "Mark" => "M",
                "Number" => "N",
                "Punctuation" => "P",
                "Symbol" => "S",
                "Separator" => "Z",
                _ => name,
            };
            output.Append(negated ? "\\P{" : "\\p{").Append(category).Append('}');
            return;
        }
        if (inClass && negated) throw new NotSupportedException($"\\P{{{name}}} inside a class is not supported");
        if (inClass) output.Append(ranges);
        else output.Append(negated ? "[^" : "[").Append(ranges).Append(']');
    }
}
