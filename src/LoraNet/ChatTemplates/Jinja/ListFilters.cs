namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The filters over lists and dicts. Those that give generators in Jinja give them here too.</summary>
internal static class ListFilters
{
    public static Dictionary<string, FilterBody> All { get; } = new()
    {
        ["length"] = Length,
        ["count"] = Length,
        ["first"] = (c, v, a) => First(Py.Iterate(c, v), "first"),
        ["last"] = (c, v, a) => v is PyIterator ? throw new TemplateFault("last needs a list, not a generator", "Add `| list` before it.") : Last(c, v),
        ["list"] = (c, v, a) => new PyList(Py.ToList(c, v)),
        ["join"] = Join,
        ["reverse"] = Reverse,
        ["items"] = Items,
        ["dictsort"] = DictSort,
        ["sort"] = Sort,
        ["unique"] = (c, v, a) => FilterHelp.Lazy(Unique(c, v, a)),
        ["min"] = (c, v, a) => Extreme(c, v, a, "min", -1),
        ["max"] = (c, v, a) => Extreme(c, v, a, "max", 1),
        ["sum"] = Sum,
        ["map"] = (c, v, a) => FilterHelp.Lazy(Map(c, v, a)),
        ["select"] = (c, v, a) => FilterHelp.Lazy(Select(c, v, a, true, false)),
        ["reject"] = (c, v, a) => FilterHelp.Lazy(Select(c, v, a, false, false)),
        ["selectattr"] = (c, v, a) => FilterHelp.Lazy(Select(c, v, a, true, true)),
        ["rejectattr"] = (c, v, a) => FilterHelp.Lazy(Select(c, v, a, false, true)),
        ["groupby"] = GroupBy,
        ["batch"] = (c, v, a) => FilterHelp.Lazy(Batch(c, v, a)),
        ["slice"] = (c, v, a) => FilterHelp.Lazy(Slice(c, v, a)),
    };

    private static object? Length(RenderContext context, object? value, CallArgs args)
    {
        args.ExpectNone("length");
        return Py.TryLength(value) is { } n ? (long)n
            : throw new TemplateFault($"a {Py.TypeName(value)} has no length", value is PyIterator ? "Add `| list` before `| length`." : null);
    }

    private static object? First(IEnumerable<object?> items, string which)
    {
        foreach (object? item in items) return item;
        return new Undefined($"there is no {which} item: the list is empty");
    }

    private static object? Last(RenderContext context, object? value)
    {
        List<object?> items = Py.ToList(context, value);
        return items.Count > 0 ? items[^1] : new Undefined("there is no last item: the list is empty");
    }

    private static object? Join(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("join", 0, "d", "attribute");
        string separator = a[0] == CallArgs.Missing ? "" : Py.Str(context, a[0]);
        object? path = a[1] == CallArgs.Missing ? null : a[1];
        var result = new System.Text.StringBuilder();
        bool first = true;
        foreach (object? item in Py.Iterate(context, value))
        {
            string text = Py.Str(context, FilterHelp.Follow(context, item, path));
            context.CheckLength((long)result.Length + separator.Length + text.Length);
            context.ChargeText(separator.Length + text.Length);
            if (!first) result.Append(separator);
            first = false;
            result.Append(text);
        }

        return result.ToString();
    }

    private static object? Reverse(RenderContext context, object? value, CallArgs args)
    {
        args.ExpectNone("reverse");
        if (Py.AsText(value) is { } text)
        {
            context.ChargeText(text.Length);
            string[] points = PyText.Points(text);
            Array.Reverse(points);
            return value is Markup ? new Markup(string.Concat(points)) : string.Concat(points);
        }

        List<object?> items = Py.ToList(context, value);
        items.Reverse();

        // Python gives a list only for what can be walked but not indexed.
        return value is PySequence or PyDict or PyView ? FilterHelp.Lazy(items) : new PyList(items);
    }

    private static object? Items(RenderContext context, object? value, CallArgs args)
    {
        args.ExpectNone("items");
        return value switch
        {
            Undefined => FilterHelp.Lazy([]),
            PyDict dict => FilterHelp.Lazy(Py.Iterate(context, new PyView(dict, "items"))),
            _ => FilterHelp.Lazy(Fail(value)),
        };

        // Jinja's filter is a generator: it fails when it is walked.
        static IEnumerable<object?> Fail(object? value)
        {
            if (value is not PyDict) throw new TemplateFault($"items needs a dict, not a {Py.TypeName(value)}");
            yield break;
        }
    }

    private static object? DictSort(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("dictsort", 0, "case_sensitive", "by", "reverse");
        if (value is Undefined u) throw u.Fault();
        if (value is not PyDict dict) throw new TemplateFault($"dictsort needs a dict, not a {Py.TypeName(value)}");
        int at = Py.AsText(Filters.Or(a[1], "key")) switch
        {
            "key" => 0,
            "value" => 1,
            _ => throw new TemplateFault("dictsort sorts by 'key' or 'value'"),
        };
        bool cased = Flag(a[0]);
        List<object?> pairs = Py.ToList(context, new PyView(dict, "items"));
        return new PyList(FilterHelp.StableSort(context, pairs, p => Key(((PyTuple)p!)[at], cased), Flag(a[2])));
    }

    private static object? Sort(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("sort", 0, "reverse", "case_sensitive", "attribute");
        bool cased = Flag(a[1]);
        object? path = a[2] == CallArgs.Missing ? null : a[2];
        object?[] paths = Py.AsText(path) is { } text ? text.Split(',') : [path];
        return new PyList(FilterHelp.StableSort(context, Py.ToList(context, value), item => new PyList([.. paths.Select(p => Key(FilterHelp.Follow(context, item, p), cased))]), Flag(a[0])));
    }

    private static IEnumerable<object?> Unique(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("unique", 0, "case_sensitive", "attribute");
        bool cased = Flag(a[0]);
        var seen = new PyDict();
        foreach (object? item in Py.Iterate(context, value))
        {
            object? key = PyDict.CheckKey(Key(FilterHelp.Follow(context, item, a[1]), cased));
            if (seen.TryGet(key, out _)) continue;
            seen.Set(key, null);
            yield return item;
        }
    }

    private static object? Extreme(RenderContext context, object? value, CallArgs args, string name, int sign)
    {
        object?[] a = args.Bind(name, 0, "case_sensitive", "attribute");
        bool cased = Flag(a[0]);
        object? best = null, bestKey = null;
        bool any = false;
        foreach (object? item in Py.Iterate(context, value))
        {
            object? key = Key(FilterHelp.Follow(context, item, a[1]), cased);
            if (any && Py.Compare(context, key, bestKey) != sign) continue;
            (best, bestKey, any) = (item, key, true);
        }

        return any ? best : new Undefined($"{name} has no items to choose from");
    }

    private static object? Sum(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("sum", 0, "attribute", "start");
        object? total = Filters.Or(a[1], 0L);
        if (Py.AsText(total) is not null) throw new TemplateFault("sum can't add strings", "Use `| join`.");
        foreach (object? item in Py.Iterate(context, value)) total = Operators.Binary(context, "+", total, FilterHelp.Follow(context, item, a[0]));
        return total;
    }

    private static IEnumerable<object?> Map(RenderContext context, object? value, CallArgs args)
    {
        if (!Py.Truth(value)) yield break;
        Func<object?, object?> map;
        if (args.Positional.Length == 0 && args.Keyword.Any(k => k.Name == "attribute"))
        {
            object?[] a = args.Bind("map", 0, "attribute", "default");
            object? fallback = a[1] == CallArgs.Missing ? null : a[1];
            map = item => FilterHelp.Follow(context, item, a[0], fallback);
        }
        else
        {
            if (args.Positional.Length == 0) throw new TemplateFault("map needs a filter's name or attribute=");
            FilterBody filter = Filters.Get(args.Positional[0]);
            CallArgs rest = args.Skip(1);
            map = item =>
            {
                context.ChargeReading(item);
                return filter(context, item, rest);
            };
        }

        foreach (object? item in Py.Iterate(context, value)) yield return map(item);
    }

    private static IEnumerable<object?> Select(RenderContext context, object? value, CallArgs args, bool wanted, bool attribute)
    {
        if (!Py.Truth(value)) yield break;
        if (attribute && args.Positional.Length == 0) throw new TemplateFault("selectattr and rejectattr need an attribute's name");
        int at = attribute ? 1 : 0;
        TestBody? test = args.Positional.Length > at ? Tests.Get(args.Positional[at]) : null;
        CallArgs rest = args.Skip(at + 1);
        foreach (object? item in Py.Iterate(context, value))
        {
            object? subject = attribute ? FilterHelp.Follow(context, item, args.Positional[0]) : item;
            context.ChargeReading(subject);
            bool holds = test is null ? Py.Truth(subject) : test(context, subject, rest);
            if (holds == wanted) yield return item;
        }
    }

    private static object? GroupBy(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("groupby", 1, "attribute", "default", "case_sensitive");
        object? fallback = a[1] == CallArgs.Missing ? null : a[1];
        bool cased = Flag(a[2]);
        object? KeyOf(object? item) => Key(FilterHelp.Follow(context, item, a[0], fallback), cased);
        List<object?> sorted = FilterHelp.StableSort(context, Py.ToList(context, value), KeyOf, false);
        var groups = new List<object?>();
        List<object?>? current = null;
        object? last = null;
        foreach (object? item in sorted)
        {
            object? key = KeyOf(item);
            if (current is null || !Py.Equal(context, key, last))
            {
                current = [];
                groups.Add(new PyGroup(cased ? key : FilterHelp.Follow(context, item, a[0], fallback), new PyList(current)));
                last = key;
            }

            current.Add(item);
        }

        return new PyList(groups);
    }

    private static IEnumerable<object?> Batch(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("batch", 1, "linecount", "fill_with");
        int size = Num.Int(a[0], "batch's size");
        object? fill = a[1] == CallArgs.Missing ? null : a[1];
        var batch = new List<object?>();
        foreach (object? item in Py.Iterate(context, value))
        {
            if (batch.Count == size)
            {
                yield return new PyList(batch);
                batch = [];
            }

            batch.Add(item);
        }

        if (batch.Count == 0) yield break;
        if (fill is not null && size > batch.Count)
        {
            context.ChargeItems(size);
            while (batch.Count < size) batch.Add(fill);
        }

        yield return new PyList(batch);
    }

    private static IEnumerable<object?> Slice(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("slice", 1, "slices", "fill_with");
        List<object?> items = Py.ToList(context, value);
        int slices = Num.Int(a[0], "slice's count");
        if (slices == 0) throw new TemplateFault("slice needs a count that is not zero");
        object? fill = a[1] == CallArgs.Missing ? null : a[1];
        int start = 0;
        for (int i = 0; i < slices; i++)
        {
            context.Charge(1);
            bool extra = i < items.Count % slices;
            int size = (items.Count / slices) + (extra ? 1 : 0);
            List<object?> part = items.GetRange(start, size);
            start += size;
            if (fill is not null && !extra) part.Add(fill);
            yield return new PyList(part);
        }
    }

    private static bool Flag(object? given) => given != CallArgs.Missing && Py.Truth(given);

    private static object? Key(object? value, bool cased) => cased ? value : FilterHelp.IgnoreCase(value);
}
