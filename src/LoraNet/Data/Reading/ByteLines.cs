using System.Text;
using System.Text.Unicode;

namespace LoraNet.Data.Reading;

/// <summary>The lines of a UTF-8 file, one at a time. Lines end with \n or \r\n.</summary>
internal static class ByteLines
{
    /// <summary>Reads lines. The memory is valid until the next line is asked for.</summary>
    /// <exception cref="LoraNetException">The file can't be opened, a line is not UTF-8 or has no end.</exception>
    public static IEnumerable<(long Number, ReadOnlyMemory<byte> Line)> Read(string path)
    {
        using FileStream stream = DataFile.OpenText(path);
        var buffer = new ByteBuffer(stream);
        long number = 0;
        int scanned = 0;
        while (true)
        {
            int at = buffer.Span[scanned..].IndexOf((byte)'\n');
            if (at < 0)
            {
                scanned = buffer.Span.Length;
                if (scanned > DataFile.MaxRowBytes) throw new LoraNetException($"{path}, line {number + 1} is longer than {DataFile.MaxRowBytes >> 20} MiB.", "A row must be on a line of its own.");
                if (buffer.Fill()) continue;
                if (scanned == 0) yield break;
                at = 0;
            }
            int length = scanned + at;
            bool last = length == buffer.Span.Length;
            yield return (++number, Checked(path, number, buffer.Memory(length)));
            buffer.Consume(last ? length : length + 1);
            scanned = 0;
        }
    }

    /// <summary>Reads lines as text.</summary>
    public static IEnumerable<(long Number, string Text)> ReadText(string path)
    {
        foreach ((long number, ReadOnlyMemory<byte> line) in Read(path)) yield return (number, Encoding.UTF8.GetString(line.Span));
    }

    private static ReadOnlyMemory<byte> Checked(string path, long number, ReadOnlyMemory<byte> line)
    {
        if (!line.IsEmpty && line.Span[^1] == (byte)'\r') line = line[..^1];
        return Utf8.IsValid(line.Span) ? line : throw new LoraNetException($"{path}, line {number} is not UTF-8 text.", "Save the file as UTF-8.");
    }
}
