using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>Finds NaN and infinities: values whose exponent bits are all ones (IEEE 754).</summary>
public static class NonFinite
{
    /// <summary>The flat index of the first NaN or infinity of a tensor, or −1. Integer tensors have none.</summary>
    public static unsafe long FindNonFinite(this HostTensor tensor)
    {
        const int Chunk = 1 << 28;
        int size = tensor.DType.Size();
        for (long start = 0; start < tensor.Count; start += Chunk)
        {
            int count = (int)Math.Min(Chunk, tensor.Count - start);
            long found = Find(new ReadOnlySpan<byte>((byte*)tensor.Address + start * size, count * size), tensor.DType);
            if (found >= 0)
            {
                GC.KeepAlive(tensor);
                return start + found;
            }
        }
        GC.KeepAlive(tensor);
        return -1;
    }

    /// <summary>The index of the first NaN or infinity among whole elements, or −1.</summary>
    internal static int Find(ReadOnlySpan<byte> bytes, DType dtype) => dtype switch
    {
        DType.F32 => Find<uint>(bytes, 0x7F80_0000u),
        DType.BF16 => Find<ushort>(bytes, 0x7F80),
        DType.F16 => Find<ushort>(bytes, 0x7C00),
        DType.F64 => Find<ulong>(bytes, 0x7FF0_0000_0000_0000ul),
        _ => -1,
    };

    private static int Find<T>(ReadOnlySpan<byte> bytes, T exponent) where T : unmanaged, IBinaryInteger<T>
    {
        ReadOnlySpan<T> values = MemoryMarshal.Cast<byte, T>(bytes);
        int i = 0;
        ref byte first = ref MemoryMarshal.GetReference(bytes);
        Vector<T> mask = new(exponent);
        for (; i <= values.Length - Vector<T>.Count; i += Vector<T>.Count)
        {
            Vector<T> v = Unsafe.ReadUnaligned<Vector<T>>(ref Unsafe.Add(ref first, (nint)i * Unsafe.SizeOf<T>()));
            if (Vector.EqualsAny(v & mask, mask)) break;
        }
        for (; i < values.Length; i++)
            if ((values[i] & exponent) == exponent) return i;
        return -1;
    }
}
