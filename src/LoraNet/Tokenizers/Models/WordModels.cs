namespace LoraNet.Tokenizers;

/// <summary>
/// WordPiece (Schuster and Nakajima 2012, as in BERT): the longest entry that starts the word, then the longest continuation, and so on;
/// a word that can't be covered becomes one unknown token.
/// </summary>
internal sealed class WordPieceModel(Vocabulary vocabulary, int unknownId, string prefix, int maxCharacters) : ITokenModel
{
    private readonly int _longest = vocabulary.Entries.Select(e => e.Key.Length).DefaultIfEmpty().Max();

    public Vocabulary Vocabulary => vocabulary;

    public void Tokenize(TextBuffer buffer, int start, int length, TokenSink sink)
    {
        ReadOnlySpan<char> word = buffer.Span.Slice(start, length);
        int before = sink.Count;
        if (Characters(word) <= maxCharacters && TryCover(buffer, start, word, sink)) return;
        sink.Slice(0, before);
        sink.Add(unknownId, buffer, start, start + length);
    }

    private bool TryCover(TextBuffer buffer, int start, ReadOnlySpan<char> word, TokenSink sink)
    {
        int size = prefix.Length + word.Length;
        Span<char> candidate = size <= 512 ? stackalloc char[512] : new char[size];
        prefix.CopyTo(candidate);
        for (int at = 0; at < word.Length;)
        {
            int end = Math.Min(word.Length, at + _longest);
            if (end < word.Length && char.IsLowSurrogate(word[end])) end--;
            int id = -1;
            while (end > at)
            {
                scoped ReadOnlySpan<char> part = word[at..end];
                if (at > 0)
                {
                    part.CopyTo(candidate[prefix.Length..]);
                    part = candidate[..(prefix.Length + part.Length)];
                }
                if (vocabulary.TryGetId(part, out id)) break;
                id = -1;
                end -= end - at >= 2 && char.IsLowSurrogate(word[end - 1]) ? 2 : 1;
            }
            if (id < 0) return false;
            sink.Add(id, buffer, start + at, start + end);
            at = end;
        }
        return true;
    }

    private static int Characters(ReadOnlySpan<char> word)
    {
        int n = word.Length;
        foreach (char c in word)
            if (char.IsLowSurrogate(c)) n--;
        return n;
    }
}

/// <summary>Whole words only; others become the unknown token, or nothing if there is none.</summary>
internal sealed class WordLevelModel(Vocabulary vocabulary, int unknownId) : ITokenModel
{
    public Vocabulary Vocabulary => vocabulary;

    public void Tokenize(TextBuffer buffer, int start, int length, TokenSink sink)
    {
        if (vocabulary.TryGetId(buffer.Span.Slice(start, length), out int id)) sink.Add(id, buffer, start, start + length);
        else if (unknownId >= 0) sink.Add(unknownId, buffer, start, start + length);
    }
}
