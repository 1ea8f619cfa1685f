namespace LoraNet.Tokenizers;

/// <summary>A part of the text between two cuts, or (with <see cref="TokenId"/> at least 0) an added token found in it.</summary>
internal readonly record struct Piece(TextBuffer Buffer, int Start, int Length, int TokenId = -1)
{
    public int End => Start + Length;

    public ReadOnlySpan<char> Span => Buffer.Span.Slice(Start, Length);
}

/// <summary>The pieces of one text in order; each pipeline step replaces pieces by their parts.</summary>
internal sealed class PieceList
{
    private List<Piece> _current = [];
    private List<Piece> _next = [];

    public List<Piece> Items => _current;

    public void Clear()
    {
        _current.Clear();
        _next.Clear();
        // A pathological text must not keep its memory alive in the pool.
        if (_current.Capacity > 1 << 20) _current = [];
        if (_next.Capacity > 1 << 20) _next = [];
    }

    public void Add(in Piece piece) => _current.Add(piece);

    /// <summary>Replaces every piece that is not a token by what <paramref name="split"/> adds to the list for it; empty parts are dropped.</summary>
    public void Transform<TState>(TState state, Action<TState, Piece, List<Piece>> split)
    {
        _next.Clear();
        foreach (Piece p in _current)
        {
            if (p.TokenId >= 0) _next.Add(p);
            else if (p.Length > 0) split(state, p, _next);
        }
        (_current, _next) = (_next, _current);
    }
}
