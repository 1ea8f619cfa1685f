namespace LoraNet.Tokenizers;

/// <summary>
/// The symbols of one word while they are merged: repeatedly the adjacent pair with the lowest rank, the leftmost among equals.
/// Short words rescan an array; long ones (a whole document can be one word) use a linked list and a heap: O(n log n).
/// Reused per thread.
/// </summary>
internal sealed class BpeWord
{
    private const int ShortWord = 64;

    private int[] _ids = new int[ShortWord];
    private int[] _lengths = new int[ShortWord];
    private int[] _previous = [];
    private int[] _next = [];
    private ulong[] _heapKeys = [];
    private int[] _heapIds = [];
    private int _heapCount;
    private int _owed;

    public int Count { get; private set; }

    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    /// <summary>How many UTF-8 bytes of the word each symbol covers.</summary>
    public ReadOnlySpan<int> Lengths => _lengths.AsSpan(0, Count);

    public void Clear()
    {
        Count = 0;
        _owed = 0;
        if (_ids.Length > 1 << 20)
        {
            _ids = new int[ShortWord];
            _lengths = new int[ShortWord];
            _previous = [];
            _next = [];
            _heapKeys = [];
            _heapIds = [];
        }
    }

    /// <summary>Appends a symbol that covers some bytes.</summary>
    public void Add(int id, int length)
    {
        if (Count == _ids.Length)
        {
            Array.Resize(ref _ids, Count * 2);
            Array.Resize(ref _lengths, Count * 2);
        }
        _ids[Count] = id;
        _lengths[Count] = length + _owed;
        _owed = 0;
        Count++;
    }

    /// <summary>Accounts for bytes that no symbol stands for (a character the vocabulary lacks): they widen a neighbour's range.</summary>
    public void Drop(int length)
    {
        if (Count > 0) _lengths[Count - 1] += length;
        else _owed += length;
    }

    public void Merge(BpeMerges merges)
    {
        if (Count < 2) return;
        if (Count <= ShortWord) MergeShort(merges);
        else MergeLong(merges);
    }

    private void MergeShort(BpeMerges merges)
    {
        int n = Count;
        Span<int> ids = _ids.AsSpan(0, n);
        Span<int> lengths = _lengths.AsSpan(0, n);
        Span<int> ranks = stackalloc int[ShortWord];
        Span<int> merged = stackalloc int[ShortWord];
        for (int i = 0; i < n - 1; i++) merges.TryGet(ids[i], ids[i + 1], out ranks[i], out merged[i]);
        while (n > 1)
        {
            int best = 0;
            int bestRank = ranks[0];
            for (int i = 1; i < n - 1; i++)
            {
                if (ranks[i] < bestRank)
                {
                    bestRank = ranks[i];
                    best = i;
                }
            }
            // A found pair may carry the largest rank; an absent one has no merged id.
            if (bestRank == int.MaxValue && merged[best] < 0) break;
            ids[best] = merged[best];
            lengths[best] += lengths[best + 1];
            int rest = n - best - 2;
            ids.Slice(best + 2, rest).CopyTo(ids[(best + 1)..]);
            lengths.Slice(best + 2, rest).CopyTo(lengths[(best + 1)..]);
            if (rest > 0)
            {
                ranks.Slice(best + 2, rest - 1).CopyTo(ranks[(best + 1)..]);
                merged.Slice(best + 2, rest - 1).CopyTo(merged[(best + 1)..]);
            }
            n--;
            if (best + 1 < n) merges.TryGet(ids[best], ids[best + 1], out ranks[best], out merged[best]);
            if (best > 0) merges.TryGet(ids[best - 1], ids[best], out ranks[best - 1], out merged[best - 1]);
        }
        Count = n;
    }

    private void MergeLong(BpeMerges merges)
    {
        int n = Count;
        if (_previous.Length < n)
        {
            int size = Math.Max(n, Math.Min(2 * n, _ids.Length));
            _previous = new int[size];
            _next = new int[size];
            _heapKeys = new ulong[size];
            _heapIds = new int[size];
        }
        _heapCount = 0;
        for (int i = 0; i < n; i++)
        {
            _previous[i] = i - 1;
            _next[i] = i + 1 < n ? i + 1 : -1;
        }
        for (int i = 0; i < n - 1; i++) Offer(merges, i, i + 1);
        while (_heapCount > 0)
        {
            Pop(out int at, out int id);
            int right = _next[at];
            // An entry is stale if its symbol is gone or its pair has changed since.
            if (_lengths[at] == 0 || right < 0) continue;
            if (!merges.TryGet(_ids[at], _ids[right], out _, out int now) || now != id) continue;
            _ids[at] = id;
            _lengths[at] += _lengths[right];
            _lengths[right] = 0;
            int after = _next[right];
            _next[at] = after;
            if (after >= 0)
            {
                _previous[after] = at;
                Offer(merges, at, after);
            }
            if (_previous[at] >= 0) Offer(merges, _previous[at], at);
        }
        int kept = 0;
        for (int i = 0; i < n; i++)
        {
            if (_lengths[i] == 0) continue;
            _ids[kept] = _ids[i];
            _lengths[kept] = _lengths[i];
            kept++;
        }
        Count = kept;
    }

    private void Offer(BpeMerges merges, int left, int right)
    {
        if (!merges.TryGet(_ids[left], _ids[right], out int rank, out int id)) return;
        if (_heapCount == _heapKeys.Length)
        {
            Array.Resize(ref _heapKeys, _heapCount * 2);
            Array.Resize(ref _heapIds, _heapCount * 2);
        }
        ulong key = ((ulong)(uint)rank << 32) | (uint)left;
        int i = _heapCount++;
        while (i > 0)
        {
            int parent = (i - 1) >> 2;
            if (_heapKeys[parent] <= key) break;
            _heapKeys[i] = _heapKeys[parent];
            _heapIds[i] = _heapIds[parent];
            i = parent;
        }
        _heapKeys[i] = key;
        _heapIds[i] = id;
    }

    private void Pop(out int at, out int id)
    {
        at = (int)(uint)_heapKeys[0];
        id = _heapIds[0];
        int n = --_heapCount;
        ulong key = _heapKeys[n];
        int payload = _heapIds[n];
        int i = 0;
        while (true)
        {
            int child = 4 * i + 1;
            if (child >= n) break;
            int last = Math.Min(child + 4, n);
            int best = child;
            for (int c = child + 1; c < last; c++)
                if (_heapKeys[c] < _heapKeys[best]) best = c;
            if (_heapKeys[best] >= key) break;
            _heapKeys[i] = _heapKeys[best];
            _heapIds[i] = _heapIds[best];
            i = best;
        }
        _heapKeys[i] = key;
        _heapIds[i] = payload;
    }
}
