using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

/// <summary>Random attention layouts of every kind.</summary>
public static class Layouts
{
    /// <summary>A random layout of about this many query rows; empty segments, windows and queries without keys included.</summary>
    public static AttentionLayout Random(LayoutKind kind, int rows, Random random)
    {
        int[] lengths = Split(rows, random);
        int window = random.Next(1, 1 + Math.Max(1, rows));
        switch (kind)
        {
            case LayoutKind.Causal: return AttentionLayout.Packed(lengths, causal: true);
            case LayoutKind.CausalWindow: return AttentionLayout.Packed(lengths, causal: true, window);
            case LayoutKind.Bidirectional: return AttentionLayout.Packed(lengths, causal: false);
            case LayoutKind.BidirectionalWindow: return AttentionLayout.Packed(lengths, causal: false, window);
            case LayoutKind.CausalWindowWithPositionGaps:
                int[] positions = new int[rows];
                for (int i = 1; i < rows; i++) positions[i] = positions[i - 1] + random.Next(1, 4);
                return AttentionLayout.Packed(lengths, causal: true, window, positions);
            case LayoutKind.Cache: return CacheLayout(rows, random.Next(2) * window, random);
            default: return CacheSlotsLayout(lengths, random);
        }
    }

    /// <summary>The last rows of one sequence against its cache.</summary>
    private static AttentionLayout CacheLayout(int rows, int window, Random random)
    {
        int keys = rows + random.Next(0, 40);
        int[] end = Enumerable.Range(keys - rows + 1, rows).ToArray();
        int[] start = end.Select(e => window == 0 ? 0 : Math.Max(0, e - window)).ToArray();
        return AttentionLayout.Ranges(start, end, keys);
    }

    /// <summary>Several sequences in slots of one cache, in any order; a slot may hold less than its queries ask for, or nothing.</summary>
    private static AttentionLayout CacheSlotsLayout(int[] lengths, Random random)
    {
        const int Slot = 24;
        int[] slots = Enumerable.Range(0, lengths.Length).ToArray();
        random.Shuffle(slots);
        List<int> start = [], end = [];
        for (int s = 0; s < lengths.Length; s++)
        {
            int used = random.Next(0, Slot + 1);
            for (int i = 0; i < lengths[s]; i++)
            {
                start.Add(slots[s] * Slot);
                end.Add(slots[s] * Slot + Math.Max(0, used - (lengths[s] - 1 - i)));
            }
        }
        return AttentionLayout.Ranges([.. start], [.. end], lengths.Length * Slot);
    }

    private static int[] Split(int rows, Random random)
    {
        List<int> lengths = [];
        for (int left = rows; left > 0;)
        {
            int length = random.Next(3) == 0 ? left : random.Next(0, left + 1);
            lengths.Add(length);
            left -= length;
        }
        return [.. lengths];
    }
}
