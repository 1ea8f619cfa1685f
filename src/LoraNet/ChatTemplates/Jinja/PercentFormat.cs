using System.Globalization;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Python's <c>text % values</c>.</summary>
internal static class PercentFormat
{
    public static string Apply(RenderContext context, string format, object? values)
    {
        var result = new StringBuilder();
        object?[] args = values is PyTuple t ? t.Items : [values];
        bool keyed = false;
        int next = 0;
        object? Next() => next < args.Length ? args[next++] : throw new TemplateFault("the format has more places than values");

        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                result.Append(format[i]);
                continue;
            }

            i++;
            object? given = CallArgs.Missing;
            if (At(format, i) == '(')
            {
                int close = format.IndexOf(')', i);
                if (close < 0) throw new TemplateFault("a format's '%(' has no ')'");
                if (values is not PyDict dict) throw new TemplateFault("a format with names needs a dict");
                string name = format[(i + 1)..close];
                given = dict.TryGet(name, out object? v) ? v : throw new TemplateFault($"the format's name '{name}' is not in the dict");
                keyed = true;
                i = close + 1;
            }

            char fill = ' ', align = '>', sign = '\0';
            bool alternate = false;
            for (; At(format, i) is '-' or '+' or ' ' or '0' or '#'; i++)
            {
                switch (format[i])
                {
                    case '-':
                        align = '<';
                        break;
                    case '0':
                        fill = '0';
                        break;
                    case '#':
                        alternate = true;
                        break;
                    case '+':
                        sign = '+';
                        break;
                    default:
                        sign = sign == '\0' ? ' ' : sign;
                        break;
                }
            }

            int width = Number(format, ref i, Next);
            if (width < 0)
            {
                align = '<';
                width = -width;
            }

            int precision = -1;
            if (At(format, i) == '.')
            {
                i++;
                precision = Math.Max(0, Number(format, ref i, Next));
            }

            while (At(format, i) is 'l' or 'h' or 'L') i++;
            char type = At(format, i);
            if (type == '\0') throw new TemplateFault("the format ends inside a place");
            if (type == '%')
            {
                result.Append('%');
                continue;
            }

            object? value = given == CallArgs.Missing ? Next() : given;
            result.Append(Place(context, type, value, fill, align, sign, alternate, width, precision));
            context.CheckLength(result.Length);
        }

        // Python lets anything that can be subscripted, save tuples and strings, go unused.
        if (!keyed && next < args.Length && values is not (PyDict or PyList or PyRange or Undefined)) throw new TemplateFault("the format has fewer places than values");
        return result.ToString();
    }

    private static string Place(RenderContext context, char type, object? value, char fill, char align, char sign, bool alternate, int width, int precision)
    {
        if (type is 's' or 'r' or 'a')
        {
            if (type == 'a') throw TemplateFault.Unsupported("the format %a");
            object text = type == 'r' ? Py.Repr(context, value) : Py.Str(context, value);
            return new FormatSpec(' ', align, '\0', false, false, width, precision, 's').Apply(context, text);
        }

        if (value is Undefined u) throw u.Fault();
        if (type == 'c' && Py.AsText(value) is { } c)
        {
            if (PyText.Length(c) != 1) throw new TemplateFault("the format %c needs one character");
            return new FormatSpec(' ', align, '\0', false, false, width, -1, 's').Apply(context, c);
        }

        if (type is 'd' or 'i' or 'u')
        {
            if (value is double d) value = FilterHelp.Truncate(d);
            type = 'd';
        }

        if (fill == '0' && align == '>') align = '=';
        if (align == '<') fill = ' ';
        return new FormatSpec(fill, align, sign, alternate, false, width, precision, type).Apply(context, value);
    }

    private static int Number(string format, ref int i, Func<object?> next)
    {
        if (At(format, i) == '*')
        {
            i++;
            return Num.Int(next(), "a format's width");
        }

        int start = i;
        while (char.IsAsciiDigit(At(format, i))) i++;
        if (start == i) return 0;
        return int.TryParse(format.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw new TemplateFault("a format's width is too large");
    }

    private static char At(string s, int i) => i < s.Length ? s[i] : '\0';
}
