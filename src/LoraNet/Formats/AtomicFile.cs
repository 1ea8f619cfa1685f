using System.Text;

namespace LoraNet.Formats;

/// <summary>
/// Writes files so that a reader sees the old contents or the new, never a part: into a temporary file in the same folder,
/// flushed to the disk, then renamed over the target. On failure the temporary file is removed and the target is untouched.
/// </summary>
public static class AtomicFile
{
    /// <summary>Writes UTF-8 text without a byte order mark.</summary>
    /// <exception cref="LoraNetException">The file cannot be written.</exception>
    public static void WriteAllText(string path, string text) => WriteAllBytes(path, Encoding.UTF8.GetBytes(text));

    /// <summary>Writes bytes.</summary>
    /// <exception cref="LoraNetException">The file cannot be written.</exception>
    public static void WriteAllBytes(string path, ReadOnlySpan<byte> bytes)
    {
        using AtomicFileStream file = new(path, bytes.Length);
        file.Write(bytes);
        file.Commit();
    }

    /// <summary>Writes whatever <paramref name="write"/> puts into the stream.</summary>
    /// <param name="path">The target.</param>
    /// <param name="write">Writes the contents. If it throws, the target is untouched.</param>
    /// <param name="expectedBytes">The size if known: a full disk is then noticed before anything is written.</param>
    /// <exception cref="LoraNetException">The file cannot be written.</exception>
    public static void Write(string path, Action<Stream> write, long expectedBytes = 0)
    {
        using AtomicFileStream file = new(path, expectedBytes);
        write(file);
        file.Commit();
    }
}
