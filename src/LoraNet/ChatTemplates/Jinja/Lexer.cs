using System.Globalization;
using System.Numerics;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>
/// Cuts a template into tokens with trim_blocks and lstrip_blocks on, as transformers sets them:
/// the newline after a block or comment tag goes, and so does blank space from the line's start up to one;
/// <c>-</c> at a tag's edge strips all white space on that side, <c>+</c> keeps it.
/// </summary>
internal sealed class Lexer
{
    private static readonly string[] s_operators =
        ["//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _pos;
    private int _line = 1;

    // Whether the last tag ended with a newline, so that the text after it starts a line.
    private bool _lineStarting = true;

    private Lexer(string source) => _source = source;

    public static List<Token> Tokenize(string source)
    {
        string s = source.Replace("\r\n", "\n").Replace('\r', '\n');
        if (s.EndsWith('\n')) s = s[..^1];
        var lexer = new Lexer(s);
        lexer.Root();
        lexer._tokens.Add(new Token(TokenKind.End, "", null, lexer._line));
        return lexer._tokens;
    }

    private void Root()
    {
        while (_pos < _source.Length)
        {
            int tag = FindTag(_pos);
            if (tag < 0)
            {
                Add(TokenKind.Data, _source[_pos..]);
                Advance(_source.Length);
                return;
            }

            char kind = _source[tag + 1];
            char sign = At(tag + 2) is '-' or '+' ? At(tag + 2) : ' ';
            Data(_source[_pos..tag], sign, lstrip: kind != '{');
            int inside = tag + (sign == ' ' ? 2 : 3);
            Advance(tag);
            switch (kind)
            {
                case '#':
                    Comment(inside);
                    break;
                case '%' when RawBegin(inside) is int raw and >= 0:
                    Raw(raw);
                    break;
                case '%':
                    Add(TokenKind.BlockBegin, "{%");
                    Advance(inside);
                    Inside(block: true);
                    break;
                default:
                    Add(TokenKind.VariableBegin, "{{");
                    Advance(inside);
                    Inside(block: false);
                    break;
            }
        }
    }

    private int FindTag(int from)
    {
        for (int i = from; (i = _source.IndexOf('{', i)) >= 0; i++)
            if (At(i + 1) is '{' or '%' or '#') return i;
        return -1;
    }

    private void Data(string text, char sign, bool lstrip)
    {
        string kept = text;
        if (sign == '-')
        {
            kept = PyText.Strip(text, null, left: false, right: true);
        }
        else if (sign != '+' && lstrip)
        {
            int start = text.LastIndexOf('\n') + 1;
            if ((start > 0 || _lineStarting) && start < text.Length && PyText.Strip(text[start..], null, true, true).Length == 0)
                kept = text[..start];
        }

        if (kept.Length > 0) Add(TokenKind.Data, kept);
    }

    private void Comment(int inside)
    {
        int end = _source.IndexOf("#}", inside, StringComparison.Ordinal);
        if (end < 0) throw new TemplateFault("a comment has no end", "Close it with #}.", _line);
        EndTag(end + 2, At(end - 1) is '-' or '+' && end - 1 >= inside ? At(end - 1) : ' ');
    }

    // Moves past a tag's end with what its sign strips: '-' all space, '+' nothing, else one newline.
    private void EndTag(int end, char sign)
    {
        if (sign == '-') end = SkipSpace(end);
        else if (sign != '+' && At(end) == '\n') end++;
        Advance(end);
        _lineStarting = _source[end - 1] == '\n';
    }

    private int RawBegin(int at)
    {
        at = SkipSpace(at);
        if (string.CompareOrdinal(_source, at, "raw", 0, 3) != 0) return -1;
        at = SkipSpace(at + 3);
        if (string.CompareOrdinal(_source, at, "-%}", 0, 3) == 0) return SkipSpace(at + 3);
        return string.CompareOrdinal(_source, at, "%}", 0, 2) == 0 ? at + 2 : -1;
    }

    private void Raw(int start)
    {
        int opened = _line;
        Advance(start);
        _lineStarting = _source[start - 1] == '\n';
        for (int i = start; (i = _source.IndexOf("{%", i, StringComparison.Ordinal)) >= 0; i += 2)
        {
            char sign = At(i + 2) is '-' or '+' ? At(i + 2) : ' ';
            int at = SkipSpace(i + (sign == ' ' ? 2 : 3));
            if (string.CompareOrdinal(_source, at, "endraw", 0, 6) != 0) continue;
            at = SkipSpace(at + 6);
            char close = At(at) is '-' or '+' ? At(at) : ' ';
            if (close != ' ') at++;
            if (string.CompareOrdinal(_source, at, "%}", 0, 2) != 0) continue;
            Data(_source[start..i], sign, lstrip: true);
            EndTag(at + 2, close);
            return;
        }

        throw new TemplateFault("{% raw %} has no end", "Close it with {% endraw %}.", opened);
    }

    private void Inside(bool block)
    {
        var open = new Stack<char>();
        string close = block ? "%}" : "}}";
        while (true)
        {
            if (_pos >= _source.Length)
                throw new TemplateFault(block ? "a {% tag has no end" : "a {{ tag has no end", $"Close it with {close}.", _line);
            char c = _source[_pos];
            if (open.Count == 0 && TryClose(block, close)) return;
            if (PyText.IsSpace(c)) Advance(_pos + 1);
            else if (char.IsAsciiDigit(c)) Number();
            else if (c == '_' || char.IsLetterOrDigit(c) || char.IsSurrogate(c)) Name();
            else if (c is '\'' or '"') Text(c);
            else Operator(open);
        }
    }

    private bool TryClose(bool block, string close)
    {
        char c = _source[_pos];
        int at = c == '-' || (block && c == '+') ? _pos + 1 : _pos;
        if (string.CompareOrdinal(_source, at, close, 0, 2) != 0) return false;
        Add(block ? TokenKind.BlockEnd : TokenKind.VariableEnd, close);
        if (block)
        {
            EndTag(at + 2, at > _pos ? c : ' ');
        }
        else
        {
            int end = at > _pos ? SkipSpace(at + 2) : at + 2;
            Advance(end);
            _lineStarting = _source[end - 1] == '\n';
        }

        return true;
    }

    private void Name()
    {
        int end = _pos;
        while (end < _source.Length && (_source[end] == '_' || char.IsLetterOrDigit(_source[end]) || char.IsSurrogate(_source[end]))) end++;
        string name = _source[_pos..end];
        if (char.IsSurrogate(name[0]) || char.IsDigit(name[0])) throw new TemplateFault($"'{name}' is not a name", null, _line);
        Add(TokenKind.Name, name);
        Advance(end);
    }

    private void Number()
    {
        int end = Digits(_pos);
        bool isFloat = false;
        bool afterDot = _pos > 0 && _source[_pos - 1] == '.';
        if (!afterDot)
        {
            int whole = end;
            if (At(whole) == '.' && char.IsAsciiDigit(At(whole + 1)))
            {
                end = Digits(whole + 1);
                isFloat = true;
            }

            if (At(end) is 'e' or 'E')
            {
                int exponent = At(end + 1) is '+' or '-' ? end + 2 : end + 1;
                if (char.IsAsciiDigit(At(exponent)))
                {
                    end = Digits(exponent);
                    isFloat = true;
                }
            }
        }

        if (isFloat)
        {
            string digits = _source[_pos..end];
            Add(TokenKind.Float, digits, double.Parse(digits.Replace("_", ""), CultureInfo.InvariantCulture));
            Advance(end);
            return;
        }

        Integer(end);
    }

    private void Integer(int end)
    {
        int radix = (At(_pos), char.ToLowerInvariant(At(_pos + 1))) switch { ('0', 'x') => 16, ('0', 'o') => 8, ('0', 'b') => 2, _ => 10 };
        if (radix != 10 && DigitValue(At(_pos + 2) == '_' ? At(_pos + 3) : At(_pos + 2)) < radix)
        {
            end = _pos + 2;
            BigInteger value = 0;
            while (At(end) == '_' || DigitValue(At(end)) < radix)
            {
                if (end - _pos > 1000) throw new TemplateFault("a number is too long", null, _line);
                if (_source[end] != '_') value = (value * radix) + DigitValue(_source[end]);
                end++;
            }

            Add(TokenKind.Integer, _source[_pos..end], Num.Normal(value));
        }
        else
        {
            // A leading zero stands alone, as in Python.
            if (_source[_pos] == '0')
            {
                int zeros = _pos;
                while (zeros < end && _source[zeros] is '0' or '_') zeros++;
                end = zeros < end ? zeros : end;
            }

            if (end - _pos > 1000) throw new TemplateFault("a number is too long", null, _line);
            string digits = _source[_pos..end];
            Add(TokenKind.Integer, digits, Num.Normal(BigInteger.Parse(digits.Replace("_", ""), CultureInfo.InvariantCulture)));
        }

        Advance(end);
    }

    private static int DigitValue(char c) => char.IsAsciiHexDigit(c) ? Convert.ToInt32(c.ToString(), 16) : int.MaxValue;

    // Digits with single underscores between them.
    private int Digits(int at)
    {
        while (char.IsAsciiDigit(At(at)) || (At(at) == '_' && char.IsAsciiDigit(At(at + 1)))) at++;
        return at;
    }

    private void Text(char quote)
    {
        int end = _pos + 1;
        while (end < _source.Length && _source[end] != quote) end += _source[end] == '\\' ? 2 : 1;
        if (end >= _source.Length) throw new TemplateFault("a string has no closing quote", null, _line);
        Add(TokenKind.Text, Escapes.Decode(_source[(_pos + 1)..end], _line));
        Advance(end + 1);
    }

    private void Operator(Stack<char> open)
    {
        foreach (string op in s_operators)
        {
            if (string.CompareOrdinal(_source, _pos, op, 0, op.Length) != 0) continue;
            switch (op)
            {
                case "(":
                    open.Push(')');
                    break;
                case "[":
                    open.Push(']');
                    break;
                case "{":
                    open.Push('}');
                    break;
                case ")" or "]" or "}":
                    if (open.Count == 0) throw new TemplateFault($"unexpected '{op}'", null, _line);
                    char expected = open.Pop();
                    if (expected != op[0]) throw new TemplateFault($"unexpected '{op}', expected '{expected}'", null, _line);
                    break;
            }

            Add(TokenKind.Operator, op);
            Advance(_pos + op.Length);
            return;
        }

        throw new TemplateFault($"unexpected character '{_source[_pos]}'", null, _line);
    }

    private void Add(TokenKind kind, string text, object? value = null) => _tokens.Add(new Token(kind, text, value, _line));

    private void Advance(int to)
    {
        _line += _source.AsSpan(_pos, to - _pos).Count('\n');
        _pos = to;
    }

    private int SkipSpace(int at)
    {
        while (at < _source.Length && PyText.IsSpace(_source[at])) at++;
        return at;
    }

    private char At(int i) => i >= 0 && i < _source.Length ? _source[i] : '\0';
}
