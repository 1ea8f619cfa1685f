using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LoraNet.Cuda.Ptx;

namespace LoraNet.Cuda.Driver;

/// <summary>
/// A 128-byte tensor map: how the copy engine of sm_90 (TMA) sees a row-major matrix. Passed to kernels by value, so it is baked into a captured graph.
/// Always a 64-column box with the 128-byte swizzle: one shared-memory row is 64 16-bit elements, 16-byte unit u of row q sits at u ^ (q % 8).
/// </summary>
[InlineArray(128)]
internal struct TensorMap
{
    private byte _first;

    // Codes from the driver API manual (CUtensorMapDataType, CUtensorMapSwizzle, CUtensorMapL2promotion).
    private const int TypeFloat16 = 6, TypeBFloat16 = 9, Swizzle128 = 3, L2Promotion128 = 2;

    /// <summary>Whether a matrix can be read by the copy engine: 16-byte aligned start and row pitch.</summary>
    public static bool Fits(ulong address, long ld) => (address & 15) == 0 && (ld & 7) == 0;

    /// <summary>Encodes the map of a [<paramref name="rows"/>, <paramref name="cols"/>] matrix of 16-bit elements.</summary>
    /// <param name="type">BF16 or F16.</param>
    /// <param name="address">Device address, a multiple of 16.</param>
    /// <param name="rows">Rows; reads past them give zeros, writes past them are dropped.</param>
    /// <param name="cols">Columns, likewise.</param>
    /// <param name="ld">Elements from one row to the next, a multiple of 8.</param>
    /// <param name="boxRows">Rows of one transfer, at most 256.</param>
    public static unsafe TensorMap Encode(PtxType type, ulong address, long rows, long cols, long ld, int boxRows)
    {
        if (!Fits(address, ld)) throw new ArgumentException($"A tensor map needs 16-byte alignment: address {address:x}, {ld} elements a row.");
        ulong* dims = stackalloc ulong[2] { (ulong)cols, (ulong)rows };
        ulong stride = (ulong)ld * 2;
        uint* box = stackalloc uint[2] { 64, (uint)boxRows };
        uint* steps = stackalloc uint[2] { 1, 1 };
        byte* raw = stackalloc byte[192];
        byte* aligned = (byte*)(((nuint)raw + 63) & ~(nuint)63); // the encode call alone wants 64-byte alignment
        CudaError.Check(Native.cuTensorMapEncodeTiled(aligned, type == PtxType.BF16 ? TypeBFloat16 : TypeFloat16, 2, address, dims, &stride, box, steps, 0, Swizzle128, L2Promotion128, 0), "cuTensorMapEncodeTiled");
        TensorMap map = default;
        new ReadOnlySpan<byte>(aligned, 128).CopyTo(MemoryMarshal.CreateSpan(ref map._first, 128));
        return map;
    }
}
