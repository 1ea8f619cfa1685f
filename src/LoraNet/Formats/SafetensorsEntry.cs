using System.Runtime.InteropServices;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>One tensor to be written: its name, type, shape, and what puts its bytes (row-major, little-endian) into a stream.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="DType">Stored type.</param>
/// <param name="Shape">Dimensions; empty for a scalar.</param>
/// <param name="Write">Writes exactly count · size bytes. Called once, in the order of the file.</param>
public sealed record SafetensorsEntry(string Name, DType DType, int[] Shape, Action<Stream> Write)
{
    /// <summary>A tensor whose bytes lie in memory.</summary>
    public static SafetensorsEntry FromBytes(string name, DType dtype, int[] shape, ReadOnlyMemory<byte> bytes) =>
        new(name, dtype, shape, stream => stream.Write(bytes.Span));

    /// <summary>Copies a tensor of another file, or any host memory, in its stored type.</summary>
    public static SafetensorsEntry FromHost(string name, HostTensor tensor) => new(name, tensor.DType, tensor.Shape.ToArray(), stream => Copy(tensor, stream));

    /// <summary>Stores binary32 values, rounded once to nearest even if <paramref name="dtype"/> is narrower.</summary>
    /// <param name="name">Name in the file.</param>
    /// <param name="values">Row-major values.</param>
    /// <param name="shape">Dimensions.</param>
    /// <param name="dtype">A floating-point type.</param>
    public static SafetensorsEntry FromSingles(string name, ReadOnlyMemory<float> values, int[] shape, DType dtype = DType.F32) =>
        new(name, dtype, shape, stream => Convert(values.Span, dtype, stream));

    private static unsafe void Copy(HostTensor tensor, Stream stream)
    {
        long bytes = tensor.Count * tensor.DType.Size();
        for (long start = 0; start < bytes; start += 1 << 30)
            stream.Write(new ReadOnlySpan<byte>((byte*)tensor.Address + start, (int)Math.Min(1 << 30, bytes - start)));
        GC.KeepAlive(tensor);
    }

    private static unsafe void Convert(ReadOnlySpan<float> values, DType dtype, Stream stream)
    {
        if (dtype == DType.F32)
        {
            for (; values.Length > 0; values = values[Math.Min(values.Length, 1 << 28)..])
                stream.Write(MemoryMarshal.AsBytes(values[..Math.Min(values.Length, 1 << 28)]));
            return;
        }
        const int Chunk = 16384;
        byte[] buffer = new byte[Chunk * dtype.Size()];
        fixed (byte* p = buffer)
        {
            for (; values.Length > 0; values = values[Math.Min(values.Length, Chunk)..])
            {
                ReadOnlySpan<float> part = values[..Math.Min(values.Length, Chunk)];
                HostConvert.FromSingle(part, dtype, p);
                stream.Write(buffer, 0, part.Length * dtype.Size());
            }
        }
    }
}
