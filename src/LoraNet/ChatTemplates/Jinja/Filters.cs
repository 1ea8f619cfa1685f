using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

internal delegate object? FilterBody(RenderContext context, object? value, CallArgs args);

/// <summary>The filters, by name. Text and number filters are here, those over lists in <see cref="ListFilters"/>.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, FilterBody> s_filters = new(ListFilters.All)
    {
        ["tojson"] = JsonDump.Filter,
        ["trim"] = Trim,
        ["upper"] = (c, v, a) => Text(c, v, a, "upper", PyText.Upper),
        ["lower"] = (c, v, a) => Text(c, v, a, "lower", PyText.Lower),
        ["capitalize"] = (c, v, a) => Text(c, v, a, "capitalize", PyText.Capitalize),
        ["title"] = (c, v, a) => Text(c, v, a, "title", Title),
        ["string"] = (c, v, a) => v is Markup ? v : Text(c, v, a, "string", t => t),
        ["replace"] = (c, v, a) =>
        {
            object?[] b = a.Bind("replace", 2, "old", "new", "count");
            int count = b[2] is null || b[2] == CallArgs.Missing ? -1 : Num.Int(b[2], "replace's count");
            return FilterHelp.Replace(c, Py.Str(c, v), Py.Str(c, b[0]), Py.Str(c, b[1]), count);
        },
        ["indent"] = Indent,
        ["center"] = (c, v, a) => StringMethods.Get("center")!(c, Py.Str(c, v), CallArgs.Of(Or(a.Bind("center", 0, "width")[0], 80L))),
        ["truncate"] = Truncate,
        ["wordcount"] = (c, v, a) => WordCount(Py.Str(c, v)),
        ["format"] = (c, v, a) => Format(c, v, a),
        ["default"] = Default,
        ["d"] = Default,
        ["safe"] = (c, v, a) => v is Markup ? v : new Markup(Py.Str(c, v)),
        ["escape"] = (c, v, a) => v is Markup ? v : new Markup(PyText.Escape(Py.Str(c, v))),
        ["e"] = (c, v, a) => v is Markup ? v : new Markup(PyText.Escape(Py.Str(c, v))),
        ["forceescape"] = (c, v, a) => new Markup(PyText.Escape(Py.Str(c, v))),
        ["urlencode"] = UrlEncode,
        ["int"] = Int,
        ["float"] = (c, v, a) => v is Undefined u ? throw u.Fault() : ToFloat(v) ?? Or(a.Bind("float", 0, "default")[0], 0.0),
        ["abs"] = (c, v, a) => v is Undefined u ? throw u.Fault()
            : !Num.Is(v) ? throw new TemplateFault($"abs needs a number, not a {Py.TypeName(v)}")
            : v is double d ? Math.Abs(d) : Num.Normal(BigInteger.Abs(Num.Big(v!))),
        ["round"] = Round,
        ["attr"] = (c, v, a) => Py.AsText(a.Bind("attr", 1, "name")[0]) is { } name
            ? v is PyDict && Attributes.Method(v, name) is null ? new Undefined($"a dict has no attribute '{name}'") : Attributes.GetAttribute(c, v, name)
            : throw new TemplateFault("attr needs a name"),
    };

    private static readonly HashSet<string> s_unsupported = ["filesizeformat", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"];

    public static bool IsUnsupported(string name) => s_unsupported.Contains(name);

    public static FilterBody? Find(string name) => s_filters.GetValueOrDefault(name);

    /// <summary>The filter of a name known only at run time, as map's first argument.</summary>
    public static FilterBody Get(object? name) => Py.AsText(name) is { } text
        ? Find(text) ?? throw (IsUnsupported(text) ? TemplateFault.Unsupported($"the filter '{text}'") : new TemplateFault($"there is no filter named '{text}'"))
        : throw new TemplateFault("a filter's name must be a string");

    public static object? Or(object? given, object? fallback) => given == CallArgs.Missing ? fallback : given;

    private static object Text(RenderContext context, object? value, CallArgs args, string name, Func<string, string> map)
    {
        args.ExpectNone(name);
        string text = Py.Str(context, value);
        context.ChargeText(text.Length);
        return value is Markup ? new Markup(map(text)) : map(text);
    }

    private static object? Trim(RenderContext context, object? value, CallArgs args)
    {
        object? chars = args.Bind("trim", 0, "chars")[0];
        string? set = chars is null || chars == CallArgs.Missing ? null : Py.AsText(chars) ?? throw new TemplateFault("trim's characters must be a string");
        string trimmed = PyText.Strip(Py.Str(context, value), set, true, true);
        return value is Markup ? new Markup(trimmed) : trimmed;
    }

    // Words start after white space, hyphens and opening brackets.
    private static string Title(string text)
    {
        var result = new System.Text.StringBuilder();
        for (int i = 0; i < text.Length;)
        {
            int end = i;
            bool separator = IsSeparator(text[i]);
            while (end < text.Length && IsSeparator(text[end]) == separator) end++;
            string word = text[i..end];
            int first = PyText.Step(word, 0);
            result.Append(separator ? word : PyText.Upper(word[..first]) + PyText.Lower(word[first..]));
            i = end;
        }

        return result.ToString();

        static bool IsSeparator(char c) => c is '-' or '(' or '{' or '[' or '<' || PyText.IsSpace(c);
    }

    private static object? Indent(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("indent", 0, "width", "first", "blank");
        if (value is Undefined u) throw u.Fault();
        if (Py.AsText(value) is not { } text) throw new TemplateFault($"indent needs a string, not a {Py.TypeName(value)}");
        object? width = Or(a[0], 4L);
        string pad = Py.AsText(width) ?? Blank(context, Num.Int(width, "indent's width"));
        bool first = a[1] != CallArgs.Missing && Py.Truth(a[1]), blank = a[2] != CallArgs.Missing && Py.Truth(a[2]);
        List<string> lines = PyText.SplitLines(text + "\n", false);
        context.ChargeText(text.Length + ((long)pad.Length * lines.Count));
        for (int i = 1; i < lines.Count; i++)
            if (blank || lines[i].Length > 0) lines[i] = pad + lines[i];
        string made = (first ? pad : "") + string.Join('\n', lines);
        return value is Markup ? new Markup(made) : made;
    }

    private static string Blank(RenderContext context, int width)
    {
        context.ChargeText(Math.Max(0, width));
        return new string(' ', Math.Max(0, width));
    }

    private static object? Truncate(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("truncate", 0, "length", "killwords", "end", "leeway");
        if (Py.AsText(value) is not { } text) throw new TemplateFault("truncate needs a string");
        int length = a[0] == CallArgs.Missing ? 255 : Num.Int(a[0], "truncate's length");
        string end = a[2] == CallArgs.Missing ? "..." : Py.AsText(a[2]) ?? throw new TemplateFault("truncate's end must be a string");
        int leeway = a[3] is null || a[3] == CallArgs.Missing ? 5 : Num.Int(a[3], "truncate's leeway");
        int room = length - PyText.Length(end);
        if (room < 0 || leeway < 0) throw new TemplateFault("truncate's length must hold its end, and its leeway can't be negative");
        string[] points = PyText.Points(text);
        if (points.Length <= (long)length + leeway) return value;
        string cut = string.Concat(points[..room]);
        if (a[1] == CallArgs.Missing || !Py.Truth(a[1]))
        {
            int space = cut.LastIndexOf(' ');
            if (space >= 0) cut = cut[..space];
        }

        return value is Markup ? new Markup(cut + PyText.Escape(end)) : cut + end;
    }

    private static object WordCount(string text)
    {
        long n = 0;
        bool inWord = false;
        foreach (System.Text.Rune r in text.EnumerateRunes())
        {
            bool word = System.Text.Rune.IsLetterOrDigit(r) || r.Value == '_' || System.Text.Rune.IsNumber(r);
            if (word && !inWord) n++;
            inWord = word;
        }

        return n;
    }

    private static object Format(RenderContext context, object? value, CallArgs args)
    {
        if (args.Positional.Length > 0 && args.Keyword.Length > 0) throw new TemplateFault("format takes values or named values, not both");
        object? values = new PyTuple(args.Positional);
        if (args.Keyword.Length > 0)
        {
            var dict = new PyDict();
            foreach ((string name, object? v) in args.Keyword) dict.Set(name, v);
            values = dict;
        }

        string made = PercentFormat.Apply(context, Py.Str(context, value), values);
        return value is Markup ? new Markup(made) : made;
    }

    private static object? Default(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("default", 0, "default_value", "boolean");
        bool replace = value is Undefined || (a[1] != CallArgs.Missing && Py.Truth(a[1]) && !Py.Truth(value));
        return replace ? Or(a[0], "") : value;
    }

    private static object? Int(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("int", 0, "default", "base");
        if (value is Undefined u) throw u.Fault();
        object? fallback = Or(a[0], 0L);
        int radix = a[1] == CallArgs.Missing ? 10 : Num.Int(a[1], "int's base");
        if (Py.AsText(value) is { } text)
        {
            if (Parse.Integer(text, radix) is { } parsed) return Num.Normal(parsed);
            return Parse.Float(text) is { } f && double.IsFinite(f) ? FilterHelp.Truncate(f) : fallback;
        }

        if (Num.IsInteger(value)) return Num.Normal(Num.Big(value!));
        if (value is not double d) return fallback;
        return double.IsNaN(d) ? fallback : FilterHelp.Truncate(d);
    }

    private static object? ToFloat(object? value) => Num.Is(value) ? Num.Double(value!) : Py.AsText(value) is { } text ? Parse.Float(text) : null;

    private static object? Round(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("round", 0, "precision", "method");
        int digits = a[0] == CallArgs.Missing ? 0 : Num.Int(a[0], "round's precision");
        string method = a[1] == CallArgs.Missing ? "common" : Py.AsText(a[1]) ?? "";
        if (value is Undefined u) throw u.Fault();
        if (!Num.Is(value)) throw new TemplateFault($"round needs a number, not a {Py.TypeName(value)}");
        switch (method)
        {
            case "common" when Num.IsInteger(value):
                return RoundInteger(Num.Big(value!), digits);
            case "common":
                return Num.Round((double)value!, digits);
            case "ceil" or "floor":
                object scale = Num.Binary("**", 10L, (long)digits);
                object scaled = Num.Binary("*", value!, scale);
                object whole = scaled is double d ? FilterHelp.Truncate(method == "ceil" ? Math.Ceiling(d) : Math.Floor(d)) : scaled;
                return Num.Binary("/", whole, scale);
            default:
                throw new TemplateFault("round's method must be common, ceil or floor");
        }
    }

    private static object RoundInteger(BigInteger value, int digits)
    {
        if (digits >= 0) return Num.Normal(value);
        if (digits < -400) return 0L;
        BigInteger unit = BigInteger.Pow(10, -digits);
        BigInteger whole = BigInteger.DivRem(BigInteger.Abs(value), unit, out BigInteger rest);
        int half = (rest * 2).CompareTo(unit);
        if (half > 0 || (half == 0 && !whole.IsEven)) whole++;
        return Num.Normal(value.Sign * whole * unit);
    }

    private static object? UrlEncode(RenderContext context, object? value, CallArgs args)
    {
        args.ExpectNone("urlencode");
        if (value is not (PyDict or PyList or PyTuple)) return Quote(Py.Str(context, value), query: false);
        object? pairs = value is PyDict dict ? new PyView(dict, "items") : value;
        var parts = new List<string>();
        foreach (object? pair in Py.Iterate(context, pairs))
        {
            if (pair is not PySequence { Count: 2 } p) throw new TemplateFault("urlencode needs pairs");
            parts.Add($"{Quote(Py.Str(context, p[0]), true)}={Quote(Py.Str(context, p[1]), true)}");
        }

        return string.Join('&', parts);

        string Quote(string text, bool query)
        {
            context.ChargeText(text.Length * 3L);
            string quoted = Uri.EscapeDataString(text);
            return query ? quoted.Replace("%20", "+") : quoted.Replace("%2F", "/");
        }
    }
}
