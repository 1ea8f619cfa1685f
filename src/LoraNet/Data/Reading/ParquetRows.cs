using System.Buffers.Binary;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using Parquet;

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
        ParquetReader reader = Guarded(path, () => Open(stream));
        try
        {
            long number = 0;
            for (int g = 0; g < reader.RowGroupCount; g++)
            {
                int index = g;
                using ParquetRowGroupReader group = Guarded(path, () => reader.OpenRowGroupReader(index));
                ParquetColumns columns = Guarded(path, () => ParquetColumns.Read(reader.Schema, group));
                for (long i = 0; i < group.RowCount; i++)
                {
                    JsonObject fields = Guarded(path, columns.NextRow);
                    yield return new SourceRow(new RowPlace(path, ++number, ByRow: true), fields, columns.RowSize);
                }
            }
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static ParquetReader Open(FileStream stream)
    {
        // The library trusts the length before the last four bytes; one past the file's start is a damaged file.
        if (stream.Length < 12) throw new InvalidDataException("it is too short");
        Span<byte> tail = stackalloc byte[8];
        stream.Position = stream.Length - 8;
        stream.ReadExactly(tail);
        if (!tail[4..].SequenceEqual("PAR1"u8)) throw new InvalidDataException("its end is not that of a Parquet file");
        if (BinaryPrimitives.ReadUInt32LittleEndian(tail) > stream.Length - 12) throw new InvalidDataException("its footer is longer than the file");
        stream.Position = 0;
        ParquetReader reader = ParquetReader.CreateAsync(stream, null, leaveStreamOpen: true).GetAwaiter().GetResult();
        try
        {
            CheckSizes(reader, stream.Length);
            return reader;
        }
        catch
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
            throw;
        }
    }

    // The library allocates what the footer claims.
    private static void CheckSizes(ParquetReader reader, long length)
    {
        foreach (Parquet.Meta.RowGroup group in reader.Metadata?.RowGroups ?? [])
        {
            // Every row of text takes some room: a claim of far more than the file could hold is a bomb or damage.
            if (group.NumRows < 0 || group.NumRows > 1_000_000 + length) throw new InvalidDataException($"a row group claims {group.NumRows} rows");
            foreach (Parquet.Meta.ColumnChunk chunk in group.Columns)
            {
                if (chunk.MetaData is not { } meta) continue;
                if (meta.NumValues < 0 || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > length || meta.TotalUncompressedSize is < 0 or > 1L << 33)
                    throw new InvalidDataException("a column's size does not fit the file");
                if (meta.NumValues > 100_000_000) throw new InvalidDataException("a row group has more than 100 million values; write smaller row groups");
            }
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
