using System.Runtime.Intrinsics.X86;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// A block of a weight that is read soon: some rows of bytes, each contiguous. Asked for a part at a time while something else is
/// computed, so that it has come from memory when it is needed. The processor does not foresee the jump from panel to panel.
/// </summary>
internal unsafe struct Upcoming(byte* start, nint stride, int rows, int rowBytes)
{
    private const int Line = 64;
    private readonly int _rowBytes = rowBytes;
    private byte* _row = start;
    private int _rows = rows, _offset;

    /// <summary>Asks for a share of what is left: all of it in <paramref name="steps"/> calls with descending numbers.</summary>
    public void Fetch(int steps)
    {
        if (_rows == 0 || !Sse.IsSupported) return;
        long left = (long)(_rows - 1) * _rowBytes + _rowBytes - _offset;
        for (long share = (left + steps - 1) / steps; share > 0; share -= Line)
        {
            // Second level: the first is full of what is computed now.
            Sse.Prefetch1(_row + _offset);
            _offset += Line;
            if (_offset < _rowBytes) continue;
            _offset = 0;
            _row += stride;
            if (--_rows == 0) return;
        }
    }
}
