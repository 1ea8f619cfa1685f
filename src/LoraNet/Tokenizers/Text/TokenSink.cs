namespace LoraNet.Tokenizers;

/// <summary>Collects ids (and original ranges on request) without allocating per token; pooled per thread.</summary>
internal sealed class TokenSink
{
    private int[] _ids = new int[256];
    private TokenSpan[] _spans = [];

    public int Count { get; private set; }

    public bool WithSpans { get; private set; }

    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, Count);

    public Span<TokenSpan> Spans => _spans.AsSpan(0, WithSpans ? Count : 0);

    public void Reset(bool withSpans)
    {
        Count = 0;
        WithSpans = withSpans;
        if (_ids.Length > 1 << 20) _ids = new int[256];
        if (_spans.Length > 1 << 20) _spans = [];
        if (withSpans && _spans.Length < _ids.Length) _spans = new TokenSpan[_ids.Length];
    }

    /// <summary>Adds an id; for a sink without ranges.</summary>
    public void Add(int id)
    {
        if (Count == _ids.Length) Grow(1);
        _ids[Count++] = id;
    }

    /// <summary>Adds several ids; for a sink without ranges.</summary>
    public void AddRange(ReadOnlySpan<int> ids)
    {
        if (Count + ids.Length > _ids.Length) Grow(ids.Length);
        ids.CopyTo(_ids.AsSpan(Count));
        Count += ids.Length;
    }

    /// <summary>Adds an id with its range, which is dropped if the sink keeps none.</summary>
    public void Add(int id, TokenSpan span)
    {
        if (Count == _ids.Length) Grow(1);
        if (WithSpans) _spans[Count] = span;
        _ids[Count++] = id;
    }

    /// <summary>Adds an id for units [start, end) of a buffer.</summary>
    public void Add(int id, TextBuffer buffer, int start, int end)
    {
        if (Count == _ids.Length) Grow(1);
        if (WithSpans) _spans[Count] = buffer.Original(start, end);
        _ids[Count++] = id;
    }

    /// <summary>Keeps <paramref name="length"/> tokens from <paramref name="start"/>.</summary>
    public void Slice(int start, int length)
    {
        if (start > 0)
        {
            Array.Copy(_ids, start, _ids, 0, length);
            if (WithSpans) Array.Copy(_spans, start, _spans, 0, length);
        }
        Count = length;
    }

    private void Grow(int extra)
    {
        int size = Math.Max(checked(_ids.Length * 2), checked(Count + extra));
        Array.Resize(ref _ids, size);
        if (WithSpans) Array.Resize(ref _spans, size);
    }
}
