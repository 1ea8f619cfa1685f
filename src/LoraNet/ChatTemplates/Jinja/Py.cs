using System.Globalization;
using System.Numerics;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Python's ways with values: truth, text, equality, order, membership and iteration.</summary>
internal static class Py
{
    /// <summary>The text of a string or of safe text, else null.</summary>
    public static string? AsText(object? value) => value as string ?? (value as Markup)?.Text;

    public static string TypeName(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        Markup => "Markup",
        PyList => "list",
        PyTuple => "tuple",
        PyDict => "dict",
        PyRange => "range",
        PyIterator => "generator",
        PyView v => "dict_" + v.Kind,
        Namespace => "Namespace",
        Undefined => "Undefined",
        PyMacro => "Macro",
        LoopContext => "LoopContext",
        _ => "function",
    };

    public static bool Truth(object? value) => value switch
    {
        null or Undefined => false,
        bool b => b,
        long l => l != 0,
        double d => d != 0,
        BigInteger big => !big.IsZero,
        string s => s.Length > 0,
        Markup m => m.Text.Length > 0,
        PySequence s => s.Count > 0,
        PyDict d => d.Count > 0,
        PyView v => v.Dict.Count > 0,
        LoopContext l => l.Length > 0,
        _ => true,
    };

    /// <summary>Python's str().</summary>
    public static string Str(RenderContext context, object? value)
    {
        switch (value)
        {
            case string s:
                return s;
            case Markup m:
                return m.Text;
            case Undefined:
                return "";
            default:
                var text = new StringBuilder();
                AppendRepr(context, text, value);
                return text.ToString();
        }
    }

    public static string Repr(RenderContext context, object? value)
    {
        var text = new StringBuilder();
        AppendRepr(context, text, value);
        return text.ToString();
    }

    private static void AppendRepr(RenderContext context, StringBuilder to, object? value)
    {
        context.EnterValue();
        context.CheckLength(to.Length);
        switch (value)
        {
            case null:
                to.Append("None");
                break;
            case bool b:
                to.Append(b ? "True" : "False");
                break;
            case long l:
                to.Append(l);
                break;
            case BigInteger big:
                context.ChargeText(big.GetBitLength() * 4);
                to.Append(big.ToString(CultureInfo.InvariantCulture));
                break;
            case double d:
                to.Append(Num.Repr(d));
                break;
            case string s:
                context.ChargeText(s.Length);
                PyText.AppendRepr(to, s);
                break;
            case Markup m:
                to.Append("Markup(");
                context.ChargeText(m.Text.Length);
                PyText.AppendRepr(to, m.Text);
                to.Append(')');
                break;
            case Undefined:
                to.Append("Undefined");
                break;
            case PyList list:
                to.Append('[');
                AppendItems(context, to, list);
                to.Append(']');
                break;
            case PyTuple tuple:
                to.Append('(');
                AppendItems(context, to, tuple);
                to.Append(tuple.Count == 1 ? ",)" : ")");
                break;
            case PyDict dict:
                AppendDict(context, to, dict);
                break;
            case PyRange r:
                to.Append("range(").Append(r.Start).Append(", ").Append(r.Stop);
                if (r.Step != 1) to.Append(", ").Append(r.Step);
                to.Append(')');
                break;
            case PyView view:
                to.Append("dict_").Append(view.Kind).Append("([");
                for (int i = 0; i < view.Dict.Count; i++)
                {
                    if (i > 0) to.Append(", ");
                    AppendRepr(context, to, view[i]);
                }

                to.Append("])");
                break;
            case Namespace ns:
                to.Append("<Namespace ");
                AppendDict(context, to, ns.Attributes);
                to.Append('>');
                break;
            case LoopContext loop:
                to.Append("<LoopContext ").Append(loop.Index0 + 1).Append('/').Append(loop.Length).Append('>');
                break;
            case PyMacro macro:
                to.Append("<Macro ");
                PyText.AppendRepr(to, macro.Name);
                to.Append('>');
                break;
            case PyIterator:
                throw new TemplateFault("a filter's result is printed that is a generator, not a list", "Add `| list` or `| join` after it.");
            default:
                throw new TemplateFault($"a {TypeName(value)} can't be printed", "Call it, or leave it out.");
        }
    }

    private static void AppendItems(RenderContext context, StringBuilder to, PySequence items)
    {
        for (int i = 0; i < items.Count; i++)
        {
            if (i > 0) to.Append(", ");
            AppendRepr(context, to, items[i]);
        }
    }

    private static void AppendDict(RenderContext context, StringBuilder to, PyDict dict)
    {
        to.Append('{');
        for (int i = 0; i < dict.Count; i++)
        {
            if (i > 0) to.Append(", ");
            AppendRepr(context, to, dict.KeyAt(i));
            to.Append(": ");
            AppendRepr(context, to, dict.ValueAt(i));
        }

        to.Append('}');
    }

    public static bool Equal(RenderContext context, object? a, object? b)
    {
        context.EnterValue();
        if (a is string x && b is string y)
        {
            if (x.Length == y.Length) context.ChargeReading(x);
            return x == y;
        }

        if (ReferenceEquals(a, b)) return true;
        if (Num.Is(a) && Num.Is(b)) return Num.Compare(a!, b!) == 0;
        switch (a, b)
        {
            case (PyList or PyTuple, PyList or PyTuple):
                if (a is PyList != b is PyList) return false;
                return SameItems(context, (PySequence)a, (PySequence)b);
            case (PyRange p, PyRange q):
                return p.Count == q.Count && SameItems(context, p, q);
            case (PyDict p, PyDict q):
                if (p.Count != q.Count) return false;
                for (int i = 0; i < p.Count; i++)
                    if (!q.TryGet(p.KeyAt(i), out object? other) || !Equal(context, p.ValueAt(i), other)) return false;
                return true;
            case (Undefined, Undefined):
                return true;
            default:
                return AsText(a) is { } s && s == AsText(b);
        }
    }

    private static bool SameItems(RenderContext context, PySequence a, PySequence b)
    {
        if (a.Count != b.Count) return false;
        for (int i = 0; i < a.Count; i++)
            if (!Equal(context, a[i], b[i])) return false;
        return true;
    }

    /// <summary>Order of two values; 2 when they have none because of NaN. Faults on types without an order.</summary>
    public static int Compare(RenderContext context, object? a, object? b)
    {
        context.EnterValue();
        if (a is Undefined u) throw u.Fault();
        if (b is Undefined v) throw v.Fault();
        if (Num.Is(a) && Num.Is(b)) return Num.Compare(a!, b!);
        context.ChargeReading(a);
        if (AsText(a) is { } s && AsText(b) is { } t) return Math.Sign(PyText.Compare(s, t));
        if ((a is PyList && b is PyList) || (a is PyTuple && b is PyTuple))
        {
            var x = (PySequence)a;
            var y = (PySequence)b;
            for (int i = 0; i < Math.Min(x.Count, y.Count); i++)
                if (!Equal(context, x[i], y[i])) return Compare(context, x[i], y[i]);
            return x.Count.CompareTo(y.Count);
        }

        throw new TemplateFault($"a {TypeName(a)} and a {TypeName(b)} can't be compared by size");
    }

    public static bool Contains(RenderContext context, object? container, object? item)
    {
        switch (container)
        {
            case string or Markup:
                string text = AsText(container)!;
                context.ChargeText(text.Length);
                return AsText(item) is { } part
                    ? text.Contains(part, StringComparison.Ordinal)
                    : throw new TemplateFault($"'in' on a string needs a string before it, not a {TypeName(item)}");
            case PyDict dict:
                context.ChargeReading(item);
                return dict.TryGet(PyDict.CheckKey(item), out _);
            case PyView { Kind: "keys" } view:
                return view.Dict.TryGet(PyDict.CheckKey(item), out _);
            default:
                foreach (object? each in Iterate(context, container))
                    if (Equal(context, each, item)) return true;
                return false;
        }
    }

    /// <summary>Number of items, or null where Python's len() faults.</summary>
    public static int? TryLength(object? value) => value switch
    {
        string s => PyText.Length(s),
        Markup m => PyText.Length(m.Text),
        PySequence s => s.Count,
        PyDict d => d.Count,
        PyView v => v.Dict.Count,
        LoopContext l => (int)l.Length,
        Undefined => 0,
        _ => null,
    };

    public static bool IsIterable(object? value) =>
        value is string or Markup or PySequence or PyDict or PyView or PyIterator or Undefined or LoopContext;

    /// <summary>Walks a value's items, counting each as work. Faults at once on a value that has none.</summary>
    public static IEnumerable<object?> Iterate(RenderContext context, object? value)
    {
        if (!IsIterable(value)) throw new TemplateFault($"a {TypeName(value)} can't be iterated over");
        return Walk(context, value);
    }

    private static IEnumerable<object?> Walk(RenderContext context, object? value)
    {
        switch (value)
        {
            case string or Markup:
                string text = AsText(value)!;
                for (int i = 0; i < text.Length;)
                {
                    context.Charge(1);
                    int step = PyText.Step(text, i);
                    yield return step == 1 ? PyText.Char(text[i]) : text.Substring(i, step);
                    i += step;
                }

                break;
            case PySequence sequence:
                for (int i = 0; i < sequence.Count; i++)
                {
                    context.Charge(1);
                    yield return sequence[i];
                }

                break;
            case PyDict dict:
                for (int i = 0; i < dict.Count; i++)
                {
                    context.Charge(1);
                    yield return dict.KeyAt(i);
                }

                break;
            case PyView view:
                for (int i = 0; i < view.Dict.Count; i++)
                {
                    context.Charge(1);
                    yield return view[i];
                }

                break;
            case PyIterator iterator:
                while (true)
                {
                    // A generator over a generator over ... recurses here.
                    context.EnterValue();
                    if (!iterator.Items.MoveNext()) break;
                    yield return iterator.Items.Current;
                }

                break;
            case LoopContext loop:
                while (loop.MoveNext())
                {
                    context.Charge(1);
                    yield return new PyTuple(loop.Current, loop);
                }

                break;
        }
    }

    public static List<object?> ToList(RenderContext context, object? value) => [.. Iterate(context, value)];
}
