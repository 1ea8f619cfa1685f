using System.Numerics;
using LoraNet.Models;

namespace LoraNet.Data.Packing;

/// <summary>
/// Puts samples together into rows of at most a given length, so that every row of a batch costs about the same and few
/// positions are wasted. Best fit, longest first (Johnson, 1973): at most 11/9 of the fewest rows possible, plus a constant.
/// The result depends on the rows alone.
/// </summary>
public static class RowPacker
{
    /// <summary>Packs rows.</summary>
    /// <param name="rows">The samples.</param>
    /// <param name="length">Longest packed row in tokens.</param>
    /// <param name="keepOrder">Fill rows with samples in their order instead, for runs that must see the data in the file's order.</param>
    /// <returns>Packed rows that hold each sample once; each lists its samples in their order.</returns>
    /// <exception cref="LoraNetException">A sample is longer than a row.</exception>
    public static IReadOnlyList<PackedRow> Pack(IReadOnlyList<TokenRow> rows, int length, bool keepOrder = false)
    {
        ArgumentNullException.ThrowIfNull(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        for (int i = 0; i < rows.Count; i++)
        {
            if (rows[i].InputIds.Length > length)
                throw new LoraNetException($"Row {i + 1} has {rows[i].InputIds.Length} tokens, more than the {length} of a packed row.", "Cut rows to the same --max-length.");
        }
        List<List<int>> packs = keepOrder ? InOrder(rows, length) : BestFit(rows, length);
        return [.. packs.Select(p => new PackedRow([.. p.Select(i => rows[i])]))];
    }

    /// <summary>Whether packing pays: rows are on average at most half as long as allowed, and there are enough to fill batches.</summary>
    /// <param name="rows">The samples.</param>
    /// <param name="length">Longest packed row.</param>
    /// <param name="batchSize">Rows of a batch.</param>
    public static bool Pays(IReadOnlyList<TokenRow> rows, int length, int batchSize)
    {
        ArgumentNullException.ThrowIfNull(rows);
        long tokens = rows.Sum(r => (long)r.InputIds.Length);
        return tokens * 2 <= (long)length * rows.Count && tokens >= (long)length * batchSize * 4;
    }

    private static List<List<int>> InOrder(IReadOnlyList<TokenRow> rows, int length)
    {
        List<List<int>> packs = [];
        int left = -1;
        for (int i = 0; i < rows.Count; i++)
        {
            if (rows[i].InputIds.Length > left)
            {
                packs.Add([]);
                left = length;
            }
            packs[^1].Add(i);
            left -= rows[i].InputIds.Length;
        }
        return packs;
    }

    private static List<List<int>> BestFit(IReadOnlyList<TokenRow> rows, int length)
    {
        int[] order = [.. Enumerable.Range(0, rows.Count).OrderByDescending(i => rows[i].InputIds.Length)];
        List<List<int>> packs = [];
        // Packs by the room they have left; a bit map says which amounts occur, so that the smallest that fits is found by words.
        var byRoom = new Stack<int>?[length + 1];
        var occurs = new ulong[(length >> 6) + 1];
        foreach (int i in order)
        {
            int need = rows[i].InputIds.Length;
            int room = Smallest(occurs, need);
            int pack;
            if (room < 0)
            {
                (pack, room) = (packs.Count, length);
                packs.Add([]);
            }
            else
            {
                Stack<int> stack = byRoom[room]!;
                pack = stack.Pop();
                if (stack.Count == 0) occurs[room >> 6] &= ~(1UL << (room & 63));
            }
            packs[pack].Add(i);
            (byRoom[room - need] ??= new Stack<int>()).Push(pack);
            occurs[(room - need) >> 6] |= 1UL << ((room - need) & 63);
        }
        foreach (List<int> pack in packs) pack.Sort();
        return packs;
    }

    private static int Smallest(ulong[] occurs, int from)
    {
        int word = from >> 6;
        ulong bits = occurs[word] & (ulong.MaxValue << (from & 63));
        while (bits == 0)
        {
            if (++word == occurs.Length) return -1;
            bits = occurs[word];
        }
        return (word << 6) + BitOperations.TrailingZeroCount(bits);
    }
}

/// <summary>How well rows are packed.</summary>
/// <param name="Samples">Samples.</param>
/// <param name="Rows">Packed rows.</param>
/// <param name="Tokens">Tokens of all samples.</param>
/// <param name="Length">Longest packed row.</param>
public sealed record PackingReport(int Samples, int Rows, long Tokens, int Length)
{
    /// <summary>Counts packed rows.</summary>
    public static PackingReport Of(IReadOnlyList<PackedRow> packs, int length) => new(packs.Sum(p => p.Rows.Count), packs.Count, packs.Sum(p => (long)p.Length), length);

    /// <summary>Share of the positions that hold tokens, in [0, 1].</summary>
    public double Fill => Rows == 0 ? 0 : Tokens / ((double)Rows * Length);
}
