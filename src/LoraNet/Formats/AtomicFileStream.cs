namespace LoraNet.Formats;

/// <summary>The stream behind <see cref="AtomicFile"/>: file system errors become <see cref="LoraNetException"/>s that name the target.</summary>
internal sealed class AtomicFileStream : Stream
{
    private readonly string _path;
    private readonly string _temporary;
    private readonly FileStream _stream;
    private bool _closed;
    private bool _renamed;

    public AtomicFileStream(string path, long expectedBytes)
    {
        _path = path;
        try
        {
            string full = Path.GetFullPath(path);
            // Renaming over a protected file works on Unix and fails on Windows; refusing is right on both.
            if (File.Exists(full) && (File.GetAttributes(full) & FileAttributes.ReadOnly) != 0) throw new UnauthorizedAccessException();
            _temporary = Path.Combine(Path.GetDirectoryName(full)!, $".{Path.GetFileName(full)}.{Guid.NewGuid():N}.tmp");
            _stream = new FileStream(_temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                Share = FileShare.None,
                PreallocationSize = expectedBytes,
                BufferSize = 1 << 16,
            });
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(path, e);
        }
    }

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => Guarded(() => _stream.Length);
    public override long Position { get => Guarded(() => _stream.Position); set => throw new NotSupportedException(); }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            _stream.Write(buffer);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(_path, e);
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush() => Guarded(() =>
    {
        _stream.Flush();
        return 0;
    });

    /// <summary>Flushes to the disk and renames. Nothing may be written afterwards.</summary>
    public void Commit() => Guarded(() =>
    {
        _stream.Flush(flushToDisk: true);
        _stream.Dispose();
        _closed = true;
        File.Move(_temporary, Path.GetFullPath(_path), overwrite: true);
        _renamed = true;
        return 0;
    });

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            // Disposing flushes, which fails again on a full disk; the error that matters is already on its way.
            try
            {
                if (!_closed) _stream.Dispose();
            }
            catch (IOException) { }
            try
            {
                if (!_renamed) File.Delete(_temporary);
            }
            catch (Exception e) when (FileErrors.IsFileError(e)) { }
            _closed = _renamed = true;
        }
        base.Dispose(disposing);
    }

    private T Guarded<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(_path, e);
        }
    }
}
