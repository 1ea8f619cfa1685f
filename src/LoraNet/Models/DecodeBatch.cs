using System.Runtime.InteropServices;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>New tokens of several sequences of a key-value cache, on the host and on the backend.</summary>
internal sealed class DecodeBatch : IDisposable
{
    private readonly Backend _backend;
    private readonly KeyValueCache _cache;
    private readonly Dictionary<int, AttentionLayout> _layouts = [];
    private DecodeRows _rows;

    public DecodeBatch(Backend backend, KeyValueCache cache, DecodeRows rows)
    {
        (_backend, _cache, _rows) = (backend, cache, rows);
        Ids = backend.CreateIndex(CollectionsMarshal.AsSpan(rows.Ids));
        Positions = backend.CreateIndex(CollectionsMarshal.AsSpan(rows.Positions));
        CacheRows = backend.CreateIndex(CollectionsMarshal.AsSpan(rows.CacheRows));
        Last = backend.CreateIndex(CollectionsMarshal.AsSpan(rows.Last));
    }

    /// <summary>Token ids.</summary>
    public Tensor Ids { get; }

    /// <summary>Positions of the tokens.</summary>
    public Tensor Positions { get; }

    /// <summary>Where the tokens' keys and values go in the cache.</summary>
    public Tensor CacheRows { get; }

    /// <summary>The last token of each sequence.</summary>
    public Tensor Last { get; }

    /// <summary>Visible keys: rows of the cache, or the new rows themselves where every sequence begins with them.</summary>
    public AttentionLayout Layout(int window)
    {
        if (!_layouts.TryGetValue(window, out AttentionLayout? layout)) _layouts[window] = layout = Ranges(_rows, window);
        return layout;
    }

    /// <summary>Takes over other tokens of as many sequences, so that recorded work computes with them.</summary>
    /// <returns>False, with undefined contents, when the backend cannot move the layouts.</returns>
    public bool TryTake(DecodeRows rows)
    {
        foreach ((int window, AttentionLayout layout) in _layouts)
            if (!_backend.TryReplace(layout, Ranges(rows, window))) return false;
        _rows = rows;
        _backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.Ids)), Ids);
        _backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.Positions)), Positions);
        _backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.CacheRows)), CacheRows);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (AttentionLayout layout in _layouts.Values) (layout.Prepared as IDisposable)?.Dispose();
        foreach (Tensor tensor in (Tensor[])[Ids, Positions, CacheRows, Last]) _backend.Free(tensor);
    }

    private AttentionLayout Ranges(DecodeRows rows, int window)
    {
        if (rows.Fresh) return AttentionLayout.Packed(CollectionsMarshal.AsSpan(rows.Counts), causal: true, window);
        int[] first = [.. rows.Start];
        if (window > 0) for (int i = 0; i < first.Length; i++) first[i] = Math.Max(first[i], rows.End[i] - window);
        return AttentionLayout.Ranges(first, [.. rows.End], _cache.Sequences * _cache.Capacity);
    }
}

/// <summary>The host's part of a <see cref="DecodeBatch"/>.</summary>
internal sealed class DecodeRows
{
    /// <summary>Lists the tokens and extends the cache's lengths.</summary>
    /// <exception cref="LoraNetException">A sequence outgrows the cache or the model's positions, is named twice or gets no token, or an id is
    /// outside the vocabulary; the cache is as it was.</exception>
    public DecodeRows(KeyValueCache cache, IReadOnlyList<(int Sequence, int[] Tokens)> tokens, CausalLM model)
    {
        int vocabularySize = model.Options.VocabularySize;
        HashSet<int> named = [];
        foreach ((int sequence, int[] added) in tokens)
        {
            if ((uint)sequence >= (uint)cache.Sequences) throw new LoraNetException($"There is no sequence {sequence} in a cache of {cache.Sequences}.");
            if (!named.Add(sequence)) throw new LoraNetException($"Sequence {sequence} is named twice.", "Give all its new tokens together.");
            if (added.Length == 0) throw new LoraNetException($"Sequence {sequence} gets no token.", "Leave it out of this pass.");
            int length = cache.Lengths[sequence] + added.Length;
            model.CheckPositions(length);
            if (length > cache.Capacity) throw new LoraNetException($"The sequence of {length} tokens is longer than the cache of {cache.Capacity}.");
            foreach (int id in added)
                if ((uint)id >= (uint)vocabularySize) throw new LoraNetException($"Token id {id} is outside the model's vocabulary of {vocabularySize}.");
        }
        Fresh = true;
        foreach ((int sequence, int[] added) in tokens)
        {
            int length = cache.Lengths[sequence], first = sequence * cache.Capacity;
            Fresh &= length == 0;
            Counts.Add(added.Length);
            foreach (int id in added)
            {
                Ids.Add(id);
                Positions.Add(length);
                CacheRows.Add(first + length);
                Start.Add(first);
                End.Add(first + ++length);
            }
            Last.Add(Ids.Count - 1);
            Longest = Math.Max(Longest, length);
            cache.Lengths[sequence] = length;
        }
    }

    public List<int> Ids { get; } = [];

    public List<int> Positions { get; } = [];

    public List<int> CacheRows { get; } = [];

    public List<int> Start { get; } = [];

    public List<int> End { get; } = [];

    public List<int> Last { get; } = [];

    public List<int> Counts { get; } = [];

    /// <summary>Length of the longest sequence, the new tokens included.</summary>
    public int Longest { get; }

    /// <summary>True when every sequence begins with these tokens, so that nothing older is to be seen.</summary>
    public bool Fresh { get; }

    /// <summary>True when each sequence gets one token.</summary>
    public bool Single => Ids.Count == Last.Count;
}
