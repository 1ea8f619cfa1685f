using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LoraNet.Cuda.Driver;

/// <summary>Collects kernel arguments by value, without allocating on the heap. Used once a launch, on the stack.</summary>
internal ref struct KernelArgs
{
    private const int Capacity = 1536, MaxCount = 32;

    private Storage _bytes;
    private Offsets _offsets;
    private int _used;

    /// <summary>Number of arguments so far.</summary>
    public int Count { get; private set; }

    /// <summary>The arguments' bytes.</summary>
    [UnscopedRef]
    public Span<byte> Bytes => MemoryMarshal.CreateSpan(ref Unsafe.As<Storage, byte>(ref _bytes), Capacity);

    /// <summary>Where argument <paramref name="index"/> begins in <see cref="Bytes"/>.</summary>
    public readonly int OffsetOf(int index) => _offsets[index];

    /// <summary>Appends one argument at the next 8-byte boundary.</summary>
    public void Add<T>(in T value)
        where T : unmanaged
    {
        int size = Unsafe.SizeOf<T>(), start = (_used + 7) & ~7;
        if (Count == MaxCount || start + size > Capacity) throw new InvalidOperationException("Too many kernel arguments.");
        MemoryMarshal.Write(Bytes[start..], in value);
        _offsets[Count++] = start;
        _used = start + size;
    }

    /// <summary>Appends an int argument from a long that must fit 31 bits.</summary>
    public void AddInt(long value) => Add(checked((int)value));

    [InlineArray(Capacity)]
    private struct Storage
    {
        private byte _first;
    }

    [InlineArray(MaxCount)]
    private struct Offsets
    {
        private int _first;
    }
}
