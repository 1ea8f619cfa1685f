namespace LoraNet.Tokenizers;

/// <summary>Builds the pipeline of a SentencePiece model (Kudo and Richardson 2018).</summary>
internal static class SentencePieceTokenizer
{
    /// <summary>The longest piece, in UTF-16 units; trainers make pieces of at most a few dozen characters.</summary>
    public const int MaxPieceLength = 256;

    /// <param name="file">The model.</param>
    /// <param name="source">The file, for error messages.</param>
    /// <param name="prefixEachPart">Whether the dummy prefix follows every special token in the text (transformers' "legacy") or only starts the text.</param>
    /// <param name="extra">Added tokens of the configuration.</param>
    public static TokenizerParts Build(SentencePieceFile file, string source, bool prefixEachPart, IReadOnlyList<AddedToken> extra)
    {
        var entries = new List<KeyValuePair<string, int>>(file.Pieces.Count);
        for (int i = 0; i < file.Pieces.Count; i++) entries.Add(new(file.Pieces[i].Text, i));
        var vocabulary = new Vocabulary(entries, source);
        int unknown = file.Pieces.FindIndex(p => p.Type == PieceType.Unknown);
        ITokenModel model = file.ModelType switch
        {
            1 => BuildUnigram(file, vocabulary, unknown),
            2 => BuildBpe(file, vocabulary, unknown),
            _ => throw new LoraNetException($"{source}: a SentencePiece model of type {file.ModelType} is not supported.", "Unigram (1) and BPE (2) models are."),
        };

        var added = new List<AddedToken>();
        var userDefined = new List<AddedToken>();
        for (int i = 0; i < file.Pieces.Count; i++)
        {
            ScoredPiece p = file.Pieces[i];
            if (p.Type is PieceType.Control or PieceType.Unknown) added.Add(new AddedToken(p.Text, i, Special: true));
            else if (p.Type == PieceType.UserDefined) userDefined.Add(new AddedToken(p.Text, i));
        }
        added.AddRange(extra);
        var decoders = new List<ITokenDecoder> { new ReplaceDecoder(SplitPattern.Literal("\u2581"), " "), new ByteFallbackDecoder(), new FuseDecoder() };
        if (file.AddDummyPrefix) decoders.Add(new StripDecoder(" ", 1, 0));
        return new TokenizerParts(model, new AddedTokens(added, null))
        {
            Normalizer = new SentencePieceNormalizer(file, prefixEachPart),
            PreTokenizer = file.ModelType == 2 && userDefined.Count > 0 ? new FixedTokenPreTokenizer(userDefined) : null,
            Decoder = new SequenceDecoder(decoders),
        };
    }

    private static BpeModel BuildBpe(SentencePieceFile file, Vocabulary vocabulary, int unknown)
    {
        var ranks = new Dictionary<float, int>();
        foreach (float score in file.Pieces.Where(IsText).Select(p => p.Score).Distinct().OrderDescending()) ranks[score] = ranks.Count;
        var mergeable = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (ScoredPiece p in file.Pieces)
            if (IsText(p)) mergeable[p.Text] = ranks[p.Score];
        var phantoms = new Dictionary<string, int>(StringComparer.Ordinal);
        BpeMerges merges = ScoredMerges.Build(vocabulary, mergeable, phantoms);
        var options = new BpeOptions
        {
            ByteFallback = file.ByteFallback,
            FuseUnknown = true,
            UnknownToken = unknown < 0 ? null : file.Pieces[unknown].Text,
        };
        return new BpeModel(vocabulary, merges, options, phantoms.Count == 0 ? null : phantoms);
    }

    private static UnigramModel BuildUnigram(SentencePieceFile file, Vocabulary vocabulary, int unknown)
    {
        double[] scores = file.Pieces.Select(p => (double)p.Score).ToArray();
        double lowest = double.PositiveInfinity;
        double highest = double.NegativeInfinity;
        foreach (ScoredPiece p in file.Pieces)
        {
            if (p.Type != PieceType.Normal) continue;
            lowest = Math.Min(lowest, p.Score);
            highest = Math.Max(highest, p.Score);
        }
        if (!double.IsFinite(lowest)) lowest = highest = 0;
        for (int i = 0; i < scores.Length; i++)
        {
            // A user's piece must beat any other way to cover the same characters.
            if (file.Pieces[i].Type == PieceType.UserDefined) scores[i] = System.Text.Encoding.UTF8.GetByteCount(file.Pieces[i].Text) * highest - 0.1;
        }
        return new UnigramModel(vocabulary, scores, unknown, file.ByteFallback, id => file.Pieces[id].Type is PieceType.Normal or PieceType.UserDefined, lowest, single: true);
    }

    private static bool IsText(ScoredPiece p) => p.Type is PieceType.Normal or PieceType.UserDefined or PieceType.Unused;
}

/// <summary>SentencePiece's own normalization: its character map, white space rules, the dummy prefix, and "▁" for spaces.</summary>
internal sealed class SentencePieceNormalizer(SentencePieceFile file, bool prefixEachPart) : ITextNormalizer
{
    private readonly PrecompiledNormalizer _map = new(file.CharsMap, wholeGraphemes: false);

    public TextBuffer Normalize(TextBuffer text)
    {
        if (text.Length == 0) return text;
        bool first = text.OriginalStart(0) == 0;
        TextBuffer mapped = _map.Normalize(text);
        ReadOnlySpan<char> s = mapped.Span;
        char space = file.EscapeWhitespace ? '\u2581' : ' ';
        int start = 0;
        int end = s.Length;
        if (file.RemoveExtraWhitespace)
        {
            while (start < end && s[start] == ' ') start++;
            // At the end also a "▁" that the text itself holds, as it can't be told from a space there.
            while (end > start && (s[end - 1] == ' ' || s[end - 1] == space)) end--;
        }
        var b = new TextBuilder(end - start + 1, text.Tracks);
        if (start < end && file.AddDummyPrefix && (first || prefixEachPart)) b.Add(space, mapped.OriginalStart(start), mapped.OriginalEnd(start));
        for (int i = start; i < end; i++)
        {
            if (s[i] == ' ' && file.RemoveExtraWhitespace && i > start && s[i - 1] == ' ') continue;
            TokenSpan span = mapped.Original(i, i + 1);
            b.Add(s[i] == ' ' ? space : s[i], span.Start, span.End);
        }
        return b.Build();
    }
}

/// <summary>Takes out tokens that are kept whole, after normalization.</summary>
internal sealed class FixedTokenPreTokenizer(IReadOnlyList<AddedToken> tokens) : IPreTokenizer
{
    private readonly AddedTokens.Finder _finder = new(tokens.Select(t => (t.Content, t)).ToList());

    public void Apply(PieceList pieces) => pieces.Transform(_finder, static (finder, piece, output) => finder.Split(piece, output));
}
