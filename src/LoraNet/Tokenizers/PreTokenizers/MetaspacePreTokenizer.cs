namespace LoraNet.Tokenizers;

/// <summary>When "▁" is put in front of a text.</summary>
internal enum PrependScheme
{
    /// <summary>Before every stretch of text between added tokens.</summary>
    Always,

    /// <summary>Only at the start of the whole text.</summary>
    First,

    /// <summary>Not at all.</summary>
    Never,
}

/// <summary>SentencePiece's convention: spaces become "▁", and words start with it.</summary>
internal sealed class MetaspacePreTokenizer(char replacement, PrependScheme scheme, bool split) : IPreTokenizer
{
    private readonly string _replacement = replacement.ToString();
    private readonly ReplaceNormalizer _spaces = ReplaceNormalizer.ForString(" ", replacement.ToString());

    public bool NeedsOrigins => scheme == PrependScheme.First;

    public void Apply(PieceList pieces) => pieces.Transform(this, static (self, piece, output) => self.Split(piece, output));

    private void Split(Piece piece, List<Piece> output)
    {
        TextBuffer text = _spaces.Replace(piece.Buffer, piece.Start, piece.Length);
        bool prepend = scheme == PrependScheme.Always || (scheme == PrependScheme.First && piece.Buffer.OriginalStart(piece.Start) == 0);
        if (prepend && text.Span[0] != replacement) text = PrependNormalizer.Prepend(text, 0, text.Length, _replacement);
        var whole = new Piece(text, 0, text.Length);
        if (!split)
        {
            output.Add(whole);
            return;
        }
        List<(int Start, int End)> matches = Splitting.Matches;
        matches.Clear();
        ReadOnlySpan<char> s = text.Span;
        for (int i = 0; i < s.Length; i++)
            if (s[i] == replacement) matches.Add((i, i + 1));
        Splitting.Split(whole, matches, SplitBehavior.MergedWithNext, invert: false, output);
    }
}
