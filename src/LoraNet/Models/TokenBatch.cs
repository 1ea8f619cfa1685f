using System.Runtime.InteropServices;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>One sample as the model sees it: token ids, which of them exist, and which are predicted.</summary>
/// <param name="InputIds">Token ids.</param>
/// <param name="Labels">Labels aligned with the ids, −100 where not trained; position i is predicted from i − 1.</param>
/// <param name="AttentionMask">1 for real tokens, 0 for padding; null when all are real.</param>
public sealed record TokenRow(int[] InputIds, int[] Labels, int[]? AttentionMask = null)
{
    /// <summary>The label that is not trained, as in Hugging Face.</summary>
    public const int Ignored = -100;

    /// <summary>The attached adapter that this row uses, <c>__base__</c> for none; null for the active ones.</summary>
    public string? Adapter { get; init; }

    /// <summary>Number of trained tokens: labels other than −100, not at position 0, whose predictor is a real token.</summary>
    public int TrainedTokens
    {
        get
        {
            int count = 0;
            for (int i = 1; i < Labels.Length; i++)
                if (Labels[i] != Ignored && (AttentionMask is null || AttentionMask[i - 1] != 0)) count++;
            return count;
        }
    }
}

/// <summary>
/// A batch without padding: the real tokens of all rows one after another, each row a segment that attention does not
/// leave. Positions count from 0 within the padded row, padding included, so results equal those of a padded batch.
/// </summary>
public sealed class TokenBatch : IDisposable
{
    private readonly Dictionary<int, AttentionLayout> _causal = [];
    private int[] _segments;
    private int[] _positions;
    private readonly Backend _backend;
    private readonly string?[]? _adapters;
    private AttentionLayout? _bidirectional;
    private RowAdapters? _rowAdapters;

    internal TokenBatch(Backend backend, IReadOnlyList<TokenRow> samples, UnpaddedRows rows)
    {
        _backend = backend;
        Rows = samples.Count;
        Longest = rows.Longest;
        _positions = [.. rows.Positions];
        _segments = [.. rows.Segments];
        HostIds = [.. rows.Ids];
        Origin = [.. rows.Origin];
        Ids = backend.CreateIndex(HostIds);
        Positions = backend.CreateIndex(_positions);
        MaxPosition = _positions.Length == 0 ? 0 : _positions.Max();
        // Most batches have no row with an adapter of its own, and need no masks.
        if (rows.OwnAdapters) _adapters = [.. rows.Origin.Select(o => samples[o.Row].Adapter)];
        HostTrainedRows = [.. rows.TrainedRows];
        TrainedTokens = HostTrainedRows.Length;
        TrainedRows = backend.CreateIndex(HostTrainedRows);
        TrainedTargets = [.. rows.TrainedTargets];
        Targets = backend.CreateIndex(TrainedTargets);
    }

    /// <summary>Number of samples.</summary>
    public int Rows { get; }

    /// <summary>Length of the longest sample, padding included.</summary>
    public int Longest { get; private set; }

    /// <summary>Number of real tokens.</summary>
    public int Tokens => HostIds.Length;

    /// <summary>Token ids [Tokens] on the backend.</summary>
    public Tensor Ids { get; }

    /// <summary>Token ids on the host.</summary>
    public int[] HostIds { get; }

    /// <summary>Positions [Tokens] on the backend.</summary>
    public Tensor Positions { get; }

    /// <summary>Largest position.</summary>
    public int MaxPosition { get; }

    /// <summary>Sample and column of each token.</summary>
    public (int Row, int Column)[] Origin { get; }

    /// <summary>Rows (tokens) that predict a trained label, ascending [TrainedTokens].</summary>
    public Tensor TrainedRows { get; }

    /// <summary><see cref="TrainedRows"/> on the host.</summary>
    internal int[] HostTrainedRows { get; }

    /// <summary>The label predicted by each of <see cref="TrainedRows"/>.</summary>
    public int[] TrainedTargets { get; }

    /// <summary><see cref="TrainedTargets"/> on the backend [TrainedTokens]; negative in padding.</summary>
    internal Tensor Targets { get; }

    /// <summary>Number of trained tokens.</summary>
    public int TrainedTokens { get; }

    /// <summary>Unpads rows.</summary>
    /// <param name="backend">Where ids and positions are put.</param>
    /// <param name="rows">The samples.</param>
    /// <param name="vocabularySize">Ids and labels must be below it.</param>
    /// <exception cref="LoraNetException">An id or label is outside the vocabulary, or lengths disagree.</exception>
    public static TokenBatch Create(Backend backend, IReadOnlyList<TokenRow> rows, int vocabularySize)
    {
        UnpaddedRows unpadded = new();
        unpadded.Fill(rows, vocabularySize);
        return new TokenBatch(backend, rows, unpadded);
    }

    /// <summary>
    /// Puts other rows into <paramref name="old"/> and returns it if they have its shape: lengths, padding and number of trained tokens.
    /// Its tensors and layouts then stay where they are. Else disposes it and makes another.
    /// </summary>
    /// <param name="old">The batch to replace, or null.</param>
    /// <param name="backend">Where ids and positions are put.</param>
    /// <param name="rows">The samples.</param>
    /// <param name="unpadded">Working lists.</param>
    /// <param name="vocabularySize">Ids and labels must be below it.</param>
    /// <exception cref="LoraNetException">An id or label is outside the vocabulary, or lengths disagree; <paramref name="old"/> is as it was.</exception>
    internal static TokenBatch Replace(TokenBatch? old, Backend backend, IReadOnlyList<TokenRow> rows, UnpaddedRows unpadded, int vocabularySize)
    {
        unpadded.Fill(rows, vocabularySize);
        if (old is not null && old.TryRefill(backend, rows, unpadded)) return old;
        old?.Dispose();
        return new TokenBatch(backend, rows, unpadded);
    }

    private bool TryRefill(Backend backend, IReadOnlyList<TokenRow> samples, UnpaddedRows rows)
    {
        bool same = Ids.Address != 0 && _backend == backend && _adapters is null && !rows.OwnAdapters && Rows == samples.Count
            && TrainedTokens == rows.TrainedRows.Count
            && CollectionsMarshal.AsSpan(rows.Segments).SequenceEqual(_segments)
            && CollectionsMarshal.AsSpan(rows.Positions).SequenceEqual(_positions)
            && CollectionsMarshal.AsSpan(rows.Origin).SequenceEqual(Origin);
        if (!same) return false;
        Longest = rows.Longest;
        rows.Ids.CopyTo(HostIds);
        rows.TrainedTargets.CopyTo(TrainedTargets);
        rows.TrainedRows.CopyTo(HostTrainedRows);
        backend.UploadBytes(MemoryMarshal.AsBytes(HostIds.AsSpan()), Ids);
        backend.UploadBytes(MemoryMarshal.AsBytes(HostTrainedRows.AsSpan()), TrainedRows);
        backend.UploadBytes(MemoryMarshal.AsBytes(TrainedTargets.AsSpan()), Targets);
        return true;
    }

    /// <summary>Puts rows of other lengths into the tensors and layouts that recorded work reads; only that work may use the batch
    /// afterwards. False, with undefined contents, when sizes differ or the backend cannot move the layouts.</summary>
    internal bool TryTake(Backend backend, UnpaddedRows rows)
    {
        if (_backend != backend || _adapters is not null || rows.OwnAdapters || Tokens != rows.Ids.Count || TrainedTokens != rows.TrainedRows.Count) return false;
        if (!CollectionsMarshal.AsSpan(rows.Segments).SequenceEqual(_segments) || !CollectionsMarshal.AsSpan(rows.Positions).SequenceEqual(_positions))
        {
            _segments = [.. rows.Segments];
            _positions = [.. rows.Positions];
            foreach ((int window, AttentionLayout layout) in _causal)
            {
                if (backend.TryReplace(layout, AttentionLayout.Packed(_segments, causal: true, window, _positions))) continue;
                // Some layouts may have moved: the next rows must not look like the ones that are there.
                _segments = [];
                return false;
            }
            backend.UploadBytes(MemoryMarshal.AsBytes(_positions.AsSpan()), Positions);
        }
        backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.Ids)), Ids);
        backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.TrainedRows)), TrainedRows);
        backend.UploadBytes(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(rows.TrainedTargets)), Targets);
        return true;
    }

    /// <summary>Visible keys of causal attention within each sample, with a sliding window or 0 for none.</summary>
    public AttentionLayout Causal(int window)
    {
        if (!_causal.TryGetValue(window, out AttentionLayout? layout))
            _causal[window] = layout = AttentionLayout.Packed(_segments, causal: true, window, _positions);
        return layout;
    }

    /// <summary>Visible keys of an encoder: the whole sample.</summary>
    public AttentionLayout Bidirectional => _bidirectional ??= AttentionLayout.Packed(_segments, causal: false);

    /// <summary>Adapters of the tokens' rows, each name once; null when no row has one of its own.</summary>
    internal IReadOnlyCollection<string?>? AdapterNames => _adapters is null ? null : [.. _adapters.Distinct()];

    /// <summary>The adapter of each token, or null when no row has one of its own; lives as long as the batch.</summary>
    internal RowAdapters? Adapters(IReadOnlyCollection<string> active)
    {
        if (_adapters is null) return null;
        _rowAdapters?.Dispose();
        return _rowAdapters = new RowAdapters(_backend, _adapters, active);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _rowAdapters?.Dispose();
        foreach (AttentionLayout layout in _causal.Values) (layout.Prepared as IDisposable)?.Dispose();
        (_bidirectional?.Prepared as IDisposable)?.Dispose();
        _backend.Free(Ids);
        _backend.Free(Positions);
        _backend.Free(TrainedRows);
        _backend.Free(Targets);
    }
}
