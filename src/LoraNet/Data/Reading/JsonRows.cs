using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;
using LoraNet.Formats;

namespace LoraNet.Data.Reading;

/// <summary>
/// Rows of JSON: one object a line; or an array of objects; or objects one after another with any line breaks.
/// One row is held at a time, so that files may be larger than memory.
/// </summary>
internal static class JsonRows
{
    /// <summary>Reads a file whose rows may be lines. An array is recognised by its first character, whatever the file is called.</summary>
    /// <param name="path">The file.</param>
    /// <param name="lines">Whether a row that is no array element must be on a line of its own, as in .jsonl.</param>
    public static IEnumerable<SourceRow> Read(string path, bool lines)
    {
        bool array = FirstByte(path) == '[';
        return lines && !array ? ReadLines(path) : ReadValues(path, array);
    }

    /// <summary>Parses one row.</summary>
    public static JsonObject Parse(ReadOnlySpan<byte> json, RowPlace place)
    {
        if (!Utf8.IsValid(json)) throw new LoraNetException($"{place} is not UTF-8 text.", "Save the file as UTF-8.");
        try
        {
            JsonObject row = JsonNode.Parse(json, null, new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
                ?? throw new LoraNetException($"{place}: a row must be a JSON object.", "Put each sample into {…}.");
            JsonFile.Touch(row);
            return row;
        }
        catch (JsonException e)
        {
            string reason = e.Message;
            int cut = reason.IndexOf(" Path:", StringComparison.Ordinal);
            if (cut < 0) cut = reason.IndexOf(" LineNumber:", StringComparison.Ordinal);
            long within = e.LineNumber ?? 0;
            RowPlace at = place with { Number = place.Number + (place.ByRow ? 0 : within) };
            throw new LoraNetException($"{at} is not valid JSON: {(cut > 0 ? reason[..cut] : reason)} (byte {e.BytePositionInLine + 1})", null, e);
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{place} holds a malformed string: {e.Message}", "Half a surrogate pair is no character.", e);
        }
    }

    private static IEnumerable<SourceRow> ReadLines(string path)
    {
        foreach ((long number, ReadOnlyMemory<byte> line) in ByteLines.Read(path))
        {
            if (line.Span.IndexOfAnyExcept(" \t\r"u8) < 0) continue;
            var place = new RowPlace(path, number);
            yield return new SourceRow(place, Parse(line.Span, place), line.Length);
        }
    }

    private static IEnumerable<SourceRow> ReadValues(string path, bool array)
    {
        using FileStream stream = DataFile.OpenText(path);
        var scanner = new JsonValueScanner(path, stream, array);
        while (scanner.Next() is (long line, ReadOnlyMemory<byte> value))
        {
            var place = new RowPlace(path, line);
            yield return new SourceRow(place, Parse(value.Span, place), value.Length);
        }
    }

    /// <summary>Whether the file starts like JSON rows.</summary>
    public static bool LooksLikeJson(string path) => FirstByte(path) is '{' or '[';

    private static int FirstByte(string path)
    {
        using FileStream stream = DataFile.OpenText(path);
        int b;
        do b = stream.ReadByte(); while (b is ' ' or '\t' or '\r' or '\n');
        return b;
    }
}
