using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The functions every template can call.</summary>
internal static class Globals
{
    private const int MaxRange = 100_000;

    public static void AddTo(Scope scope)
    {
        foreach (PyFunction f in s_functions) scope.Set(f.Name, f);
    }

    private static readonly PyFunction[] s_functions =
    [
        new("range", Range),
        new("dict", Dict),
        new("namespace", (c, a) =>
        {
            var ns = new Namespace();
            var values = (PyDict)Dict(c, a)!;
            for (int i = 0; i < values.Count; i++) ns.Attributes.Set(values.KeyAt(i), values.ValueAt(i));
            return ns;
        }),
        new("cycler", (c, a) => a.Positional.Length > 0 ? new Cycler(a.Positional) : throw new TemplateFault("cycler() needs values")),
        new("joiner", (c, a) =>
        {
            object? separator = Filters.Or(a.Bind("joiner", 0, "sep")[0], ", ");
            bool used = false;
            return new PyFunction("joiner", (_, _) =>
            {
                object? now = used ? separator : "";
                used = true;
                return now;
            });
        }),
        new("raise_exception", (c, a) => throw new TemplateFault(
            $"the template refuses this conversation: {Py.Str(c, a.Bind("raise_exception", 1, "message")[0])}",
            "Change the messages to what the template expects.")),
        new("strftime_now", (c, a) => Py.AsText(a.Bind("strftime_now", 1, "format")[0]) is { } format
            ? Strftime.Format(c.Clock(), format)
            : throw new TemplateFault("strftime_now() needs a format string")),
        new("lipsum", (c, a) => throw TemplateFault.Unsupported("lipsum()")),
    ];

    private static object? Range(RenderContext context, CallArgs args)
    {
        object?[] a = args.Bind("range", 1, "start", "stop", "step");
        if (args.Keyword.Length > 0) throw new TemplateFault("range() takes no named arguments");
        BigInteger first = Whole(a[0]);
        BigInteger start = a[1] == CallArgs.Missing ? 0 : first;
        BigInteger stop = a[1] == CallArgs.Missing ? first : Whole(a[1]);
        BigInteger step = a[2] == CallArgs.Missing ? 1 : Whole(a[2]);
        if (step.IsZero) throw new TemplateFault("range()'s step can't be zero");
        BigInteger count = step.Sign > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step;
        if (step.Sign > 0 ? start >= stop : start <= stop) count = 0;
        if (count > MaxRange) throw new TemplateFault($"range() is longer than {MaxRange}");
        if (Num.Normal(start) is not long from || Num.Normal(stop) is not long to || Num.Normal(step) is not long by || Num.Normal(start + (step * count)) is not long)
            throw new TemplateFault("range()'s numbers are too large");
        return new PyRange(from, to, by, (int)count);
    }

    private static BigInteger Whole(object? value) => Num.IsInteger(value) ? Num.Big(value!) : throw new TemplateFault($"range() needs integers, not a {Py.TypeName(value)}");

    private static object? Dict(RenderContext context, CallArgs args)
    {
        var dict = new PyDict();
        if (args.Positional.Length > 1) throw new TemplateFault("dict() takes one value and named values");
        if (args.Positional.Length == 1)
        {
            object? source = args.Positional[0] is PyDict d ? new PyView(d, "items") : args.Positional[0];
            foreach (object? pair in Py.Iterate(context, source))
            {
                List<object?> two = Py.ToList(context, pair);
                if (two.Count != 2) throw new TemplateFault("dict() needs pairs of key and value");
                dict.Set(PyDict.CheckKey(two[0]), two[1]);
            }
        }

        foreach ((string name, object? value) in args.Keyword) dict.Set(name, value);
        return dict;
    }
}

/// <summary>Gives its values in turn.</summary>
internal sealed class Cycler(object?[] values)
{
    private int _at;

    public bool TryAttribute(string name, out object? value)
    {
        value = name switch
        {
            "current" => values[_at],
            "pos" => (long)_at,
            "items" => new PyTuple(values),
            "next" => new PyFunction("next", (c, a) =>
            {
                object? now = values[_at];
                _at = (_at + 1) % values.Length;
                return now;
            }),
            "reset" => new PyFunction("reset", (c, a) =>
            {
                _at = 0;
                return null;
            }),
            _ => CallArgs.Missing,
        };
        return value != CallArgs.Missing;
    }
}
