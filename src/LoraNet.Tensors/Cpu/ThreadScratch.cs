using System.Runtime.InteropServices;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// Working memory of kernels, one growing block per thread and use. A caller's block may be read and written by workers
/// while the caller waits; nothing survives an operation. After the first step of a shape nothing is allocated.
/// </summary>
internal static unsafe class ThreadScratch
{
    /// <summary>What a block is for. Uses that are alive at the same time on one thread are different.</summary>
    public enum Use
    {
        PackedA, LowA, LowB, PackedB, Tile, Product, Transposed, Partials, Operand0, Operand1, Operand2, Operand3, Operand4, Operand5, Operand6, Operand7, Operand8, Attention, Keys, Values,
        Count,
    }

    [ThreadStatic]
    private static Block[]? _blocks;

    /// <summary>At least <paramref name="count"/> floats, aligned to 64 bytes; undefined contents.</summary>
    public static float* Floats(Use use, long count) => (float*)Bytes(use, count * sizeof(float));

    /// <summary>At least <paramref name="count"/> bytes, aligned to 64; undefined contents.</summary>
    public static byte* Bytes(Use use, long count)
    {
        Block[] blocks = _blocks ??= new Block[(int)Use.Count];
        Block block = blocks[(int)use] ??= new Block();
        return block.Ensure(count);
    }

    private sealed class Block
    {
        private byte* _address;
        private long _size;

        public byte* Ensure(long count)
        {
            if (count <= _size) return _address;
            NativeMemory.AlignedFree(_address);
            _address = null;
            _size = 0;
            long size = Math.Max(4096, count + count / 8);
            try
            {
                // The slack lets kernels read a whole vector at the end.
                _address = (byte*)NativeMemory.AlignedAlloc((nuint)size + 256, 64);
            }
            catch (OutOfMemoryException e)
            {
                throw new LoraNetException(
                    $"Not enough memory: {size:N0} bytes of working memory were asked for.",
                    "Use a smaller batch or shorter sequences, or free memory.", e);
            }
            _size = size;
            return _address;
        }

        // Threads come and go; their blocks go with them.
        ~Block() => NativeMemory.AlignedFree(_address);
    }
}
