using LoraNet.Formats;

namespace LoraNet.Data.Reading;

/// <summary>Opens a data file for reading from front to back, and refuses what is no UTF-8 text by its first bytes.</summary>
internal static class DataFile
{
    /// <summary>A row larger than this is a broken file (a missing line break or quote), not a sample.</summary>
    public const int MaxRowBytes = 256 << 20;

    /// <summary>Opens the file behind its byte order mark, if it has one.</summary>
    public static FileStream OpenText(string path)
    {
        FileStream stream = Open(path);
        try
        {
            Span<byte> head = stackalloc byte[32];
            int n = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
            head = head[..n];
            if (head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) || head.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]))
                throw new LoraNetException($"{path} is UTF-16 text.", "Save it as UTF-8.");
            if (head.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]) || head.StartsWith("PK\u0003\u0004"u8) || head.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]))
                throw new LoraNetException($"{path} is a compressed file.", "Unpack it first.");
            if (head.StartsWith("PAR1"u8)) throw new LoraNetException($"{path} is a Parquet file by its content.", "Give its name the ending .parquet.");
            if (head.StartsWith("version https://git-lfs"u8))
                throw new LoraNetException($"{path} is a Git LFS pointer, not the file itself.", "Run 'git lfs pull' in that folder, or download the file again.");
            stream.Position = head.StartsWith("\uFEFF"u8) ? 3 : 0;
            return stream;
        }
        catch (Exception e)
        {
            stream.Dispose();
            if (e is LoraNetException) throw;
            throw FileErrors.Reading(path, e);
        }
    }

    public static FileStream Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 16, FileOptions.SequentialScan);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Reading(path, e);
        }
    }
}
