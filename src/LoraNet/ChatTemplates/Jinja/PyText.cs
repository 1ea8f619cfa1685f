using System.Globalization;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Python's view of text: positions count code points, not UTF-16 units, and white space and case follow Python.</summary>
internal static class PyText
{
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static bool IsLineBreak(char c) => c is '\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029';

    public static bool HasSurrogates(string s) => s.AsSpan().IndexOfAnyInRange('\ud800', '\udfff') >= 0;

    public static int Length(string s)
    {
        if (!HasSurrogates(s)) return s.Length;
        int n = 0;
        for (int i = 0; i < s.Length; i += Step(s, i)) n++;
        return n;
    }

    /// <summary>The code points, each as text.</summary>
    public static string[] Points(string s)
    {
        var points = new string[Length(s)];
        for (int i = 0, n = 0; i < s.Length; n++)
        {
            int step = Step(s, i);
            points[n] = step == 1 ? Char(s[i]) : s.Substring(i, step);
            i += step;
        }

        return points;
    }

    public static int Step(string s, int i) => char.IsHighSurrogate(s[i]) && i + 1 < s.Length && char.IsLowSurrogate(s[i + 1]) ? 2 : 1;

    /// <summary>The code-point position of a UTF-16 position.</summary>
    public static int PointIndex(string s, int utf16) => Length(s[..utf16]);

    /// <summary>Orders by code points; UTF-16 order differs where surrogates meet U+E000 and above.</summary>
    public static int Compare(string a, string b)
    {
        if (!HasSurrogates(a) && !HasSurrogates(b)) return string.CompareOrdinal(a, b);
        int n = Math.Min(a.Length, b.Length);
        for (int i = 0; i < n; i++)
        {
            if (a[i] == b[i]) continue;
            bool x = char.IsSurrogate(a[i]), y = char.IsSurrogate(b[i]);
            return x == y ? a[i].CompareTo(b[i]) : x ? 1 : -1;
        }

        return a.Length.CompareTo(b.Length);
    }

    public static string Strip(string s, string? chars, bool left, bool right)
    {
        int start = 0, end = s.Length;
        if (chars is not null && HasSurrogates(chars))
        {
            var set = new HashSet<string>(Points(chars));
            string[] points = Points(s);
            int from = 0, to = points.Length;
            while (left && from < to && set.Contains(points[from])) from++;
            while (right && to > from && set.Contains(points[to - 1])) to--;
            return string.Concat(points[from..to]);
        }

        while (left && start < end && Strips(s[start], chars)) start++;
        while (right && end > start && Strips(s[end - 1], chars)) end--;
        return s[start..end];
    }

    private static bool Strips(char c, string? chars) => chars is null ? IsSpace(c) : chars.Contains(c);

    public static List<string> SplitLines(string s, bool keepEnds)
    {
        var lines = new List<string>();
        int start = 0;
        for (int i = 0; i < s.Length; i++)
        {
            if (!IsLineBreak(s[i])) continue;
            int end = i;
            if (s[i] == '\r' && i + 1 < s.Length && s[i + 1] == '\n') i++;
            lines.Add(s[start..(keepEnds ? i + 1 : end)]);
            start = i + 1;
        }

        if (start < s.Length) lines.Add(s[start..]);
        return lines;
    }

    public static string Upper(string s)
    {
        string up = s.ToUpperInvariant();
        foreach ((string from, string to) in s_upperSpecial)
            if (up.Contains(from, StringComparison.Ordinal)) up = up.Replace(from, to, StringComparison.Ordinal);
        return up;
    }

    // Letters whose capital form is more than one letter.
    private static readonly (string, string)[] s_upperSpecial =
    [
        ("ß", "SS"), ("ŉ", "ʼN"), ("ǰ", "J̌"), ("ΐ", "Ϊ́"), ("ΰ", "Ϋ́"), ("և", "ԵՒ"),
        ("ﬀ", "FF"), ("ﬁ", "FI"), ("ﬂ", "FL"), ("ﬃ", "FFI"), ("ﬄ", "FFL"), ("ﬅ", "ST"), ("ﬆ", "ST"),
    ];

    public static string Lower(string s)
    {
        string low = s.ToLowerInvariant();
        if (s.Contains('İ')) low = s.Replace("İ", "i̇", StringComparison.Ordinal).ToLowerInvariant();
        if (!s.Contains('Σ')) return low;

        // A capital sigma that ends a word becomes the final form.
        var result = new StringBuilder(low);
        string src = s.Replace("İ", "i̇", StringComparison.Ordinal);
        for (int i = 0; i < src.Length; i++)
            if (src[i] == 'Σ' && i > 0 && char.IsLetter(src[i - 1]) && (i + 1 == src.Length || !char.IsLetter(src[i + 1]))) result[i] = 'ς';
        return result.ToString();
    }

    public static string Capitalize(string s)
    {
        if (s.Length == 0) return s;
        int step = Step(s, 0);
        return TitleOf(s[..step]) + Lower(s)[step..];
    }

    /// <summary>Python's str.title: a capital after anything that is not a letter.</summary>
    public static string Title(string s)
    {
        var result = new StringBuilder(s.Length);
        bool inWord = false;
        for (int i = 0; i < s.Length;)
        {
            int step = Step(s, i);
            string point = s.Substring(i, step);
            bool cased = Upper(point) != point || Lower(point) != point;
            result.Append(!cased ? point : inWord ? Lower(point) : TitleOf(point));
            inWord = cased;
            i += step;
        }

        return result.ToString();
    }

    private static string TitleOf(string point) => point switch
    {
        "ß" => "Ss",
        _ => Upper(point) is { Length: > 1 } up && point.Length == 1 ? up[..1] + Lower(up[1..]) : Upper(point),
    };

    public static bool IsPrintable(int codePoint)
    {
        if (codePoint == ' ') return true;
        return CharUnicodeInfo.GetUnicodeCategory(codePoint) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate
            or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator
            or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);
    }

    /// <summary>Python's repr of a string: single quotes unless the text has only single ones.</summary>
    public static void AppendRepr(StringBuilder to, string s)
    {
        char quote = s.Contains('\'') && !s.Contains('"') ? '"' : '\'';
        to.Append(quote);
        for (int i = 0; i < s.Length;)
        {
            int step = Step(s, i);
            char c = s[i];
            int point = step == 2 ? char.ConvertToUtf32(s, i) : c;
            if (c == quote || c == '\\') to.Append('\\').Append(c);
            else if (c == '\n') to.Append("\\n");
            else if (c == '\r') to.Append("\\r");
            else if (c == '\t') to.Append("\\t");
            else if (IsPrintable(point)) to.Append(s, i, step);
            else if (point < 0x100) to.Append("\\x").Append(point.ToString("x2", CultureInfo.InvariantCulture));
            else if (point < 0x10000) to.Append("\\u").Append(point.ToString("x4", CultureInfo.InvariantCulture));
            else to.Append("\\U").Append(point.ToString("x8", CultureInfo.InvariantCulture));
            i += step;
        }

        to.Append(quote);
    }

    public static string Escape(string s) => s.Replace("&", "&amp;").Replace(">", "&gt;").Replace("<", "&lt;").Replace("'", "&#39;").Replace("\"", "&#34;");

    /// <summary>One character as text, without an allocation for ASCII.</summary>
    public static string Char(char c) => c < 128 ? s_ascii[c] : c.ToString();

    private static readonly string[] s_ascii = [.. Enumerable.Range(0, 128).Select(i => ((char)i).ToString())];
}
