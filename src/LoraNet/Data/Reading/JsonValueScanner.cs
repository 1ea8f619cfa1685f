namespace LoraNet.Data.Reading;

/// <summary>
/// Finds where the objects of a JSON array, or of a sequence of objects, begin and end: brackets and strings only;
/// whether what lies between is JSON is for the parser to say.
/// </summary>
internal sealed class JsonValueScanner(string path, Stream stream, bool array)
{
    private readonly ByteBuffer _buffer = new(stream);
    private long _line = 1;
    private int _taken;
    private bool _opened;
    private bool _any;

    /// <summary>The next object and the line it starts on, or null at the end. The memory is valid until the next call.</summary>
    /// <exception cref="LoraNetException">The file ends too early, or holds something else between the objects.</exception>
    public (long Line, ReadOnlyMemory<byte> Value)? Next()
    {
        _buffer.Consume(_taken);
        _taken = 0;
        int b = SkipSpace();
        if (array)
        {
            if (!_opened)
            {
                Expect(b, '[', "the array of rows must start here");
                _opened = true;
                b = SkipSpace();
            }
            if (b == ']')
            {
                _buffer.Consume(1);
                if (SkipSpace() >= 0) throw Error("text after the array of rows");
                return null;
            }
            if (_any && b >= 0)
            {
                Expect(b, ',', "a comma or the array's end is missing");
                b = SkipSpace();
            }
            if (b < 0) throw Error("the file ends inside the array of rows");
        }
        else if (b < 0)
        {
            return null;
        }
        if (b != '{') throw Error("a row must be a JSON object");
        _any = true;
        long line = _line;
        _taken = Length(line);
        return (line, _buffer.Memory(_taken));
    }

    // The length of the object at hand; the buffer grows until it is whole.
    private int Length(long startLine)
    {
        int depth = 0;
        bool text = false;
        for (int i = 0; ; i++)
        {
            ReadOnlySpan<byte> span = _buffer.Span;
            if (i >= span.Length)
            {
                if (i > DataFile.MaxRowBytes) throw new LoraNetException($"{path}, line {startLine}: the row is larger than {DataFile.MaxRowBytes >> 20} MiB.", "A quote or a bracket may be missing.");
                if (!_buffer.Fill()) throw new LoraNetException($"{path}: the file ends inside the row that starts on line {startLine}.", "It may have been cut off; download or write it again.");
                span = _buffer.Span;
            }
            byte b = span[i];
            if (b == '\n') _line++;
            if (text)
            {
                if (b == '\\') i++; // the escaped character can't end the string
                else if (b == '"') text = false;
            }
            else if (b == '"')
            {
                text = true;
            }
            else if (b is (byte)'{' or (byte)'[')
            {
                depth++;
            }
            else if (b is (byte)'}' or (byte)']' && --depth == 0)
            {
                return i + 1;
            }
        }
    }

    private void Expect(int b, char wanted, string what)
    {
        if (b != wanted) throw Error(what);
        _buffer.Consume(1);
    }

    // The next byte that is no white space, or -1 at the end.
    private int SkipSpace()
    {
        while (true)
        {
            ReadOnlySpan<byte> span = _buffer.Span;
            int n = 0;
            while (n < span.Length && span[n] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            {
                if (span[n] == '\n') _line++;
                if (++n == span.Length) break;
            }
            int found = n < span.Length ? span[n] : -1;
            _buffer.Consume(n);
            if (found >= 0) return found;
            if (!_buffer.Fill()) return -1;
        }
    }

    private LoraNetException Error(string what) => new($"{path}, line {_line}: {what}.", "A JSON file holds an array of objects, or one object after another.");
}
