using System.Text;
using System.Text.Json.Nodes;

namespace LoraNet.Data.Reading;

/// <summary>
/// Rows of a table with a header line: comma-separated values as RFC 4180 has them (quoted fields may hold commas, quotes and line
/// breaks), or tab-separated values without any quoting, as GLUE's files are.
/// </summary>
internal static class CsvRows
{
    // Columns that can only be structures: their cells are JSON.
    private static readonly HashSet<string> _structures = ["messages", "conversations", "tools", "history", "input_ids", "labels", "attention_mask", "token_type_ids"];

    public static IEnumerable<SourceRow> Read(string path, char delimiter, bool quoting)
    {
        using FileStream stream = DataFile.OpenText(path);
        using var reader = new StreamReader(stream, new UTF8Encoding(false, throwOnInvalidBytes: true), detectEncodingFromByteOrderMarks: false, 1 << 16);
        var parser = new CsvParser(path, reader, delimiter, quoting);
        List<string> cells = [];
        if (!parser.Next(cells, out long headerLine)) yield break;
        string[] names = [.. cells.Select(c => c.Trim())];
        string? twice = names.Where(n => n.Length > 0).GroupBy(n => n, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1)?.Key;
        if (twice is not null) throw new LoraNetException($"{path}, line {headerLine}: the header names the column '{twice}' twice.", "Give each column a name of its own.");
        while (parser.Next(cells, out long line))
        {
            if (cells.Count == 1 && cells[0].Length == 0) continue;
            var place = new RowPlace(path, line);
            if (cells.Count != names.Length)
                throw new LoraNetException($"{place} has {cells.Count} fields, but the header names {names.Length}.", quoting ? "Fields with commas, quotes or line breaks must be in double quotes." : "Fields must not hold tabs.");
            var row = new JsonObject();
            int size = 0;
            for (int i = 0; i < names.Length; i++)
            {
                size += cells[i].Length;
                // A column without a name is an index that the writing program added.
                if (names[i].Length > 0) row[names[i]] = Cell(names[i], cells[i], place);
            }
            yield return new SourceRow(place, row, size);
        }
    }

    private static JsonNode? Cell(string name, string text, RowPlace place)
    {
        if (!_structures.Contains(name)) return JsonValue.Create(text);
        if (string.IsNullOrWhiteSpace(text)) return null;
        if (!text.AsSpan().TrimStart().StartsWith("[")) return JsonValue.Create(text);
        JsonObject wrapped = JsonRows.Parse(Encoding.UTF8.GetBytes($"{{\"v\":{text}}}"), place);
        JsonNode? value = wrapped["v"];
        wrapped.Remove("v");
        return value;
    }
}

/// <summary>Splits the text of a table into records, one at a time.</summary>
internal sealed class CsvParser(string path, TextReader reader, char delimiter, bool quoting)
{
    private readonly char[] _buffer = new char[1 << 14];
    private readonly StringBuilder _field = new();
    private int _position;
    private int _count;
    private long _line = 1;

    /// <summary>Reads the next record into <paramref name="fields"/>; false at the end.</summary>
    /// <param name="fields">Is cleared first.</param>
    /// <param name="line">The line it starts on.</param>
    public bool Next(List<string> fields, out long line)
    {
        fields.Clear();
        line = _line;
        int c = Read();
        if (c < 0) return false;
        while (true)
        {
            bool quoted = quoting && c == '"';
            c = quoted ? Quoted(line) : Plain(c);
            fields.Add(_field.ToString());
            _field.Clear();
            if (c == delimiter)
            {
                c = Read();
                continue;
            }
            if (c is >= 0 and not '\n') throw new LoraNetException($"{path}, line {_line}: '{(char)c}' follows a closing quote.", "Write a quote inside a quoted field twice.");
            if (c == '\n') _line++;
            return true;
        }
    }

    // An unquoted field from its first character; returns what ended it: the delimiter, '\n' or -1.
    private int Plain(int c)
    {
        while (c >= 0 && c != delimiter && c != '\n')
        {
            Append((char)c);
            c = Read();
        }
        if (c != delimiter && _field.Length > 0 && _field[^1] == '\r') _field.Length--;
        return c;
    }

    // A quoted field behind its opening quote; returns what follows the closing quote.
    private int Quoted(long start)
    {
        while (true)
        {
            int c = Read();
            if (c < 0) throw new LoraNetException($"{path}: the file ends inside a quoted field of the row that starts on line {start}.", "A closing quote is missing.");
            if (c == '\n') _line++;
            if (c != '"')
            {
                Append((char)c);
                continue;
            }
            c = Read();
            if (c == '"')
            {
                Append('"');
                continue;
            }
            if (c == '\r')
            {
                c = Read();
                if (c is >= 0 and not '\n') throw new LoraNetException($"{path}, line {_line}: text follows a closing quote.", "Write a quote inside a quoted field twice.");
            }
            return c;
        }
    }

    private void Append(char c)
    {
        if (_field.Length >= DataFile.MaxRowBytes) throw new LoraNetException($"{path}, line {_line}: a field is larger than {DataFile.MaxRowBytes >> 20} MiB.", "A closing quote may be missing.");
        _field.Append(c);
    }

    private int Read()
    {
        if (_position == _count)
        {
            try
            {
                _count = reader.Read(_buffer, 0, _buffer.Length);
            }
            catch (DecoderFallbackException e)
            {
                throw new LoraNetException($"{path}, near line {_line}, is not UTF-8 text.", "Save the file as UTF-8.", e);
            }
            _position = 0;
            if (_count == 0) return -1;
        }
        return _buffer[_position++];
    }
}
