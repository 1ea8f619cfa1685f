namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The arithmetic operators on any pair of values.</summary>
internal static class Operators
{
    public static object? Binary(RenderContext context, string op, object? a, object? b)
    {
        if (a is Undefined u) throw u.Fault();
        if (op == "%" && Py.AsText(a) is { } format)
        {
            context.ChargeReading(a);
            string made = PercentFormat.Apply(context, format, b);
            return a is Markup ? new Markup(made) : made;
        }

        if (b is Undefined v) throw v.Fault();
        if (Num.Is(a) && Num.Is(b)) return Num.Binary(op, a!, b!);
        switch (op)
        {
            case "+" when a is string s && b is string t:
                context.ChargeText((long)s.Length + t.Length);
                return s + t;
            case "+" when (a is Markup or string) && (b is Markup or string):
                string left = a is Markup m ? m.Text : PyText.Escape((string)a);
                string right = b is Markup n ? n.Text : PyText.Escape((string)b);
                context.ChargeText((long)left.Length + right.Length);
                return new Markup(left + right);
            case "+" when a is PyList x && b is PyList y:
                context.ChargeItems((long)x.Count + y.Count);
                return new PyList([.. x.Items, .. y.Items]);
            case "+" when a is PyTuple x && b is PyTuple y:
                context.ChargeItems((long)x.Count + y.Count);
                return new PyTuple([.. x.Items, .. y.Items]);
            case "*" when Num.IsInteger(a) && (b is string or Markup or PyList or PyTuple):
                return Repeat(context, b, Num.Int(a, "a repeat count"));
            case "*" when (a is string or Markup or PyList or PyTuple) && Num.IsInteger(b):
                return Repeat(context, a, Num.Int(b, "a repeat count"));
            default:
                throw new TemplateFault($"the operator {op} can't take a {Py.TypeName(a)} and a {Py.TypeName(b)}", Advice(op, a, b));
        }
    }

    private static string? Advice(string op, object? a, object? b) =>
        op == "+" && (Py.AsText(a) ?? Py.AsText(b)) is not null ? "Use ~ to join values as text." : null;

    private static object Repeat(RenderContext context, object value, int count)
    {
        count = Math.Max(count, 0);
        switch (value)
        {
            case string or Markup:
                string text = Py.AsText(value)!;
                context.ChargeText((long)text.Length * count);
                string repeated = text.Length == 0 ? "" : text.Length == 1 ? new string(text[0], count) : string.Concat(Enumerable.Repeat(text, count));
                return value is Markup ? new Markup(repeated) : repeated;
            default:
                var items = (PySequence)value;
                context.ChargeItems((long)items.Count * count);
                var made = new List<object?>(items.Count * count);
                for (int i = 0; i < count && items.Count > 0; i++)
                    for (int k = 0; k < items.Count; k++) made.Add(items[k]);
                return value is PyList ? new PyList(made) : new PyTuple([.. made]);
        }
    }

    public static object? Unary(string op, object? value)
    {
        if (value is Undefined u) throw u.Fault();
        if (!Num.Is(value)) throw new TemplateFault($"the sign {op} can't stand before a {Py.TypeName(value)}");
        if (op == "-") return Num.Negate(value!);
        return value is bool b ? (b ? 1L : 0L) : value;
    }
}
