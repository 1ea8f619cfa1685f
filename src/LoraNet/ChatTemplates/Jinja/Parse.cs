using System.Globalization;
using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Numbers from text, as Python's int() and float() read them; null where they would fail.</summary>
internal static class Parse
{
    public static BigInteger? Integer(string text, int radix)
    {
        string s = PyText.Strip(text, null, true, true);
        if (s.Length is 0 or > 2000 || radix is not 0 and (< 2 or > 36)) return null;
        bool negative = s[0] == '-';
        if (s[0] is '+' or '-') s = s[1..];
        int prefix = s.Length > 1 && s[0] == '0' ? char.ToLowerInvariant(s[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 } : 0;
        if (prefix != 0 && (radix == 0 || radix == prefix))
        {
            radix = prefix;
            s = s[2..];
            if (s.StartsWith('_')) s = s[1..];
        }

        if (radix == 0) radix = s.Length > 1 && s[0] == '0' && s.Trim('0', '_').Length > 0 ? -1 : 10;
        if (s.Length == 0 || radix < 0 || s[0] == '_' || s[^1] == '_' || s.Contains("__")) return null;
        BigInteger value = 0;
        foreach (char c in s)
        {
            if (c == '_') continue;
            int digit = char.IsAsciiDigit(c) ? c - '0' : char.IsAsciiLetter(c) ? char.ToLowerInvariant(c) - 'a' + 10 : (int)char.GetNumericValue(c);
            if (digit < 0 || digit >= radix) return null;
            value = (value * radix) + digit;
        }

        return negative ? -value : value;
    }

    public static double? Float(string text)
    {
        string s = PyText.Strip(text, null, true, true);
        string unsigned = s.TrimStart('+', '-');
        if (s.Length - unsigned.Length > 1) return null;
        switch (unsigned.ToLowerInvariant())
        {
            case "inf" or "infinity":
                return s[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
            case "nan":
                return double.NaN;
        }

        if (s.StartsWith('_') || s.EndsWith('_') || s.Contains("__")) return null;
        for (int i = 1; i < s.Length - 1; i++)
            if (s[i] == '_' && !(char.IsAsciiDigit(s[i - 1]) && char.IsAsciiDigit(s[i + 1]))) return null;
        s = s.Replace("_", "");
        const NumberStyles style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return s.Length > 0 && double.TryParse(s, style, CultureInfo.InvariantCulture, out double d) ? d : null;
    }
}
