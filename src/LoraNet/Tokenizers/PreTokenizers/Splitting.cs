using System.Runtime.InteropServices;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>What becomes of the delimiters that a split finds; names follow tokenizer.json.</summary>
internal enum SplitBehavior
{
    /// <summary>Delimiters are dropped.</summary>
    Removed,

    /// <summary>Each delimiter is a piece of its own.</summary>
    Isolated,

    /// <summary>A delimiter ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>A delimiter starts the piece after it.</summary>
    MergedWithNext,

    /// <summary>Neighbouring delimiters form one piece.</summary>
    Contiguous,
}

/// <summary>Cuts a piece at the delimiters found in it.</summary>
internal static class Splitting
{
    [ThreadStatic]
    private static List<(int Start, int End)>? t_matches;

    [ThreadStatic]
    private static List<Part>? t_parts;

    private struct Part(int start, int end, bool match)
    {
        public int Start = start;
        public int End = end;
        public readonly bool Match = match;
    }

    /// <summary>A per-thread list for matches.</summary>
    public static List<(int Start, int End)> Matches => t_matches ??= [];

    /// <summary>Finds the characters for which the predicate holds, each a delimiter of its own.</summary>
    public static void FindRunes(ReadOnlySpan<char> text, Func<int, bool> predicate, List<(int Start, int End)> matches)
    {
        matches.Clear();
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            if (predicate(rune.Value)) matches.Add((i, i + units));
            i += units;
        }
    }

    /// <summary>Adds the parts of a piece to the output; the delimiters are relative to the piece, in order, not overlapping.</summary>
    public static void Split(in Piece piece, List<(int Start, int End)> matches, SplitBehavior behavior, bool invert, List<Piece> output)
    {
        List<Part> parts = t_parts ??= [];
        parts.Clear();
        int from = 0;
        foreach ((int start, int end) in matches)
        {
            if (start > from) parts.Add(new Part(from, start, invert));
            parts.Add(new Part(start, end, !invert));
            from = end;
        }
        if (from < piece.Length) parts.Add(new Part(from, piece.Length, invert));

        Span<Part> items = CollectionsMarshal.AsSpan(parts);
        int count = behavior switch
        {
            SplitBehavior.Contiguous => Contiguous(items),
            SplitBehavior.MergedWithPrevious => WithPrevious(items),
            SplitBehavior.MergedWithNext => WithNext(items),
            _ => items.Length,
        };
        foreach (Part p in items[..count])
        {
            if (p.End > p.Start && !(behavior == SplitBehavior.Removed && p.Match))
                output.Add(new Piece(piece.Buffer, piece.Start + p.Start, p.End - p.Start));
        }
    }

    private static int Contiguous(Span<Part> items)
    {
        int n = 0;
        foreach (Part p in items)
        {
            if (n > 0 && items[n - 1].Match == p.Match) items[n - 1].End = p.End;
            else items[n++] = p;
        }
        return n;
    }

    private static int WithPrevious(Span<Part> items)
    {
        int n = 0;
        bool previous = false;
        foreach (Part p in items)
        {
            if (p.Match && !previous && n > 0) items[n - 1].End = p.End;
            else items[n++] = p;
            previous = p.Match;
        }
        return n;
    }

    private static int WithNext(Span<Part> items)
    {
        // Runs backwards and fills from the end, then moves the result to the front.
        int at = items.Length;
        bool previous = false;
        for (int i = items.Length - 1; i >= 0; i--)
        {
            Part p = items[i];
            if (p.Match && !previous && at < items.Length) items[at].Start = p.Start;
            else items[--at] = p;
            previous = p.Match;
        }
        items[at..].CopyTo(items);
        return items.Length - at;
    }
}
