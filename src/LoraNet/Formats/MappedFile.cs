using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>
/// A file mapped read-only into memory. The map lives as long as this object is reachable, or until it is disposed.
/// The file must not be shortened while mapped: no managed code can turn the resulting fault into an exception.
/// </summary>
internal sealed partial class MappedFile : IDisposable, IPageOwner
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    private MappedFile(string path, MemoryMappedFile file, MemoryMappedViewAccessor view, long length)
    {
        Path = path;
        _file = file;
        _view = view;
        Length = length;
        // The handle's finalizer unmaps; holding the accessor is what keeps the address valid.
        Address = view.SafeMemoryMappedViewHandle.DangerousGetHandle() + (nint)view.PointerOffset;
    }

    public string Path { get; }

    /// <summary>First byte of the file.</summary>
    public nint Address { get; }

    /// <summary>Length of the file in bytes when it was opened.</summary>
    public long Length { get; }

    /// <summary>Maps a file.</summary>
    /// <exception cref="LoraNetException">The file is missing, empty or cannot be read.</exception>
    public static MappedFile Open(string path)
    {
        try
        {
            FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            try
            {
                long length = stream.Length;
                if (length == 0) throw new LoraNetException($"{path} is empty (0 bytes).", "Download or copy it again.");
                MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
                try
                {
                    return new MappedFile(path, file, file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read), length);
                }
                catch
                {
                    file.Dispose();
                    throw;
                }
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Reading(path, e);
        }
    }

    /// <summary>Takes whole pages out of the process on Linux; they remain in the system's file cache. Elsewhere nothing: it is only a hint.</summary>
    public void Forget(nint address, long bytes)
    {
        if (!OperatingSystem.IsLinux()) return;
        nint page = Environment.SystemPageSize;
        nint start = (Math.Max(address, Address) + page - 1) / page * page;
        nint end = (nint)(Math.Min(address + bytes, Address + Length) / page * page);
        // Advice 4 is MADV_DONTNEED in every Linux ABI; on a read-only mapping of a file the next read finds the file's bytes again.
        if (end <= start) return;
        try
        {
            _ = Advise(start, (nuint)(end - start), 4);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            // A system whose C library has another name: the pages stay.
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);

    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }
}
