using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>
/// <c>a.b</c>, <c>a[b]</c> and slices. As in Jinja, a dot looks for a method first and then for a key; a subscript the
/// other way round; what is found by neither is undefined. Methods that change a value don't exist: templates are read-only.
/// </summary>
internal static class Attributes
{
    private static readonly HashSet<string> s_listChanges = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
    private static readonly HashSet<string> s_dictChanges = ["clear", "pop", "popitem", "setdefault", "update"];

    private static readonly Dictionary<string, MethodBody> s_dictMethods = new()
    {
        ["items"] = (c, s, a) => View(s, a, "items"),
        ["keys"] = (c, s, a) => View(s, a, "keys"),
        ["values"] = (c, s, a) => View(s, a, "values"),
        ["copy"] = (c, s, a) =>
        {
            c.ChargeItems(((PyDict)s).Count);
            return ((PyDict)s).Copy();
        },
        ["get"] = (c, s, a) =>
        {
            if (a.Keyword.Length > 0) throw new TemplateFault("get() takes no named arguments");
            object?[] b = a.Bind("get", 1, "key", "default");
            return ((PyDict)s).TryGet(PyDict.CheckKey(b[0]), out object? value) ? value : b[1] == CallArgs.Missing ? null : b[1];
        },
    };

    private static readonly Dictionary<string, MethodBody> s_sequenceMethods = new()
    {
        ["count"] = (c, s, a) =>
        {
            object? wanted = a.Bind("count", 1, "value")[0];
            return (long)Py.Iterate(c, s).Count(x => Py.Equal(c, x, wanted));
        },
        ["index"] = (c, s, a) =>
        {
            object? wanted = a.Bind("index", 1, "value")[0];
            var items = (PySequence)s;
            for (int i = 0; i < items.Count; i++)
                if (Py.Equal(c, items[i], wanted)) return (long)i;
            throw new TemplateFault("index() did not find the value");
        },
    };

    private static readonly MethodBody s_listCopy = (c, s, a) =>
    {
        c.ChargeItems(((PyList)s).Count);
        return new PyList([.. ((PyList)s).Items]);
    };

    /// <summary>The method of that name of a value, or null.</summary>
    public static MethodBody? Method(object? target, string name) => target switch
    {
        string or Markup => StringMethods.Get(name),
        PyDict => s_dictMethods.GetValueOrDefault(name) ?? (name == "fromkeys" ? throw TemplateFault.Unsupported("the dict method fromkeys()") : null),
        PyList => name == "copy" ? s_listCopy : s_sequenceMethods.GetValueOrDefault(name),
        PyTuple or PyRange => s_sequenceMethods.GetValueOrDefault(name),
        _ => null,
    };

    public static object? GetAttribute(RenderContext context, object? target, string name)
    {
        if (target is Undefined u) throw u.Fault();
        if (TryAttribute(target, name, out object? value)) return value;
        return target is PyDict dict && dict.TryGet(name, out value) ? value : Missing(target, name);
    }

    public static object? GetItem(RenderContext context, object? target, object? key)
    {
        context.ChargeReading(key);
        context.ChargeReading(target);
        switch (target)
        {
            case Undefined u:
                throw u.Fault();
            case PyDict dict when PyDict.IsHashable(key) && dict.TryGet(key, out object? found):
                return found;
            case PySequence sequence when Num.IsInteger(key):
                return Index(key!, sequence.Count) is int at and >= 0 ? sequence[at] : Missing(target, key);
            case string or Markup when Num.IsInteger(key):
                return Character(target, key!);
        }

        return Py.AsText(key) is { } name && TryAttribute(target, name, out object? value) ? value : Missing(target, key);
    }

    private static object? Character(object target, object key)
    {
        string text = Py.AsText(target)!;
        if (!PyText.HasSurrogates(text))
        {
            if (Index(key, text.Length) is not (int at and >= 0)) return Missing(target, key);
            return target is Markup ? new Markup(PyText.Char(text[at])) : PyText.Char(text[at]);
        }

        string[] points = PyText.Points(text);
        if (Index(key, points.Length) is not (int p and >= 0)) return Missing(target, key);
        return target is Markup ? new Markup(points[p]) : points[p];
    }

    // The position an index means, counting from the end when negative; -1 when outside.
    private static int Index(object key, int count)
    {
        BigInteger i = Num.Big(key);
        if (i.Sign < 0) i += count;
        return i.Sign >= 0 && i < count ? (int)i : -1;
    }

    private static bool TryAttribute(object? target, string name, out object? value)
    {
        value = null;
        if (name.StartsWith('_'))
        {
            // Python's own double-underscore attributes exist but may not be touched; both cases read as undefined.
            if (!name.StartsWith("__", StringComparison.Ordinal)) return false;
            value = target is PyDict dict && dict.TryGet(name, out object? found) ? found : new Undefined($"the attribute '{name}' may not be used");
            return true;
        }

        switch (target)
        {
            case PyDict when s_dictChanges.Contains(name):
            case PyList when s_listChanges.Contains(name):
                value = new Undefined($"{name}() would change a {Py.TypeName(target)}, but chat templates are read-only");
                return true;
            case Namespace ns:
                return ns.Attributes.TryGet(name, out value);
            case LoopContext loop:
                return loop.TryAttribute(name, out value);
            case PyGroup group when name is "grouper" or "list":
                value = group[name == "grouper" ? 0 : 1];
                return true;
            case PyRange range when name is "start" or "stop" or "step":
                value = name switch { "start" => range.Start, "stop" => range.Stop, _ => range.Step };
                return true;
            case PyMacro macro:
                return macro.TryAttribute(name, out value);
            case Cycler cycler:
                return cycler.TryAttribute(name, out value);
            case long or bool or BigInteger or double when name is "real" or "imag" or "numerator" or "denominator" or "bit_length" or "is_integer" or "conjugate" or "hex" or "as_integer_ratio" or "to_bytes" or "from_bytes" or "bit_count":
                throw TemplateFault.Unsupported($"the number attribute '{name}'");
        }

        if (Method(target, name) is not { } body) return false;
        value = new BoundMethod(name, target!, body);
        return true;
    }

    private static Undefined Missing(object? target, object? key)
    {
        string what = target is null ? "None" : $"a {Py.TypeName(target)}";
        return new Undefined(key is string or Markup ? $"{what} has no attribute or key '{Py.AsText(key)}'" : $"{what} has no element {(Num.Is(key) ? key : Py.TypeName(key))}");
    }

    private static PyView View(object self, CallArgs args, string kind)
    {
        args.ExpectNone(kind);
        return new PyView((PyDict)self, kind);
    }

    /// <summary><c>a[start:stop:step]</c>; faults on a value without slices, unlike a plain subscript.</summary>
    public static object? Slice(RenderContext context, object? target, object? start, object? stop, object? step)
    {
        if (target is Undefined u) throw u.Fault();
        if (target is not (string or Markup or PySequence)) throw new TemplateFault($"a {Py.TypeName(target)} can't be sliced");
        if (!IsBound(start) || !IsBound(stop) || !IsBound(step)) throw new TemplateFault("a slice needs whole numbers");
        if (step is not null && Num.Big(step).IsZero) throw new TemplateFault("a slice's step is zero");
        context.ChargeReading(target);
        string? text = Py.AsText(target);
        string[]? points = text is not null && PyText.HasSurrogates(text) ? PyText.Points(text) : null;
        int count = points?.Length ?? text?.Length ?? ((PySequence)target).Count;
        BigInteger by = step is null ? 1 : Num.Big(step);
        int from = Bound(start, count, by.Sign < 0 ? count - 1 : 0, by.Sign < 0);
        int to = Bound(stop, count, by.Sign < 0 ? -1 : count, by.Sign < 0);
        if (text is not null && points is null && by.IsOne) return Wrap(target, from < to ? text[from..to] : "");
        context.ChargeItems(Math.Abs(to - from));
        long stride = BigInteger.Abs(by) > int.MaxValue ? by.Sign * (long)int.MaxValue : (long)by;
        var positions = new List<int>();
        for (long i = from; stride > 0 ? i < to : i > to; i += stride) positions.Add((int)i);
        if (text is not null)
            return Wrap(target, points is null ? string.Concat(positions.Select(i => PyText.Char(text[i]))) : string.Concat(positions.Select(i => points[i])));
        var items = (PySequence)target;
        if (target is PyRange range)
            return new PyRange(range.Start + (from * range.Step), range.Start + (to * range.Step), range.Step * stride, positions.Count);
        List<object?> picked = [.. positions.Select(i => items[i])];
        return target is PyList ? new PyList(picked) : new PyTuple([.. picked]);
    }

    private static object Wrap(object target, string text) => target is Markup ? new Markup(text) : text;

    private static bool IsBound(object? value) => value is null || Num.IsInteger(value);

    private static int Bound(object? value, int count, int absent, bool backwards)
    {
        if (value is null) return absent;
        BigInteger i = Num.Big(value);
        if (i.Sign < 0) i += count;
        if (i.Sign < 0) return backwards ? -1 : 0;
        return i >= count ? (backwards ? count - 1 : count) : (int)i;
    }
}
