using System.Text;
using System.Text.Json.Nodes;

namespace LoraNet.Data.Reading;

/// <summary>Rows of a plain text file: lines, paragraphs, or one document read in blocks.</summary>
internal static class TextRows
{
    // Long enough that the few tokens at a block's edges don't matter, short enough to be held.
    private const int BlockCharacters = 4 << 20;

    public static IEnumerable<SourceRow> Read(string path, TextUnit unit) => unit switch
    {
        TextUnit.Line => Lines(path),
        TextUnit.Paragraph => Paragraphs(path),
        _ => Document(path),
    };

    private static IEnumerable<SourceRow> Lines(string path)
    {
        foreach ((long number, string text) in ByteLines.ReadText(path))
            if (!string.IsNullOrWhiteSpace(text)) yield return Row(path, number, text);
    }

    private static IEnumerable<SourceRow> Paragraphs(string path)
    {
        var paragraph = new StringBuilder();
        long start = 0;
        foreach ((long number, string text) in ByteLines.ReadText(path))
        {
            if (string.IsNullOrWhiteSpace(text))
            {
                if (paragraph.Length > 0) yield return Row(path, start, paragraph.ToString());
                paragraph.Clear();
                continue;
            }
            if (paragraph.Length == 0) start = number;
            else paragraph.Append('\n');
            if (paragraph.Length > DataFile.MaxRowBytes / 2) throw new LoraNetException($"{path}: the paragraph that starts on line {start} has no end.", "Read the file by lines or as one document.");
            paragraph.Append(text);
        }
        if (paragraph.Length > 0) yield return Row(path, start, paragraph.ToString());
    }

    private static IEnumerable<SourceRow> Document(string path)
    {
        var block = new StringBuilder();
        SourceRow? waiting = null;
        bool first = true;
        long start = 1, line = 1;
        foreach ((long number, string text) in ByteLines.ReadText(path))
        {
            // Line breaks stand between lines, so that a block starts with the break before its first line.
            if (number > 1) block.Append('\n');
            block.Append(text);
            line = number;
            if (block.Length < BlockCharacters) continue;
            if (waiting is not null) yield return waiting;
            waiting = Row(path, start, block.ToString()) with { Part = new DocumentPart(first, Last: false) };
            (first, start) = (false, line + 1);
            block.Clear();
        }
        if (waiting is not null && block.Length > 0)
        {
            yield return waiting;
            waiting = null;
        }
        waiting ??= block.Length > 0 ? Row(path, start, block.ToString()) with { Part = new DocumentPart(first, false) } : null;
        if (waiting is not null) yield return waiting with { Part = waiting.Part! with { Last = true } };
    }

    private static SourceRow Row(string path, long line, string text) => new(new RowPlace(path, line), new JsonObject { ["text"] = text }, text.Length);
}
