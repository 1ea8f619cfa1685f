using System.Globalization;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Python's str.format with numbered and named places; attribute and index access inside a place is not supported.</summary>
internal static class BraceFormat
{
    public static string Apply(RenderContext context, string format, CallArgs args)
    {
        var result = new StringBuilder();
        int auto = 0;
        bool? numbered = null;
        for (int i = 0; i < format.Length; i++)
        {
            char c = format[i];
            if (c is not ('{' or '}'))
            {
                result.Append(c);
                continue;
            }

            if (i + 1 < format.Length && format[i + 1] == c)
            {
                result.Append(c);
                i++;
                continue;
            }

            if (c == '}') throw new TemplateFault("a format has a single '}'");
            int close = format.IndexOf('}', i);
            if (close < 0) throw new TemplateFault("a format has a single '{'");
            string place = format[(i + 1)..close];
            if (place.Contains('{')) throw TemplateFault.Unsupported("a place inside a place of str.format");
            i = close;
            int colon = place.IndexOf(':');
            string spec = colon < 0 ? "" : place[(colon + 1)..];
            string field = colon < 0 ? place : place[..colon];
            int bang = field.IndexOf('!');
            string conversion = bang < 0 ? "" : field[(bang + 1)..];
            if (bang >= 0) field = field[..bang];
            object? value = Field(args, field, ref auto, ref numbered);
            value = conversion switch
            {
                "" => value,
                "s" => Py.Str(context, value),
                "r" => Py.Repr(context, value),
                _ => throw TemplateFault.Unsupported($"the conversion !{conversion}"),
            };
            result.Append(Format(context, value, spec));
            context.CheckLength(result.Length);
        }

        return result.ToString();
    }

    private static object? Field(CallArgs args, string field, ref int auto, ref bool? numbered)
    {
        if (field.AsSpan().IndexOfAny('.', '[') >= 0) throw TemplateFault.Unsupported($"the place '{{{field}}}' of str.format");
        bool isNumber = field.Length > 0 && field.All(char.IsAsciiDigit);
        if (field.Length == 0 || isNumber)
        {
            if (numbered is { } before && before != isNumber) throw new TemplateFault("a format mixes {} with {0}");
            numbered = isNumber;
            int at = isNumber ? int.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : int.MaxValue : auto++;
            return at < args.Positional.Length ? args.Positional[at] : throw new TemplateFault("the format has more places than values");
        }

        foreach ((string name, object? value) in args.Keyword)
            if (name == field) return value;
        throw new TemplateFault($"the format's name '{field}' was not given");
    }

    private static string Format(RenderContext context, object? value, string spec)
    {
        if (spec.Length == 0) return Py.Str(context, value);
        int i = 0;
        char fill = ' ', align = '\0', sign = '\0';
        if (spec.Length > 1 && spec[1] is '<' or '>' or '^' or '=')
        {
            fill = spec[0];
            align = spec[1];
            i = 2;
        }
        else if (spec[0] is '<' or '>' or '^' or '=')
        {
            align = spec[0];
            i = 1;
        }

        if (At(spec, i) is '+' or '-' or ' ') sign = spec[i++];
        bool alternate = At(spec, i) == '#';
        if (alternate) i++;
        if (At(spec, i) == '0')
        {
            i++;
            if (align == '\0')
            {
                fill = '0';
                align = Num.Is(value) ? '=' : '<';
            }
        }

        int width = Number(spec, ref i) ?? 0;
        bool grouping = At(spec, i) == ',';
        if (grouping) i++;
        int precision = -1;
        if (At(spec, i) == '.')
        {
            i++;
            precision = Number(spec, ref i) ?? throw new TemplateFault("a format's precision is missing");
        }

        char type = At(spec, i);
        if (i + 1 < spec.Length) throw new TemplateFault($"the format '{spec}' is not valid");
        if (Py.AsText(value) is not null)
        {
            if (type is not ('\0' or 's') || sign != '\0' || grouping || alternate || align == '=') throw new TemplateFault($"the format '{spec}' can't take a string");
            type = 's';
        }
        else if (!Num.Is(value))
        {
            throw new TemplateFault($"the format '{spec}' can't take a {Py.TypeName(value)}");
        }
        else if (type == '%')
        {
            return new FormatSpec(fill, align == '\0' ? '>' : align, sign, false, grouping, Math.Max(0, width - 1), precision, 'f').Apply(context, Num.Double(value!) * 100) + "%";
        }
        else if (type == '\0')
        {
            if (value is bool && align == '\0' && precision < 0) return new FormatSpec(fill, '>', '\0', false, false, width, -1, 'd').Apply(context, value);
            if (value is double)
            {
                if (precision >= 0) throw TemplateFault.Unsupported("a float's format with a precision and no type");
                if (grouping || sign != '\0' || align == '=') throw TemplateFault.Unsupported("this float format without a type");
                return new FormatSpec(fill, align == '\0' ? '>' : align, '\0', false, false, width, -1, 's').Apply(context, Num.Repr((double)value));
            }

            type = 'd';
        }

        if (type is 'd' or 'x' or 'X' or 'o' or 'b' && precision >= 0) throw new TemplateFault("an integer's format takes no precision");
        if (grouping && fill == '0' && align == '=') throw TemplateFault.Unsupported("zero padding together with grouping");
        return new FormatSpec(fill, align, sign, alternate, grouping, width, precision, type).Apply(context, value);
    }

    private static int? Number(string spec, ref int i)
    {
        int start = i;
        while (char.IsAsciiDigit(At(spec, i))) i++;
        if (start == i) return null;
        return int.TryParse(spec.AsSpan(start, i - start), NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : throw new TemplateFault("a format's width is too large");
    }

    private static char At(string s, int i) => i < s.Length ? s[i] : '\0';
}
