using System.Globalization;
using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Number and text layout shared by the % operator and str.format: fill, sign, width, precision, type.</summary>
internal sealed record FormatSpec(char Fill, char Align, char Sign, bool Alternate, bool Grouping, int Width, int Precision, char Type)
{
    public string Apply(RenderContext context, object? value)
    {
        context.CheckLength(Math.Max(Width, Precision));
        context.Charge(Math.Max(Width, Precision) >> 3);
        string body;
        string sign = "";
        bool number = false;
        switch (Type)
        {
            case 's':
                body = Py.Str(context, value);
                if (Precision >= 0 && PyText.Length(body) > Precision) body = string.Concat(PyText.Points(body)[..Precision]);
                break;
            case 'd' or 'x' or 'X' or 'o' or 'b' or 'c':
                if (!Num.IsInteger(value)) throw new TemplateFault($"the format '{Type}' needs an integer, not a {Py.TypeName(value)}");
                if (Type == 'c')
                {
                    body = Character(value!);
                    break;
                }

                number = true;
                (sign, body) = Integer(Num.Big(value!));
                break;
            case 'f' or 'F' or 'e' or 'E' or 'g' or 'G':
                if (!Num.Is(value)) throw new TemplateFault($"the format '{Type}' needs a number, not a {Py.TypeName(value)}");
                number = true;
                (sign, body) = Float(Num.Double(value!));
                break;
            default:
                throw TemplateFault.Unsupported($"the format type '{Type}'");
        }

        return Pad(sign, body, number);
    }

    private string Pad(string sign, string body, bool number)
    {
        int missing = Width - PyText.Length(body) - sign.Length;
        if (missing <= 0) return sign + body;
        char align = Align == '\0' ? number ? '>' : '<' : Align;
        return align switch
        {
            '<' => sign + body + new string(Fill, missing),
            '>' => new string(Fill, missing) + sign + body,
            '=' => sign + new string(Fill, missing) + body,
            _ => new string(Fill, missing / 2) + sign + body + new string(Fill, missing - (missing / 2)),
        };
    }

    private static string Character(object value)
    {
        BigInteger code = Num.Big(value);
        if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) throw new TemplateFault("the format 'c' needs a character's number");
        return char.ConvertFromUtf32((int)code);
    }

    private string SignOf(bool negative) => negative ? "-" : Sign is '+' or ' ' ? Sign.ToString() : "";

    private (string Sign, string Body) Integer(BigInteger value)
    {
        BigInteger size = BigInteger.Abs(value);
        string sign = SignOf(value.Sign < 0);
        string digits = Type switch
        {
            'd' => size.ToString(CultureInfo.InvariantCulture),
            'x' => Radix(size, 16),
            'X' => Radix(size, 16).ToUpperInvariant(),
            'o' => Radix(size, 8),
            _ => Radix(size, 2),
        };
        if (Precision > digits.Length) digits = digits.PadLeft(Precision, '0');
        if (Alternate && Type != 'd') sign += "0" + Type;
        return (sign, Grouping ? Group(digits) : digits);
    }

    private static string Radix(BigInteger value, int radix)
    {
        if (value.IsZero) return "0";
        var digits = new Stack<char>();
        for (; !value.IsZero; value /= radix) digits.Push("0123456789abcdef"[(int)(value % radix)]);
        return new string([.. digits]);
    }

    private (string Sign, string Body) Float(double value)
    {
        string sign = SignOf(double.IsNegative(value) && !double.IsNaN(value));
        double size = Math.Abs(value);
        if (!double.IsFinite(value)) return (sign, double.IsNaN(value) ? "nan" : "inf");
        int precision = Precision < 0 ? 6 : Precision;
        if (precision > 300) throw new TemplateFault("a format's precision is above 300");
        string body = Type switch
        {
            'f' or 'F' => Fixed(size, precision),
            'e' or 'E' => Exponent(size, precision),
            _ => General(size, Math.Max(precision, 1)),
        };
        if (char.IsUpper(Type)) body = body.ToUpperInvariant();
        if (Grouping)
        {
            int dot = body.IndexOf('.');
            body = dot < 0 ? Group(body) : Group(body[..dot]) + body[dot..];
        }

        return (sign, body);
    }

    // "F" of .NET is exact but rounds ties away from zero; rounding first (half to even) makes the tie unambiguous.
    private static string Fixed(double value, int precision) =>
        (IsTie(value, precision) ? Num.Round(value, precision) : value).ToString("F" + precision, CultureInfo.InvariantCulture);

    private static bool IsTie(double value, int precision) =>
        precision < 16 && value < 1e15 && value * Math.Pow(10, precision) % 1 == 0.5;

    private static string Exponent(double value, int precision)
    {
        string text = value.ToString((precision > 0 ? "0." + new string('0', precision) : "0") + "e+00", CultureInfo.InvariantCulture);
        return text;
    }

    private static string General(double value, int precision)
    {
        if (value == 0) return "0";
        string scientific = Exponent(value, precision - 1);
        int e = scientific.IndexOf('e');
        int exponent = int.Parse(scientific[(e + 1)..], CultureInfo.InvariantCulture);
        if (exponent < -4 || exponent >= precision) return Trim(scientific[..e]) + scientific[e..];
        return Trim(Fixed(value, precision - 1 - exponent));
    }

    private static string Trim(string digits) => digits.Contains('.') ? digits.TrimEnd('0').TrimEnd('.') : digits;

    private static string Group(string digits)
    {
        for (int i = digits.Length - 3; i > 0; i -= 3) digits = digits.Insert(i, ",");
        return digits;
    }
}
