namespace LoraNet.Tensors;

/// <summary>
/// Which key rows each query row sees: query row i attends the half-open range [<see cref="KeyStart"/>[i],
/// <see cref="KeyEnd"/>[i]). Both bounds never decrease with i inside a segment. Causality, sliding windows, packed
/// samples, padding on either side (padded tokens are simply not rows) and key-value caches are all expressed this way,
/// so kernels know no masks. Built once per batch on the host and shared by all layers.
/// </summary>
public sealed class AttentionLayout
{
    // One reference, so that threads of a kernel that ask at the same time see all of it or nothing.
    private QueryRanges? _queries;

    private AttentionLayout(int[] keyStart, int[] keyEnd, int keys, int[] segmentOffsets, bool causal, int window)
    {
        KeyStart = keyStart;
        KeyEnd = keyEnd;
        Keys = keys;
        SegmentOffsets = segmentOffsets;
        Causal = causal;
        Window = window;
    }

    /// <summary>First visible key row of each query row.</summary>
    public int[] KeyStart { get; }

    /// <summary>End (exclusive) of the visible key rows of each query row.</summary>
    public int[] KeyEnd { get; }

    /// <summary>First query row that sees each key row (0 if none does). Computed when first asked for: only a backward needs it.</summary>
    public int[] QueryStart => (_queries ??= FindQueries()).Start;

    /// <summary>End (exclusive) of the query rows that see each key row (0 if none does).</summary>
    public int[] QueryEnd => (_queries ??= FindQueries()).End;

    /// <summary>Number of query rows.</summary>
    public int Queries => KeyStart.Length;

    /// <summary>Number of key rows.</summary>
    public int Keys { get; }

    /// <summary>Segment boundaries (cumulative lengths, first 0) when queries and keys are the same packed rows; else empty.</summary>
    public int[] SegmentOffsets { get; }

    /// <summary>True when a query never sees a later key.</summary>
    public bool Causal { get; }

    /// <summary>Sliding window in tokens, or 0 for none: a key is seen while position(query) - position(key) is less.</summary>
    public int Window { get; }

    /// <summary>What a backend derived from the layout (device copies, tile lists).</summary>
    public object? Prepared { get; set; }

    /// <summary>Self-attention over packed segments.</summary>
    /// <param name="segmentLengths">Rows of each segment; their sum is the number of rows.</param>
    /// <param name="causal">True for decoders.</param>
    /// <param name="window">Sliding window in positions, 0 for none.</param>
    /// <param name="positions">Position of each row, ascending within a segment; null when rows are consecutive.</param>
    public static AttentionLayout Packed(ReadOnlySpan<int> segmentLengths, bool causal, int window = 0, int[]? positions = null)
    {
        int[] offsets = new int[segmentLengths.Length + 1];
        for (int s = 0; s < segmentLengths.Length; s++) offsets[s + 1] = offsets[s] + segmentLengths[s];
        int rows = offsets[^1];
        int[] start = new int[rows];
        int[] end = new int[rows];
        for (int s = 0; s < segmentLengths.Length; s++)
        {
            int first = offsets[s];
            for (int i = offsets[s]; i < offsets[s + 1]; i++)
            {
                while (window > 0 && Position(i) - Position(first) >= window) first++;
                start[i] = first;
                end[i] = causal ? i + 1 : offsets[s + 1];
            }
        }
        return new AttentionLayout(start, end, rows, offsets, causal, window);

        int Position(int row) => positions is null ? row : positions[row];
    }

    /// <summary>Queries against a separate key-value cache, as in generation.</summary>
    /// <param name="keyStart">First visible cache row of each query.</param>
    /// <param name="keyEnd">End (exclusive) of the visible cache rows of each query.</param>
    /// <param name="keys">Rows of the cache.</param>
    public static AttentionLayout Ranges(int[] keyStart, int[] keyEnd, int keys) => new(keyStart, keyEnd, keys, [], false, 0);

    private QueryRanges FindQueries()
    {
        for (int i = 1; i < Queries; i++)
            if (KeyStart[i] < KeyStart[i - 1] || KeyEnd[i] < KeyEnd[i - 1]) return FindQueriesOfAnyOrder();
        // Both bounds ascend with the query, so the queries of a key are those after the first whose end passes it and before
        // the first whose start does: two pointers, O(queries + keys).
        int[] start = new int[Keys], end = new int[Keys];
        int first = 0, past = 0;
        for (int j = 0; j < Keys; j++)
        {
            while (first < Queries && KeyEnd[first] <= j) first++;
            while (past < Queries && KeyStart[past] <= j) past++;
            if (first < past) (start[j], end[j]) = (first, past);
        }
        return new QueryRanges(start, end);
    }

    // Ranges of a cache whose sequences come in any order: O(queries · keys seen).
    private QueryRanges FindQueriesOfAnyOrder()
    {
        int[] start = new int[Keys], end = new int[Keys];
        for (int i = 0; i < Queries; i++)
        {
            for (int j = KeyStart[i]; j < KeyEnd[i]; j++)
            {
                if (end[j] == 0) start[j] = i;
                else if (end[j] != i) throw new InvalidOperationException("The queries that see a key must be consecutive for a backward.");
                end[j] = i + 1;
            }
        }
        return new QueryRanges(start, end);
    }

    private sealed record QueryRanges(int[] Start, int[] End);
}
