using System.Collections;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using Parquet;
using Parquet.Serialization;

namespace LoraNet.Data.Reading;

/// <summary>
/// Rows of a Parquet file, read by row group with Parquet.Net: at most one group is held. Lists and structures become JSON arrays
/// and objects; a column without a value is a missing key.
/// </summary>
internal static class ParquetRows
{
    public static IEnumerable<SourceRow> Read(string path)
    {
        using FileStream stream = DataFile.Open(path);
        int groups = Guarded(path, () => CountGroups(stream));
        long number = 0;
        for (int g = 0; g < groups; g++)
        {
            int group = g;
            IList<Dictionary<string, object>> rows = Guarded(path, () => ReadGroup(stream, group));
            for (int i = 0; i < rows.Count; i++)
            {
                int size = 0;
                JsonObject fields = (JsonObject)Guarded(path, () => Convert(rows[i], ref size, 0))!;
                yield return new SourceRow(new RowPlace(path, ++number, ByRow: true), fields, size);
                rows[i] = null!;
            }
        }
    }

    private static int CountGroups(FileStream stream)
    {
        stream.Position = 0;
        // The library trusts these four bytes and the length before them; a length past the file's start is a damaged file.
        if (stream.Length < 12) throw new InvalidDataException("it is too short");
        Span<byte> tail = stackalloc byte[8];
        stream.Position = stream.Length - 8;
        stream.ReadExactly(tail);
        uint footer = BitConverter.ToUInt32(tail);
        if (!tail[4..].SequenceEqual("PAR1"u8)) throw new InvalidDataException("its end is not that of a Parquet file");
        if (footer > stream.Length - 12) throw new InvalidDataException("its footer is longer than the file");
        stream.Position = 0;
        ParquetReader reader = ParquetReader.CreateAsync(stream, null, leaveStreamOpen: true).GetAwaiter().GetResult();
        try
        {
            foreach (Parquet.Meta.RowGroup group in reader.Metadata?.RowGroups ?? [])
            {
                // Every row of text takes some room: a claim of far more than the file could hold is a bomb or damage.
                if (group.NumRows < 0 || group.NumRows > 1_000_000 + stream.Length) throw new InvalidDataException($"a row group claims {group.NumRows} rows");
                foreach (Parquet.Meta.ColumnChunk chunk in group.Columns)
                {
                    if (chunk.MetaData is not { } meta) continue;
                    if (meta.NumValues < 0 || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > stream.Length || meta.TotalUncompressedSize is < 0 or > 1L << 33)
                        throw new InvalidDataException("a column's size does not fit the file");
                    if (meta.NumValues > 100_000_000) throw new InvalidDataException("a row group has more than 100 million values; write smaller row groups");
                }
            }
            return reader.RowGroupCount;
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static IList<Dictionary<string, object>> ReadGroup(FileStream stream, int group)
    {
        stream.Position = 0;
        return ParquetSerializer.DeserializeUntypedAsync(stream, null, group).GetAwaiter().GetResult().Data;
    }

    private static JsonNode? Convert(object? value, ref int size, int depth)
    {
        if (depth > 32) throw new InvalidDataException("its columns are nested too deeply");
        size += 8;
        switch (value)
        {
            case null: return null;
            case string s:
                size += s.Length;
                return JsonValue.Create(s);
            case byte[] bytes:
                size += bytes.Length;
                return JsonValue.Create(Encoding.UTF8.GetString(bytes));
            case bool b: return JsonValue.Create(b);
            case sbyte or byte or short or ushort or int or uint or long: return JsonValue.Create(System.Convert.ToInt64(value, CultureInfo.InvariantCulture));
            case ulong u: return JsonValue.Create(u);
            case float f: return float.IsFinite(f) ? JsonValue.Create(f) : null;
            case double d: return double.IsFinite(d) ? JsonValue.Create(d) : null;
            case decimal m: return JsonValue.Create(m);
            case IDictionary map:
                var o = new JsonObject();
                foreach (DictionaryEntry entry in map)
                {
                    if (Convert(entry.Value, ref size, depth + 1) is { } child) o[System.Convert.ToString(entry.Key, CultureInfo.InvariantCulture) ?? ""] = child;
                }
                return o;
            case IEnumerable list:
                var a = new JsonArray();
                foreach (object? item in list) a.Add(Convert(item, ref size, depth + 1));
                return a;
            default: return JsonValue.Create(System.Convert.ToString(value, CultureInfo.InvariantCulture));
        }
    }

    private delegate T Reading<out T>();

    // A damaged file can make the library fail in any way; all of them mean the same to the user.
    private static T Guarded<T>(string path, Reading<T> read)
    {
        try
        {
            return read();
        }
        catch (LoraNetException)
        {
            throw;
        }
        catch (Exception e)
        {
            if (e is IOException io and not EndOfStreamException && FileErrors.IsFileError(io)) throw FileErrors.Reading(path, io);
            throw new LoraNetException($"{path} can't be read as a Parquet file: {e.Message.ReplaceLineEndings(" ")}", "Write it again, or give the data as .jsonl.", e);
        }
    }
}
