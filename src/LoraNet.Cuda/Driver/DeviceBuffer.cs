using System.Runtime.InteropServices;

namespace LoraNet.Cuda.Driver;

/// <summary>Plain device memory for tests, benches and workspaces outside ILGPU.</summary>
internal sealed unsafe class DeviceBuffer : IDisposable
{
    private ulong _pointer;

    /// <summary>Allocates <paramref name="bytes"/> bytes.</summary>
    public DeviceBuffer(long bytes)
    {
        Bytes = bytes;
        CudaError.Check(Native.cuMemAlloc_v2(out _pointer, (nuint)Math.Max(bytes, 16)), $"a buffer of {bytes} bytes");
    }

    /// <summary>Size in bytes.</summary>
    public long Bytes { get; }

    /// <summary>Device address.</summary>
    public ulong Pointer => _pointer;

    /// <summary>A buffer holding a copy of <paramref name="data"/>.</summary>
    public static DeviceBuffer From<T>(ReadOnlySpan<T> data)
        where T : unmanaged
    {
        DeviceBuffer b = new((long)data.Length * sizeof(T));
        b.Upload(data);
        return b;
    }

    /// <summary>Copies host data to the start of the buffer (synchronous).</summary>
    public void Upload<T>(ReadOnlySpan<T> data)
        where T : unmanaged
    {
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(data);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, Bytes);
        fixed (byte* p = bytes) CudaError.Check(Native.cuMemcpyHtoD_v2(_pointer, p, (nuint)bytes.Length), "cuMemcpyHtoD");
    }

    /// <summary>Copies the first <paramref name="count"/> elements back (waits for earlier work on the default stream).</summary>
    public T[] Download<T>(long count)
        where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count * sizeof(T), Bytes);
        T[] host = new T[count];
        fixed (T* p = host) CudaError.Check(Native.cuMemcpyDtoH_v2(p, _pointer, (nuint)(count * sizeof(T))), "cuMemcpyDtoH");
        return host;
    }

    /// <summary>Sets every byte.</summary>
    public void Fill(byte value, nint stream = 0) => CudaError.Check(Native.cuMemsetD8Async(_pointer, value, (nuint)Bytes, stream), "cuMemsetD8");

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        if (_pointer != 0) _ = Native.cuMemFree_v2(_pointer);
        _pointer = 0;
    }
}
