using System.Globalization;
using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Python arithmetic: unbounded integers (long, or BigInteger where needed) and doubles; bool counts as 0 or 1.</summary>
internal static class Num
{
    private const int MaxBits = 8192;

    public static bool Is(object? value) => value is long or double or bool or BigInteger;

    public static bool IsInteger(object? value) => value is long or bool or BigInteger;

    /// <summary>The smallest form of an integer.</summary>
    public static object Normal(BigInteger value)
    {
        if (value >= long.MinValue && value <= long.MaxValue) return (long)value;
        return value.GetBitLength() <= MaxBits ? value : throw new TemplateFault("an integer grows too large");
    }

    public static BigInteger Big(object value) => value switch
    {
        bool b => b ? 1 : 0,
        long l => l,
        BigInteger big => big,
        _ => throw new InvalidOperationException(),
    };

    public static double Double(object value) => value switch
    {
        double d => d,
        bool b => b ? 1 : 0,
        long l => l,
        BigInteger big => (double)big,
        _ => throw new InvalidOperationException(),
    };

    /// <summary>An argument that must be an integer, such as a width or count.</summary>
    public static int Int(object? value, string what)
    {
        if (!IsInteger(value)) throw new TemplateFault($"{what} must be an integer, not a {Py.TypeName(value)}");
        BigInteger big = Big(value!);
        return big >= int.MinValue && big <= int.MaxValue ? (int)big : throw new TemplateFault($"{what} is out of range");
    }

    public static int Compare(object a, object b)
    {
        if (a is long x && b is long y) return x.CompareTo(y);
        if (a is double || b is double)
        {
            double p = Double(a), q = Double(b);

            // NaN is neither equal, less nor greater: 2 says so.
            return double.IsNaN(p) || double.IsNaN(q) ? 2 : p.CompareTo(q);
        }

        return Big(a).CompareTo(Big(b));
    }

    public static object Binary(string op, object a, object b)
    {
        if (a is bool p) a = p ? 1L : 0L;
        if (b is bool q) b = q ? 1L : 0L;
        if (a is long x && b is long y) return Longs(op, x, y);
        return a is double || b is double ? Doubles(op, Double(a), Double(b)) : Bigs(op, Big(a), Big(b));
    }

    public static object Negate(object value) => value switch
    {
        double d => -d,
        _ => Normal(-Big(value)),
    };

    private static object Longs(string op, long x, long y)
    {
        switch (op)
        {
            case "+" when !OverflowsAdd(x, y):
                return x + y;
            case "-" when y != long.MinValue && !OverflowsAdd(x, -y):
                return x - y;
            case "*" when Math.BigMul(x, y, out long low) is long high && high == low >> 63:
                return low;
            case "%" when y > 0:
                long r = x % y;
                return r < 0 ? r + y : r;
            case "//" when y > 0:
                long d = x / y;
                return x % y < 0 ? d - 1 : d;
            default:
                return Bigs(op, x, y);
        }
    }

    private static bool OverflowsAdd(long x, long y) => ((x ^ (x + y)) & (y ^ (x + y))) < 0;

    private static object Bigs(string op, BigInteger x, BigInteger y)
    {
        switch (op)
        {
            case "+":
                return Normal(x + y);
            case "-":
                return Normal(x - y);
            case "*":
                return Normal(x * y);
            case "/":
                return Divide((double)x, (double)y);
            case "//" or "%":
                if (y.IsZero) throw ZeroDivision();
                BigInteger quotient = BigInteger.DivRem(x, y, out BigInteger rest);
                if (!rest.IsZero && (rest.Sign < 0) != (y.Sign < 0))
                {
                    quotient--;
                    rest += y;
                }

                return Normal(op == "//" ? quotient : rest);
            default:
                if (y.Sign < 0) return Doubles("**", (double)x, (double)y);
                if (x.IsZero || x.IsOne) return Normal(y.IsZero ? 1 : x);
                if (y > MaxBits || x.GetBitLength() * (long)y > MaxBits) throw new TemplateFault("an integer grows too large");
                return Normal(BigInteger.Pow(x, (int)y));
        }
    }

    private static object Doubles(string op, double x, double y)
    {
        switch (op)
        {
            case "+":
                return x + y;
            case "-":
                return x - y;
            case "*":
                return x * y;
            case "/":
                return Divide(x, y);
            case "%":
                return Modulo(x, y);
            case "//":
                double rest = Modulo(x, y);
                double quotient = (x - rest) / y;
                double floor = Math.Floor(quotient);
                return quotient - floor > 0.5 ? floor + 1 : quotient == 0 ? Math.CopySign(0, x / y) : floor;
            default:
                if (x == 0 && y < 0) throw ZeroDivision();
                if (x < 0 && double.IsFinite(x) && double.IsFinite(y) && y != Math.Floor(y)) throw TemplateFault.Unsupported("a complex number");
                double power = Math.Pow(x, y);
                return double.IsInfinity(power) && double.IsFinite(x) && double.IsFinite(y) ? throw new TemplateFault("the result of ** is too large") : power;
        }
    }

    private static double Modulo(double x, double y)
    {
        if (y == 0) throw ZeroDivision();
        double r = x % y;
        if (r == 0) return Math.CopySign(0, y);
        return (r < 0) != (y < 0) ? r + y : r;
    }

    private static double Divide(double x, double y) => y == 0 ? throw ZeroDivision() : x / y;

    private static TemplateFault ZeroDivision() => new("division by zero");

    /// <summary>Rounds half to even at a decimal place, exactly (by integers), as Python's round does.</summary>
    public static double Round(double value, int digits)
    {
        if (!double.IsFinite(value) || value == 0 || digits > 330) return value;
        if (digits < -330) return Math.CopySign(0, value);
        long bits = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)((bits >> 52) & 0x7FF);
        BigInteger mantissa = bits & 0xFFFFFFFFFFFFFL;
        if (exponent == 0) exponent++;
        else mantissa += 1L << 52;
        exponent -= 1075;

        // value * 10^digits = numerator / denominator
        BigInteger numerator = mantissa, denominator = 1;
        if (exponent > 0) numerator <<= exponent;
        else denominator <<= -exponent;
        if (digits > 0) numerator *= BigInteger.Pow(10, digits);
        else denominator *= BigInteger.Pow(10, -digits);
        BigInteger whole = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int half = (rest * 2).CompareTo(denominator);
        if (half > 0 || (half == 0 && !whole.IsEven)) whole++;
        string text = $"{(value < 0 ? "-" : "")}{whole}E{-digits}";
        return double.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <summary>Python's repr of a float: the shortest digits that read back, exponent form below 1e-4 and from 1e16.</summary>
    public static string Repr(double d)
    {
        if (double.IsNaN(d)) return "nan";
        if (double.IsInfinity(d)) return d > 0 ? "inf" : "-inf";
        string shortest = d.ToString("R", CultureInfo.InvariantCulture);
        string sign = double.IsNegative(d) ? "-" : "";
        shortest = shortest.TrimStart('-');
        int e = shortest.IndexOf('E');
        int exponent = e < 0 ? 0 : int.Parse(shortest[(e + 1)..], CultureInfo.InvariantCulture);
        string mantissa = e < 0 ? shortest : shortest[..e];
        int dot = mantissa.IndexOf('.');
        string digits = mantissa.Replace(".", "");
        int point = (dot < 0 ? mantissa.Length : dot) + exponent;
        string trimmed = digits.TrimStart('0');
        point -= digits.Length - trimmed.Length;
        digits = trimmed.TrimEnd('0');
        if (digits.Length == 0) return sign + "0.0";
        if (point is > 16 or < -3)
        {
            int shown = point - 1;
            string tail = digits.Length > 1 ? "." + digits[1..] : "";
            return $"{sign}{digits[0]}{tail}e{(shown < 0 ? '-' : '+')}{Math.Abs(shown):00}";
        }

        if (point <= 0) return sign + "0." + new string('0', -point) + digits;
        return point >= digits.Length
            ? sign + digits + new string('0', point - digits.Length) + ".0"
            : sign + digits[..point] + "." + digits[point..];
    }
}
