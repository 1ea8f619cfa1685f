using System.Globalization;
using System.Numerics;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>
/// The tojson filter as transformers redefines it: Python's json.dumps with ensure_ascii off and no HTML escaping
/// (Jinja's own filter escapes <c>&lt;</c>, which would put other tokens before the model).
/// </summary>
internal static class JsonDump
{
    public static object? Filter(RenderContext context, object? value, CallArgs args)
    {
        object?[] a = args.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys");
        bool ascii = a[0] != CallArgs.Missing && Py.Truth(a[0]);
        string? indent = null;
        if (a[1] is not null && a[1] != CallArgs.Missing)
        {
            if (Py.AsText(a[1]) is { } text)
            {
                indent = text;
            }
            else
            {
                int width = Math.Max(0, Num.Int(a[1], "tojson's indent"));
                context.ChargeText(width);
                indent = new string(' ', width);
            }
        }

        string item = indent is null ? ", " : ",", key = ": ";
        if (a[2] is not null && a[2] != CallArgs.Missing)
        {
            if (a[2] is not (PyTuple or PyList) || a[2] is not PySequence { Count: 2 } pair || Py.AsText(pair[0]) is not { } s || Py.AsText(pair[1]) is not { } t)
                throw new TemplateFault("tojson's separators must be two strings");
            (item, key) = (s, t);
        }

        var writer = new Writer(context, ascii, indent, item, key, a[3] != CallArgs.Missing && Py.Truth(a[3]));
        return writer.Dump(value);
    }

    private sealed class Writer(RenderContext context, bool ascii, string? indent, string itemSeparator, string keySeparator, bool sortKeys)
    {
        private readonly StringBuilder _to = new();
        private int _level;

        public string Dump(object? value)
        {
            Write(value);
            context.ChargeText(_to.Length);
            return _to.ToString();
        }

        private void Write(object? value)
        {
            context.EnterValue();
            context.CheckLength(_to.Length);
            switch (value)
            {
                case string or Markup:
                    Text(Py.AsText(value)!);
                    break;
                case PyList or PyTuple:
                    var items = (PySequence)value;
                    Block('[', ']', items.Count, i => Write(items[i]));
                    break;
                case PyDict dict:
                    int[] order = Order(dict);
                    Block('{', '}', order.Length, i =>
                    {
                        Text(Key(dict.KeyAt(order[i])));
                        _to.Append(keySeparator);
                        Write(dict.ValueAt(order[i]));
                    });
                    break;
                default:
                    _to.Append(Scalar(value));
                    break;
            }
        }

        private int[] Order(PyDict dict)
        {
            int[] order = [.. Enumerable.Range(0, dict.Count)];
            if (!sortKeys) return order;
            var sorted = FilterHelp.StableSort(context, [.. order.Select(i => (object?)(long)i)], i => dict.KeyAt((int)(long)i!), reverse: false);
            return [.. sorted.Select(i => (int)(long)i!)];
        }

        private void Block(char open, char close, int count, Action<int> write)
        {
            _to.Append(open);
            _level++;
            for (int i = 0; i < count; i++)
            {
                if (i > 0) _to.Append(itemSeparator);
                NewLine();
                write(i);
            }

            _level--;
            if (count > 0) NewLine();
            _to.Append(close);
        }

        private void NewLine()
        {
            if (indent is null) return;
            context.ChargeText(_to.Length + ((long)indent.Length * _level) > int.MaxValue ? long.MaxValue : (long)indent.Length * _level);
            _to.Append('\n');
            for (int i = 0; i < _level; i++) _to.Append(indent);
        }

        private static string Scalar(object? value) => value switch
        {
            null => "null",
            bool b => b ? "true" : "false",
            long l => l.ToString(CultureInfo.InvariantCulture),
            BigInteger big => big.ToString(CultureInfo.InvariantCulture),
            double d => double.IsNaN(d) ? "NaN" : double.IsInfinity(d) ? (d > 0 ? "Infinity" : "-Infinity") : Num.Repr(d),
            Undefined u => throw new TemplateFault($"tojson can't write an undefined value: {u.Hint}"),
            _ => throw new TemplateFault($"tojson can't write a {Py.TypeName(value)}", "Make a list of it first with `| list`."),
        };

        private static string Key(object? key) => Py.AsText(key) ?? (key is PyTuple or Undefined ? throw new TemplateFault("tojson needs dict keys that are strings or numbers") : Scalar(key));

        private void Text(string s)
        {
            context.ChargeText(s.Length);
            _to.Append('"');
            foreach (char c in s)
            {
                switch (c)
                {
                    case '"':
                        _to.Append("\\\"");
                        break;
                    case '\\':
                        _to.Append("\\\\");
                        break;
                    case '\n':
                        _to.Append("\\n");
                        break;
                    case '\r':
                        _to.Append("\\r");
                        break;
                    case '\t':
                        _to.Append("\\t");
                        break;
                    case '\b':
                        _to.Append("\\b");
                        break;
                    case '\f':
                        _to.Append("\\f");
                        break;
                    default:
                        if (c < ' ' || (ascii && c > '~')) _to.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture));
                        else _to.Append(c);
                        break;
                }
            }

            _to.Append('"');
        }
    }
}
