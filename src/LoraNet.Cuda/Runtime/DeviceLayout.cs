using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Tensors;

namespace LoraNet.Cuda.Runtime;

/// <summary>Device copies of a layout's ranges. A layout lives as long as a batch, which disposes it; its memory goes
/// back to the pool, which stream order makes safe: later uploads come after all earlier launches.</summary>
internal sealed class DeviceLayout : IDisposable
{
    private readonly IndexPool _pool;
    private readonly List<(nint Address, long Bytes)> _blocks = [];
    private readonly List<(int TileRows, AttentionPass Pass, nint Address, int Count)> _tiles = [];
    private readonly AttentionLayout _key;
    private AttentionLayout _layout;
    private nint _queryStart;

    public DeviceLayout(CudaBackend owner, IndexPool pool, AttentionLayout layout)
    {
        Owner = owner;
        _pool = pool;
        _key = _layout = layout;
        IsPackedCausal = PackedCausal(layout);
        Window = VisibleWindow(layout);
        KeyStart = Rent(8L * layout.Queries);
        KeyEnd = KeyStart + 4 * layout.Queries;
        owner.UploadInts(layout.KeyStart, KeyStart);
        owner.UploadInts(layout.KeyEnd, KeyEnd);
    }

    // For layouts that nobody disposes.
    ~DeviceLayout() => ReturnBlocks();

    public void Dispose()
    {
        ReturnBlocks();
        _key.Prepared = null;
        GC.SuppressFinalize(this);
    }

    private void ReturnBlocks()
    {
        foreach ((nint address, long bytes) in _blocks) _pool.Return(address, bytes);
        _blocks.Clear();
    }

    public CudaBackend Owner { get; }

    public nint KeyStart { get; }

    public nint KeyEnd { get; }

    /// <summary>Query range of each key; uploaded when first asked for, because only a backward needs it.</summary>
    public (nint Start, nint End) Queries
    {
        get
        {
            if (_queryStart == 0)
            {
                int[] start = _layout.QueryStart, end = _layout.QueryEnd;
                _queryStart = Rent(8L * _layout.Keys);
                Owner.UploadInts(start, _queryStart);
                Owner.UploadInts(end, _queryStart + 4 * _layout.Keys);
            }
            return (_queryStart, _queryStart + 4 * _layout.Keys);
        }
    }

    /// <summary>True when a query sees exactly the keys of its segment up to itself, or the last <c>Window</c> of them: the only
    /// layouts of the generated kernels.</summary>
    public bool IsPackedCausal { get; }

    /// <summary>The layout's sliding window, or 0 where it is longer than every segment and hides nothing.</summary>
    public int Window { get; }

    /// <summary>The work list of a generated kernel, made once. Its length is rounded up with empty tiles, so that recorded work can
    /// serve batches whose rows fall into a few more.</summary>
    public unsafe (nint Address, int Count) Tiles(int tileRows, AttentionPass pass)
    {
        foreach ((int rows, AttentionPass made, nint at, int count) in _tiles)
            if (rows == tileRows && made == pass) return (at, count);
        AttentionTiles.Tile[] tiles = AttentionTiles.Packed(_layout.SegmentOffsets, tileRows, pass);
        tiles = AttentionTiles.Pad(tiles, (tiles.Length + 7) / 8 * 8);
        nint address = Rent((long)tiles.Length * sizeof(AttentionTiles.Tile));
        Owner.UploadInts(MemoryMarshal.Cast<AttentionTiles.Tile, int>(tiles), address);
        _tiles.Add((tileRows, pass, address, tiles.Length));
        return (address, tiles.Length);
    }

    /// <summary>Takes over the ranges of another layout of the same sizes; false when work recorded with this one could not serve it.</summary>
    public bool TryReplace(AttentionLayout next)
    {
        if (next.Queries != _layout.Queries || next.Keys != _layout.Keys || PackedCausal(next) != IsPackedCausal || VisibleWindow(next) != Window) return false;
        List<AttentionTiles.Tile[]> lists = [];
        foreach ((int rows, AttentionPass pass, _, int count) in _tiles)
        {
            AttentionTiles.Tile[] tiles = AttentionTiles.Packed(next.SegmentOffsets, rows, pass);
            if (tiles.Length > count) return false;
            lists.Add(AttentionTiles.Pad(tiles, count));
        }
        for (int i = 0; i < lists.Count; i++) Owner.UploadInts(MemoryMarshal.Cast<AttentionTiles.Tile, int>(lists[i]), _tiles[i].Address);
        if (!next.KeyStart.AsSpan().SequenceEqual(_layout.KeyStart)) Owner.UploadInts(next.KeyStart, KeyStart);
        if (!next.KeyEnd.AsSpan().SequenceEqual(_layout.KeyEnd)) Owner.UploadInts(next.KeyEnd, KeyEnd);
        _layout = next;
        if (_queryStart != 0)
        {
            Owner.UploadInts(next.QueryStart, _queryStart);
            Owner.UploadInts(next.QueryEnd, _queryStart + 4 * next.Keys);
        }
        return true;
    }

    private static int VisibleWindow(AttentionLayout layout)
    {
        int longest = 0;
        for (int s = 0; s + 1 < layout.SegmentOffsets.Length; s++) longest = Math.Max(longest, layout.SegmentOffsets[s + 1] - layout.SegmentOffsets[s]);
        return layout.Window >= longest ? 0 : layout.Window;
    }

    private static bool PackedCausal(AttentionLayout layout)
    {
        if (!layout.Causal || layout.SegmentOffsets.Length == 0 || layout.Keys != layout.Queries) return false;
        // A window counts positions; where those have gaps it is not a fixed number of rows.
        for (int s = 0; s + 1 < layout.SegmentOffsets.Length; s++)
        {
            int first = layout.SegmentOffsets[s];
            for (int i = first; i < layout.SegmentOffsets[s + 1]; i++)
            {
                int start = layout.Window > 0 ? Math.Max(first, i - layout.Window + 1) : first;
                if (layout.KeyStart[i] != start || layout.KeyEnd[i] != i + 1) return false;
            }
        }
        return true;
    }

    private nint Rent(long bytes)
    {
        (nint address, long size) = _pool.Rent(Owner, bytes);
        _blocks.Add((address, size));
        return address;
    }
}

/// <summary>Blocks for index arrays, reused so that a new batch does not allocate on the device.</summary>
internal sealed class IndexPool
{
    private readonly ConcurrentQueue<(nint Address, long Bytes)> _free = new();

    /// <summary>A block of at least <paramref name="bytes"/> bytes.</summary>
    public (nint Address, long Bytes) Rent(CudaBackend backend, long bytes)
    {
        // Powers of two, so that batches of similar size fit each other's blocks.
        long size = (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)Math.Max(bytes, 4096));
        for (int i = _free.Count; i > 0 && _free.TryDequeue(out (nint Address, long Bytes) block); i--)
        {
            if (block.Bytes == size) return block;
            _free.Enqueue(block);
        }
        return (backend.AllocateMemory(size), size);
    }

    /// <summary>Takes a block back; called from the finalizer thread.</summary>
    public void Return(nint address, long bytes) => _free.Enqueue((address, bytes));
}
