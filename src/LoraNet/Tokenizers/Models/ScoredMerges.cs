namespace LoraNet.Tokenizers;

/// <summary>
/// Merge rules for vocabularies that give entries a priority instead of listing pairs (SentencePiece BPE, tiktoken, llama2.c): any two neighbours
/// whose joint spelling is an entry may merge, best priority first, the leftmost among equals.
/// </summary>
internal static class ScoredMerges
{
    /// <param name="vocabulary">All entries.</param>
    /// <param name="mergeable">Entries that merging may produce, with their ranks: lower is earlier, equal is allowed.</param>
    /// <param name="phantoms">Receives characters that are no entries but that entries are built from, with ids from the vocabulary's size on; null if there can be none.</param>
    public static BpeMerges Build(Vocabulary vocabulary, IReadOnlyDictionary<string, int> mergeable, Dictionary<string, int>? phantoms)
    {
        var merges = new BpeMerges(mergeable.Count * 2);
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>>? bySpan = phantoms?.GetAlternateLookup<ReadOnlySpan<char>>();
        if (phantoms is not null)
        {
            foreach (string piece in mergeable.Keys)
            {
                for (int i = 0; i < piece.Length;)
                {
                    int units = char.IsHighSurrogate(piece[i]) && i + 1 < piece.Length ? 2 : 1;
                    ReadOnlySpan<char> c = piece.AsSpan(i, units);
                    if (!IsSymbol(c, out _)) phantoms[c.ToString()] = vocabulary.Size + phantoms.Count;
                    i += units;
                }
            }
        }
        foreach ((string piece, int rank) in mergeable)
        {
            int id = vocabulary.IdOf(piece)!.Value;
            for (int i = 1; i < piece.Length; i++)
            {
                if (char.IsLowSurrogate(piece[i])) continue;
                if (IsSymbol(piece.AsSpan(0, i), out int left) && IsSymbol(piece.AsSpan(i), out int right)) merges.Set(left, right, rank, id);
            }
        }
        return merges;

        // Only mergeable entries count: text that spells a control piece or a byte piece is not that piece.
        bool IsSymbol(ReadOnlySpan<char> s, out int id)
        {
            if (vocabulary.TryGetId(s, out id) && mergeable.ContainsKey(vocabulary.TokenOf(id)!)) return true;
            return bySpan is { } lookup && lookup.TryGetValue(s, out id);
        }
    }
}
