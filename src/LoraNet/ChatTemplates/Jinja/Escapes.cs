using System.Globalization;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>Backslash escapes of string literals, as in Python; an unknown one stays as it is written.</summary>
internal static class Escapes
{
    public static string Decode(string text, int line)
    {
        if (!text.Contains('\\')) return text;
        var result = new StringBuilder(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\' || i + 1 == text.Length)
            {
                result.Append(text[i]);
                continue;
            }

            char c = text[++i];
            switch (c)
            {
                case '\n':
                    break;
                case '\\' or '\'' or '"':
                    result.Append(c);
                    break;
                case 'a':
                    result.Append('\a');
                    break;
                case 'b':
                    result.Append('\b');
                    break;
                case 'f':
                    result.Append('\f');
                    break;
                case 'n':
                    result.Append('\n');
                    break;
                case 'r':
                    result.Append('\r');
                    break;
                case 't':
                    result.Append('\t');
                    break;
                case 'v':
                    result.Append('\v');
                    break;
                case >= '0' and <= '7':
                    int octal = 0;
                    int end = Math.Min(i + 3, text.Length);
                    for (; i < end && text[i] is >= '0' and <= '7'; i++) octal = (octal * 8) + text[i] - '0';
                    i--;
                    result.Append((char)octal);
                    break;
                case 'x' or 'u' or 'U':
                    int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
                    if (i + digits >= text.Length
                        || !int.TryParse(text.AsSpan(i + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code)
                        || code is < 0 or > 0x10FFFF)
                    {
                        throw new TemplateFault($"the escape \\{c} needs {digits} hexadecimal digits of a character", null, line);
                    }

                    i += digits;
                    if (code < 0x10000) result.Append((char)code);
                    else result.Append(char.ConvertFromUtf32(code));
                    break;
                case 'N':
                    throw TemplateFault.Unsupported("the escape \\N{name}", line);
                default:
                    result.Append('\\').Append(c);
                    break;
            }
        }

        return result.ToString();
    }
}
