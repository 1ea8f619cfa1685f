using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>Splits at characters that satisfy a predicate.</summary>
internal sealed class RunePreTokenizer(Func<int, bool> delimiter, SplitBehavior behavior) : IPreTokenizer
{
    /// <summary>Words between white space.</summary>
    public static RunePreTokenizer WhitespaceSplit { get; } = new(CharClass.IsSpace, SplitBehavior.Removed);

    /// <summary>BERT's: words between white space, every punctuation mark alone.</summary>
    public static IPreTokenizer Bert { get; } = new SequencePreTokenizer([WhitespaceSplit, new RunePreTokenizer(CharClass.IsPunctuation, SplitBehavior.Isolated)]);

    public void Apply(PieceList pieces) => pieces.Transform(this, static (self, piece, output) => self.Split(piece, output));

    private void Split(Piece piece, List<Piece> output)
    {
        List<(int Start, int End)> matches = Splitting.Matches;
        Splitting.FindRunes(piece.Span, delimiter, matches);
        Splitting.Split(piece, matches, behavior, invert: false, output);
    }
}

/// <summary>Runs of word characters and runs of anything else that is not white space: \w+|[^\w\s]+.</summary>
internal sealed class WhitespacePreTokenizer : IPreTokenizer
{
    public void Apply(PieceList pieces) => pieces.Transform(0, static (_, piece, output) =>
    {
        ReadOnlySpan<char> text = piece.Span;
        int start = 0;
        int kind = -1;
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            int now = CharClass.IsWord(rune.Value) ? 1 : CharClass.IsSpace(rune.Value) ? 0 : 2;
            if (now != kind)
            {
                if (kind > 0) output.Add(new Piece(piece.Buffer, piece.Start + start, i - start));
                start = i;
                kind = now;
            }
            i += units;
        }
        if (kind > 0) output.Add(new Piece(piece.Buffer, piece.Start + start, text.Length - start));
    });
}

/// <summary>Pieces of a fixed number of characters.</summary>
internal sealed class FixedLengthPreTokenizer(int length) : IPreTokenizer
{
    public void Apply(PieceList pieces) => pieces.Transform(length, static (length, piece, output) =>
    {
        ReadOnlySpan<char> text = piece.Span;
        int start = 0;
        int count = 0;
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out _, out int units);
            i += units;
            if (++count < length && i < text.Length) continue;
            output.Add(new Piece(piece.Buffer, piece.Start + start, i - start));
            start = i;
            count = 0;
        }
    });
}
