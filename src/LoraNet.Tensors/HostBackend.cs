using System.Runtime.InteropServices;

namespace LoraNet.Tensors;

/// <summary>
/// What every backend whose tensors live in host memory shares: aligned native memory, counted, and copies.
/// Operations of such a backend have finished when they return, so there is nothing to wait for.
/// </summary>
public abstract unsafe class HostBackend : Backend
{
    private const int Alignment = 256;
    private readonly Dictionary<nint, long> _blocks = [];
    private long _current, _peak;
    private bool _disposed;

    /// <inheritdoc/>
    public override bool IsHost => true;

    /// <inheritdoc/>
    public override long PeakBytes
    {
        get
        {
            lock (_blocks) return _peak;
        }
    }

    /// <inheritdoc/>
    public override nint AllocateMemory(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        ObjectDisposedException.ThrowIf(_disposed, this);
        nint address;
        try
        {
            address = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(1, bytes), Alignment);
        }
        catch (OutOfMemoryException e)
        {
            throw new LoraNetException(
                $"Not enough memory on {Name}: {bytes:N0} bytes were asked for.",
                "Use a smaller batch, shorter sequences or a smaller model, or free memory.", e);
        }
        lock (_blocks)
        {
            _blocks.Add(address, bytes);
            _current += bytes;
            _peak = Math.Max(_peak, _current);
        }
        return address;
    }

    /// <inheritdoc/>
    public override void FreeMemory(nint address)
    {
        lock (_blocks)
        {
            // Arenas and tensors may outlive the backend, which has then freed everything already.
            if (_disposed) return;
            if (!_blocks.Remove(address, out long bytes))
                throw new ArgumentException("The memory is not this backend's, or was freed before.", nameof(address));
            _current -= bytes;
        }
        NativeMemory.AlignedFree((void*)address);
    }

    /// <inheritdoc/>
    public override void UploadBytes(ReadOnlySpan<byte> source, Tensor destination)
    {
        if (source.Length != destination.Bytes)
            throw new ArgumentException($"{source.Length} bytes for {destination.DType} {destination.ShapeText}.");
        source.CopyTo(new Span<byte>((void*)destination.Address, source.Length));
    }

    /// <inheritdoc/>
    public override void DownloadBytes(Tensor source, Span<byte> destination)
    {
        if (destination.Length != source.Bytes)
            throw new ArgumentException($"{destination.Length} bytes for {source.DType} {source.ShapeText}.");
        new ReadOnlySpan<byte>((void*)source.Address, destination.Length).CopyTo(destination);
    }

    /// <inheritdoc/>
    public override void Synchronize() { }

    /// <summary>Frees all memory taken from this backend. Overriders call it last.</summary>
    public override void Dispose()
    {
        lock (_blocks)
        {
            _disposed = true;
            foreach (nint address in _blocks.Keys) NativeMemory.AlignedFree((void*)address);
            _blocks.Clear();
            _current = 0;
        }
        GC.SuppressFinalize(this);
    }
}
