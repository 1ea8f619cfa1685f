namespace LoraNet.Tokenizers;

/// <summary>
/// GPT-2's pre-tokenizer: splits by its pattern and spells the words in the byte alphabet. The spelling is left to the model when that is a
/// byte-level <see cref="BpeModel"/>.
/// </summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool useRegex, bool spell) : IPreTokenizer
{
    private static readonly SplitScanner s_scanner = SplitScanner.For(SplitScanner.Gpt2Pattern)!;
    private static readonly ByteLevelNormalizer s_speller = new();

    public void Apply(PieceList pieces)
    {
        if (addPrefixSpace || useRegex) pieces.Transform(this, static (self, piece, output) => self.Split(piece, output));
        if (spell)
        {
            pieces.Transform(0, static (_, piece, output) =>
            {
                TextBuffer spelled = s_speller.Normalize(piece.Buffer.Slice(piece.Start, piece.Length));
                output.Add(new Piece(spelled, 0, spelled.Length));
            });
        }
    }

    private void Split(Piece piece, List<Piece> output)
    {
        if (addPrefixSpace && piece.Span[0] != ' ')
        {
            TextBuffer longer = PrependNormalizer.Prepend(piece.Buffer, piece.Start, piece.Length, " ");
            piece = new Piece(longer, 0, longer.Length);
        }
        if (useRegex) ScannerSplit.Split(s_scanner, piece, output);
        else output.Add(piece);
    }
}

/// <summary>Splits by a scanner, whose matches leave no gaps.</summary>
internal static class ScannerSplit
{
    public static void Split(SplitScanner scanner, in Piece piece, List<Piece> output)
    {
        ReadOnlySpan<char> text = piece.Span;
        for (int at = 0; at < text.Length;)
        {
            int end = scanner.Next(text, at);
            output.Add(new Piece(piece.Buffer, piece.Start + at, end - at));
            at = end;
        }
    }
}

/// <summary>Splits by a pattern.</summary>
internal sealed class SplitPreTokenizer(SplitPattern pattern, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    public void Apply(PieceList pieces) => pieces.Transform(this, static (self, piece, output) => self.Split(piece, output));

    private void Split(Piece piece, List<Piece> output)
    {
        // Without gaps every part is a match, and these two settings both keep each as a piece.
        if (pattern.Scanner is { } scanner && (behavior == SplitBehavior.Isolated || (behavior == SplitBehavior.Removed && invert)))
        {
            ScannerSplit.Split(scanner, piece, output);
            return;
        }
        List<(int Start, int End)> matches = Splitting.Matches;
        pattern.FindAll(piece.Span, matches);
        Splitting.Split(piece, matches, behavior, invert, output);
    }
}
