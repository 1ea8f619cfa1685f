using System.Globalization;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The methods of Python's str that templates call.</summary>
internal static class StringMethods
{
    private static readonly Dictionary<string, MethodBody> s_methods = new()
    {
        ["strip"] = (c, s, a) => Same(s, PyText.Strip(T(s), Chars(a, "strip"), true, true)),
        ["lstrip"] = (c, s, a) => Same(s, PyText.Strip(T(s), Chars(a, "lstrip"), true, false)),
        ["rstrip"] = (c, s, a) => Same(s, PyText.Strip(T(s), Chars(a, "rstrip"), false, true)),
        ["upper"] = (c, s, a) => Case(c, s, a, "upper", PyText.Upper),
        ["lower"] = (c, s, a) => Case(c, s, a, "lower", PyText.Lower),
        ["casefold"] = (c, s, a) => Case(c, s, a, "casefold", t => PyText.Lower(t).Replace("ß", "ss").Replace('ς', 'σ')),
        ["title"] = (c, s, a) => Case(c, s, a, "title", PyText.Title),
        ["capitalize"] = (c, s, a) => Case(c, s, a, "capitalize", PyText.Capitalize),
        ["swapcase"] = (c, s, a) => Case(c, s, a, "swapcase", t => string.Concat(PyText.Points(t).Select(p => PyText.Upper(p) is var u && u != p ? u : PyText.Lower(p)))),
        ["split"] = (c, s, a) => Split(c, s, a, fromRight: false),
        ["rsplit"] = (c, s, a) => Split(c, s, a, fromRight: true),
        ["splitlines"] = SplitLines,
        ["partition"] = (c, s, a) => Partition(s, a, last: false),
        ["rpartition"] = (c, s, a) => Partition(s, a, last: true),
        ["startswith"] = (c, s, a) => Affix(s, a, "startswith", (t, p) => t.StartsWith(p, StringComparison.Ordinal)),
        ["endswith"] = (c, s, a) => Affix(s, a, "endswith", (t, p) => t.EndsWith(p, StringComparison.Ordinal)),
        ["removeprefix"] = (c, s, a) => Str(a.Bind("removeprefix", 1, "prefix")[0], "a prefix") is var p && T(s).StartsWith(p, StringComparison.Ordinal) ? Same(s, T(s)[p.Length..]) : s,
        ["removesuffix"] = (c, s, a) => Str(a.Bind("removesuffix", 1, "suffix")[0], "a suffix") is var p && T(s).EndsWith(p, StringComparison.Ordinal) ? Same(s, T(s)[..^p.Length]) : s,
        ["replace"] = (c, s, a) =>
        {
            object?[] b = a.Bind("replace", 2, "old", "new", "count");
            return Same(s, FilterHelp.Replace(c, T(s), Str(b[0], "the replaced text"), Str(b[1], "the new text"), b[2] == CallArgs.Missing ? -1 : Num.Int(b[2], "a count")));
        },
        ["join"] = (c, s, a) => Join(c, s, a),
        ["find"] = (c, s, a) => Find(s, a, "find", last: false),
        ["rfind"] = (c, s, a) => Find(s, a, "rfind", last: true),
        ["index"] = (c, s, a) => Find(s, a, "index", last: false) is long i and >= 0 ? i : throw new TemplateFault("index() did not find the text"),
        ["rindex"] = (c, s, a) => Find(s, a, "rindex", last: true) is long i and >= 0 ? i : throw new TemplateFault("rindex() did not find the text"),
        ["count"] = Count,
        ["format"] = (c, s, a) => Same(s, BraceFormat.Apply(c, T(s), a)),
        ["zfill"] = (c, s, a) => Fill(c, s, a, "zfill"),
        ["ljust"] = (c, s, a) => Fill(c, s, a, "ljust"),
        ["rjust"] = (c, s, a) => Fill(c, s, a, "rjust"),
        ["center"] = (c, s, a) => Fill(c, s, a, "center"),
        ["isdigit"] = (c, s, a) => All(s, a, "isdigit", r => Rune.GetUnicodeCategory(r) == UnicodeCategory.DecimalDigitNumber || CharUnicodeInfo.GetDigitValue(r.ToString(), 0) >= 0),
        ["isdecimal"] = (c, s, a) => All(s, a, "isdecimal", r => Rune.GetUnicodeCategory(r) == UnicodeCategory.DecimalDigitNumber),
        ["isnumeric"] = (c, s, a) => All(s, a, "isnumeric", Rune.IsNumber),
        ["isalpha"] = (c, s, a) => All(s, a, "isalpha", Rune.IsLetter),
        ["isalnum"] = (c, s, a) => All(s, a, "isalnum", r => Rune.IsLetter(r) || Rune.IsNumber(r)),
        ["isspace"] = (c, s, a) => All(s, a, "isspace", r => r.IsBmp && PyText.IsSpace((char)r.Value)),
        ["islower"] = (c, s, a) => IsCase(T(s), lower: true),
        ["isupper"] = (c, s, a) => IsCase(T(s), lower: false),
    };

    private static readonly HashSet<string> s_unsupported =
        ["encode", "expandtabs", "format_map", "isascii", "isidentifier", "isprintable", "istitle", "maketrans", "translate", "striptags", "unescape"];

    /// <summary>The method of that name, or null when a string has none. Faults on one that exists but is not supported.</summary>
    public static MethodBody? Get(string name)
    {
        if (s_methods.TryGetValue(name, out MethodBody? body)) return body;
        return s_unsupported.Contains(name) ? throw TemplateFault.Unsupported($"the string method {name}()") : null;
    }

    /// <summary>Whether all cased letters have that case, and there is one.</summary>
    public static bool IsCase(string text, bool lower)
    {
        bool any = false;
        foreach (string point in PyText.Points(text))
        {
            bool isLower = PyText.Upper(point) != point, isUpper = PyText.Lower(point) != point;
            if (lower ? isUpper : isLower) return false;
            any |= isLower || isUpper;
        }

        return any;
    }

    private static string T(object self) => Py.AsText(self)!;

    // Methods of safe text return safe text.
    private static object Same(object self, string text) => self is Markup ? new Markup(text) : text;

    private static string Str(object? value, string what) => Py.AsText(value) ?? throw new TemplateFault($"{what} must be a string, not a {Py.TypeName(value)}");

    private static string? Chars(CallArgs args, string name)
    {
        object? chars = args.Bind(name, 0, "chars")[0];
        return chars is null || chars == CallArgs.Missing ? null : Str(chars, "the characters to strip");
    }

    private static object Case(RenderContext context, object self, CallArgs args, string name, Func<string, string> map)
    {
        args.ExpectNone(name);
        context.ChargeText(T(self).Length);
        return Same(self, map(T(self)));
    }

    private static PyList Split(RenderContext context, object self, CallArgs args, bool fromRight)
    {
        object?[] a = args.Bind(fromRight ? "rsplit" : "split", 0, "sep", "maxsplit");
        int max = a[1] == CallArgs.Missing ? -1 : Num.Int(a[1], "maxsplit");
        string text = T(self);
        context.ChargeText(text.Length);
        List<string> parts = a[0] is null || a[0] == CallArgs.Missing
            ? SplitSpace(text, max, fromRight)
            : SplitOn(text, Str(a[0], "a separator"), max, fromRight);
        context.ChargeItems(parts.Count);
        return new PyList([.. parts.Select(p => Same(self, p))]);
    }

    private static List<string> SplitOn(string text, string separator, int max, bool fromRight)
    {
        if (separator.Length == 0) throw new TemplateFault("split() needs a separator that is not empty");
        var parts = new List<string>();
        if (!fromRight)
        {
            int start = 0;
            for (int at; (max < 0 || parts.Count < max) && (at = text.IndexOf(separator, start, StringComparison.Ordinal)) >= 0; start = at + separator.Length)
                parts.Add(text[start..at]);
            parts.Add(text[start..]);
            return parts;
        }

        int end = text.Length;
        while (max < 0 || parts.Count < max)
        {
            int at = text.AsSpan(0, end).LastIndexOf(separator);
            if (at < 0) break;
            parts.Add(text[(at + separator.Length)..end]);
            end = at;
        }

        parts.Add(text[..end]);
        parts.Reverse();
        return parts;
    }

    private static List<string> SplitSpace(string text, int max, bool fromRight)
    {
        var parts = new List<string>();
        if (!fromRight)
        {
            int i = 0;
            while (true)
            {
                while (i < text.Length && PyText.IsSpace(text[i])) i++;
                if (i == text.Length) return parts;
                if (max >= 0 && parts.Count == max)
                {
                    parts.Add(text[i..]);
                    return parts;
                }

                int start = i;
                while (i < text.Length && !PyText.IsSpace(text[i])) i++;
                parts.Add(text[start..i]);
            }
        }

        for (int i = text.Length; ;)
        {
            while (i > 0 && PyText.IsSpace(text[i - 1])) i--;
            if (i == 0) break;
            if (max >= 0 && parts.Count == max)
            {
                parts.Add(text[..i]);
                break;
            }

            int end = i;
            while (i > 0 && !PyText.IsSpace(text[i - 1])) i--;
            parts.Add(text[i..end]);
        }

        parts.Reverse();
        return parts;
    }

    private static object SplitLines(RenderContext context, object self, CallArgs args)
    {
        object? keep = args.Bind("splitlines", 0, "keepends")[0];
        context.ChargeText(T(self).Length);
        return new PyList([.. PyText.SplitLines(T(self), keep != CallArgs.Missing && Py.Truth(keep)).Select(p => Same(self, p))]);
    }

    private static PyTuple Partition(object self, CallArgs args, bool last)
    {
        string text = T(self);
        string separator = Str(args.Bind("partition", 1, "sep")[0], "a separator");
        if (separator.Length == 0) throw new TemplateFault("partition() needs a separator that is not empty");
        int at = last ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        string[] parts = at >= 0 ? [text[..at], separator, text[(at + separator.Length)..]] : last ? ["", "", text] : [text, "", ""];
        return new PyTuple([.. parts.Select(p => Same(self, p))]);
    }

    private static object Affix(object self, CallArgs args, string name, Func<string, string, bool> test)
    {
        object?[] a = args.Bind(name, 1, "prefix", "start", "end");
        string text = T(self);
        bool sliced = a[1] != CallArgs.Missing || a[2] != CallArgs.Missing;
        if (sliced)
        {
            (int from, int to) = Bounds(text, a[1], a[2], out int length);
            if (from > length) return false;
            text = from >= to ? "" : string.Concat(PyText.Points(text)[from..to]);
        }

        if (a[0] is PyTuple several) return several.Items.Any(p => test(text, Str(p, $"{name}()'s argument")));
        return test(text, Str(a[0], $"{name}()'s argument"));
    }

    private static (int From, int To) Bounds(string text, object? start, object? end, out int length)
    {
        length = PyText.Length(text);
        int from = start is null || start == CallArgs.Missing ? 0 : Num.Int(start, "a start");
        int to = end is null || end == CallArgs.Missing ? length : Num.Int(end, "an end");
        if (from < 0) from = Math.Max(0, from + length);
        if (to < 0) to = Math.Max(0, to + length);
        return (from, Math.Min(to, length));
    }

    private static object Find(object self, CallArgs args, string name, bool last)
    {
        object?[] a = args.Bind(name, 1, "sub", "start", "end");
        string text = T(self), sub = Str(a[0], "the text to find");
        (int from, int to) = Bounds(text, a[1], a[2], out int length);
        if (from > length || from > to) return -1L;
        string[]? points = PyText.HasSurrogates(text) ? PyText.Points(text) : null;
        string part = points is null ? text[from..to] : string.Concat(points[from..to]);
        int at = last ? (sub.Length == 0 ? part.Length : part.LastIndexOf(sub, StringComparison.Ordinal)) : part.IndexOf(sub, StringComparison.Ordinal);
        return at < 0 ? -1L : from + (long)PyText.PointIndex(part, at);
    }

    private static object Count(RenderContext context, object self, CallArgs args)
    {
        object?[] a = args.Bind("count", 1, "sub", "start", "end");
        string text = T(self), sub = Str(a[0], "the text to count");
        context.ChargeText(text.Length);
        if (a[1] != CallArgs.Missing || a[2] != CallArgs.Missing)
        {
            (int from, int to) = Bounds(text, a[1], a[2], out int length);
            if (from > to) return 0L;
            text = string.Concat(PyText.Points(text)[from..to]);
        }

        if (sub.Length == 0) return (long)PyText.Length(text) + 1;
        long n = 0;
        for (int i = 0; (i = text.IndexOf(sub, i, StringComparison.Ordinal)) >= 0; i += sub.Length) n++;
        return n;
    }

    private static object Join(RenderContext context, object self, CallArgs args)
    {
        object? items = args.Bind("join", 1, "iterable")[0];
        var result = new StringBuilder();
        bool first = true;
        foreach (object? item in Py.Iterate(context, items))
        {
            if (!first) result.Append(T(self));
            first = false;
            string text = self is Markup
                ? item is Markup m ? m.Text : PyText.Escape(Py.Str(context, item))
                : Str(item, "each item of join()");
            context.ChargeText((long)result.Length + text.Length > int.MaxValue ? long.MaxValue : text.Length + T(self).Length);
            result.Append(text);
            context.CheckLength(result.Length);
        }

        return Same(self, result.ToString());
    }

    private static object Fill(RenderContext context, object self, CallArgs args, string name)
    {
        object?[] a = args.Bind(name, 1, "width", "fillchar");
        string text = T(self);
        int missing = Num.Int(a[0], "a width") - PyText.Length(text);
        if (missing <= 0) return self;
        context.ChargeText(missing);
        if (name == "zfill")
        {
            string sign = text.Length > 0 && text[0] is '+' or '-' ? text[..1] : "";
            return Same(self, sign + new string('0', missing) + text[sign.Length..]);
        }

        string fill = a[1] == CallArgs.Missing ? " " : Str(a[1], "a fill character");
        if (PyText.Length(fill) != 1) throw new TemplateFault("a fill character must be one character");
        int left = name switch { "rjust" => missing, "ljust" => 0, _ => (missing / 2) + (missing & (missing + PyText.Length(text)) & 1) };
        return Same(self, string.Concat(Enumerable.Repeat(fill, left)) + text + string.Concat(Enumerable.Repeat(fill, missing - left)));
    }

    private static object All(object self, CallArgs args, string name, Func<Rune, bool> test)
    {
        args.ExpectNone(name);
        string text = T(self);
        if (text.Length == 0) return false;
        foreach (Rune r in text.EnumerateRunes())
            if (!test(r)) return false;
        return true;
    }
}
