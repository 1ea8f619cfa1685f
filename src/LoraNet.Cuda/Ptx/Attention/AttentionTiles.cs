using System.Runtime.InteropServices;

namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// The work list of attention kernels: one entry of four ints per tile, {first row, first key, end of rows, shift}, heaviest first.
/// Query row i of a tile sees keys [first key, i + shift]; rows run to the end. Packed self-attention has shift 0 and first key = segment start.
/// In the key gradient the first row is a key, and its queries are the rows from there to the end.
/// </summary>
internal static class AttentionTiles
{
    /// <summary>One tile.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal readonly record struct Tile(int Row, int KeyStart, int End, int Shift);

    /// <summary>Splits packed segments (offsets 0, e1, e2, ..., T) into tiles of <paramref name="tileRows"/> rows.</summary>
    /// <param name="offsets">Segment starts and the total, ascending.</param>
    /// <param name="tileRows">Rows of a tile, from the kernel's spec.</param>
    /// <param name="pass">The kernel: a query tile's work grows with the keys before it, a key tile's with the queries after it.</param>
    public static Tile[] Packed(ReadOnlySpan<int> offsets, int tileRows, AttentionPass pass)
    {
        List<Tile> tiles = [];
        for (int s = 0; s + 1 < offsets.Length; s++)
            for (int row = offsets[s]; row < offsets[s + 1]; row += tileRows) tiles.Add(new(row, offsets[s], offsets[s + 1], 0));
        return Sorted(tiles, tileRows, pass);
    }

    /// <summary>Tiles of new query rows [rowStart, rowEnd) that follow <paramref name="cached"/> keys in a key/value buffer whose row 0 is <paramref name="keyStart"/>.</summary>
    public static Tile[] Cached(int rowStart, int rowEnd, int keyStart, int cached, int tileRows)
    {
        List<Tile> tiles = [];
        for (int row = rowStart; row < rowEnd; row += tileRows) tiles.Add(new(row, keyStart, rowEnd, keyStart + cached - rowStart));
        return Sorted(tiles, tileRows, AttentionPass.Forward);
    }

    /// <summary>
    /// Extends a list with empty tiles to <paramref name="count"/> entries, so that a captured graph with a fixed count serves any batch up to it.
    /// An empty tile costs one loop step of a block and stores nothing.
    /// </summary>
    public static Tile[] Pad(Tile[] tiles, int count)
    {
        if (count < tiles.Length) throw new ArgumentException($"{tiles.Length} tiles do not fit a list of {count}.");
        return [.. tiles, .. Enumerable.Repeat(default(Tile), count - tiles.Length)];
    }

    private static Tile[] Sorted(List<Tile> tiles, int tileRows, AttentionPass pass) => // OrderBy is stable: equal tiles keep their order
        [.. tiles.OrderByDescending(t => pass == AttentionPass.KeyGradient ? t.End - t.Row : Math.Min(t.Row + tileRows, t.End) + t.Shift - t.KeyStart)];
}
