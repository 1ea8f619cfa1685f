using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Runtime;

/// <summary>
/// Page-locked slots through which host data goes to the device without waiting: the host fills a slot while the copy
/// engine empties earlier ones, and waits only when it is a whole ring ahead.
/// </summary>
internal sealed unsafe class UploadRing(nint stream) : IDisposable
{
    private const int SlotBytes = 8 << 20, Slots = 4, Alignment = 256;
    private readonly nint[] _events = new nint[Slots];
    private nint _memory;
    private int _slot, _offset;

    /// <summary>Queues a copy; <paramref name="source"/> may change as soon as this returns.</summary>
    public void Upload(ReadOnlySpan<byte> source, nint destination)
    {
        if (_memory == 0) Allocate();
        while (source.Length > 0)
        {
            // Small uploads share a slot; one that does not fit takes the next whole slot.
            if (_offset > 0 && source.Length > SlotBytes - _offset) Advance();
            int bytes = Math.Min(source.Length, SlotBytes - _offset);
            void* place = (void*)(_memory + (nint)_slot * SlotBytes + _offset);
            Fill(source[..bytes], (nint)place);
            CudaError.Check(Native.cuMemcpyHtoDAsync_v2((ulong)destination, place, (nuint)bytes, stream), "cuMemcpyHtoDAsync");
            source = source[bytes..];
            destination += bytes;
            _offset = (_offset + bytes + Alignment - 1) / Alignment * Alignment;
            if (_offset >= SlotBytes) Advance();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_memory == 0) return;
        foreach (nint e in _events) _ = Native.cuEventDestroy_v2(e);
        _ = Native.cuMemFreeHost(_memory);
        _memory = 0;
    }

    /// <summary>One core copies at a fraction of the bus; mapped files are read from disk by the same loop.</summary>
    private static void Fill(ReadOnlySpan<byte> source, nint place)
    {
        const int Piece = 1 << 20;
        if (source.Length < 2 * Piece)
        {
            source.CopyTo(new Span<byte>((void*)place, source.Length));
            return;
        }
        int length = source.Length;
        fixed (byte* start = source)
        {
            nint from = (nint)start;
            Parallel.For(0, (length + Piece - 1) / Piece, i =>
            {
                int offset = i * Piece, bytes = Math.Min(Piece, length - offset);
                new ReadOnlySpan<byte>((void*)(from + offset), bytes).CopyTo(new Span<byte>((void*)(place + offset), bytes));
            });
        }
    }

    private void Allocate()
    {
        CudaError.Check(Native.cuMemAllocHost_v2(out _memory, (nuint)SlotBytes * Slots), "page-locked host memory");
        for (int i = 0; i < Slots; i++) CudaError.Check(Native.cuEventCreate(out _events[i], 2), "cuEventCreate"); // 2: no timing
    }

    private void Advance()
    {
        CudaError.Check(Native.cuEventRecord(_events[_slot], stream), "cuEventRecord");
        _slot = (_slot + 1) % Slots;
        _offset = 0;
        // An event that was never recorded counts as complete.
        CudaError.Check(Native.cuEventSynchronize(_events[_slot]), "an upload");
    }
}
