using System.Collections.Frozen;

namespace LoraNet.Tokenizers;

/// <summary>
/// A tokenizer read from the files of a model: added tokens, normalizer, pre-tokenizer, model, post-processor and decoder in a row,
/// as Hugging Face's tokenizer.json describes them. Other file formats are read into the same parts. Immutable and thread-safe.
/// </summary>
public sealed class Tokenizer : ITokenizer
{
    [ThreadStatic]
    private static TokenSink? t_sink;

    [ThreadStatic]
    private static PieceList? t_pieces;

    private readonly TokenizerParts _parts;
    private readonly SpecialTokens _special;

    internal Tokenizer(TokenizerParts parts, SpecialTokens special, IReadOnlyList<string> sourceFiles)
    {
        _parts = parts;
        _special = special;
        SourceFiles = sourceFiles;
        VocabularySize = Math.Max(parts.Model.Vocabulary.Size, parts.Added.MaxId + 1);
        SpecialIds = parts.Added.SpecialIds.ToFrozenSet();
    }

    /// <summary>
    /// Loads a tokenizer. A directory is searched for tokenizer.json, tokenizer.model (SentencePiece or tiktoken), *.tiktoken,
    /// vocab.json with merges.txt, vocab.txt, and tok*.bin (llama2.c), in this order; a file is read as what its content shows it to be.
    /// tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json and chat_template.jinja beside it are used where present.
    /// </summary>
    /// <param name="path">A tokenizer file or a model directory.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="LoraNetException">Nothing is there, or a file can't be understood.</exception>
    public static Tokenizer Load(string path) => TokenizerLoader.Load(path);

    /// <summary>
    /// Loads a tiktoken vocabulary with a split pattern and special tokens of your own, for models whose family <see cref="Load"/> can't tell.
    /// </summary>
    /// <param name="path">The file: a line for each token, base64 and rank.</param>
    /// <param name="pattern">The regular expression that cuts the text into words.</param>
    /// <param name="specialTokens">Special tokens and their ids.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="LoraNetException">The file or the pattern can't be understood.</exception>
    public static Tokenizer LoadTiktoken(string path, string pattern, IReadOnlyDictionary<string, int> specialTokens)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(pattern);
        ArgumentNullException.ThrowIfNull(specialTokens);
        if (!File.Exists(path)) throw new LoraNetException($"{path}: no such file.", "Name a tiktoken vocabulary.");
        return TokenizerLoader.LoadTiktoken(path, pattern, specialTokens);
    }

    /// <inheritdoc/>
    public int VocabularySize { get; }

    /// <inheritdoc/>
    public IReadOnlySet<int> SpecialIds { get; }

    /// <inheritdoc/>
    public int? BosId => _special.Bos;

    /// <inheritdoc/>
    public int? EosId => _special.EndIds.Count > 0 ? _special.EndIds[0] : null;

    /// <inheritdoc/>
    public int? PadId => _special.Pad;

    /// <summary>All ids that end generation: the tokenizer's end token first, then others that generation_config.json names.</summary>
    public IReadOnlyList<int> EndIds => _special.EndIds;

    /// <summary>The Jinja template that lays out a conversation, or null if the model has none.</summary>
    public string? ChatTemplate => _special.ChatTemplates.GetValueOrDefault("default");

    /// <summary>All chat templates by name; the usual one is called "default".</summary>
    public IReadOnlyDictionary<string, string> ChatTemplates => _special.ChatTemplates;

    /// <summary>The largest number of tokens the model was made for, as tokenizer_config.json says, or null.</summary>
    public int? MaxLength => _special.MaxLength;

    /// <summary>
    /// The truncation that tokenizer.json asks for, or null. Encoding does not apply it, as training must not lose text silently
    /// (Hugging Face's transformers switches it off too); see <see cref="Truncate"/>.
    /// </summary>
    public TokenizerTruncation? Truncation => _parts.Truncation;

    /// <summary>The files this tokenizer was read from: what to copy beside an adapter so that others can load it.</summary>
    public IReadOnlyList<string> SourceFiles { get; }

    /// <summary>The number of ids that encoding one text adds around it.</summary>
    public int AddedTokenCount => _parts.Post.AddedCount(pair: false);

    /// <inheritdoc/>
    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        TokenSink sink = Run(text, withSpans: false);
        return addSpecialTokens ? Assemble(sink.Ids, [], _parts.Post.Single) : sink.Ids.ToArray();
    }

    /// <inheritdoc/>
    public int[] Encode(string text, out TokenSpan[] spans, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        TokenSink sink = Run(text, withSpans: true);
        if (_parts.Post.TrimOffsets) TrimSpans(text, sink);
        if (!addSpecialTokens)
        {
            spans = sink.Spans.ToArray();
            return sink.Ids.ToArray();
        }
        spans = Assemble<TokenSpan>(sink.Spans, [], _parts.Post.Single, static _ => default);
        return Assemble(sink.Ids, [], _parts.Post.Single);
    }

    /// <summary>
    /// Encodes without added tokens, with the whole range of each token: white space at its ends counts, which
    /// <see cref="Encode(string, out TokenSpan[], bool)"/> leaves out where tokenizer.json asks for it.
    /// </summary>
    internal int[] EncodeWithWholeSpans(string text, out TokenSpan[] spans)
    {
        TokenSink sink = Run(text, withSpans: true);
        spans = sink.Spans.ToArray();
        return sink.Ids.ToArray();
    }

    /// <summary>Encodes two texts that belong together, e.g. premise and hypothesis, with the marks the model expects between them.</summary>
    /// <param name="first">The first text.</param>
    /// <param name="second">The second text.</param>
    /// <param name="typeIds">For each id 0 or 1: which segment it belongs to.</param>
    /// <param name="addSpecialTokens">Whether to add the marks.</param>
    /// <returns>The token ids.</returns>
    public int[] EncodePair(string first, string second, out int[] typeIds, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        int[] a = Run(first, withSpans: false).Ids.ToArray();
        ReadOnlySpan<int> b = Run(second, withSpans: false).Ids;
        IReadOnlyList<TemplatePart> parts = addSpecialTokens ? _parts.Post.Pair : PostProcessing.None.Pair;
        int[] ids = Assemble(a, b, parts);
        typeIds = new int[ids.Length];
        int at = 0;
        foreach (TemplatePart p in parts)
        {
            int n = p.Ids?.Length ?? (p.Sequence == 0 ? a.Length : b.Length);
            typeIds.AsSpan(at, n).Fill(p.TypeId);
            at += n;
        }
        return ids;
    }

    /// <summary>Encodes many texts, using several threads.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="addSpecialTokens">As in <see cref="Encode(string, bool)"/>.</param>
    /// <param name="maxThreads">The most threads to use; 0 for as many as the machine has processors.</param>
    /// <returns>The ids of each text, in order.</returns>
    public int[][] EncodeBatch(IReadOnlyList<string> texts, bool addSpecialTokens = true, int maxThreads = 0)
    {
        ArgumentNullException.ThrowIfNull(texts);
        var result = new int[texts.Count][];
        var options = new ParallelOptions { MaxDegreeOfParallelism = maxThreads > 0 ? maxThreads : Environment.ProcessorCount };
        Parallel.For(0, texts.Count, options, i => result[i] = Encode(texts[i], addSpecialTokens));
        return result;
    }

    /// <summary>Shortens an encoded text to a length that includes the added tokens, which stay.</summary>
    /// <param name="ids">What <see cref="Encode(string, bool)"/> gave for one text with special tokens.</param>
    /// <param name="truncation">The length and the side to cut.</param>
    /// <returns>The same ids if they fit.</returns>
    public int[] Truncate(int[] ids, TokenizerTruncation truncation)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(truncation);
        if (ids.Length <= truncation.MaxLength) return ids;
        int before = 0;
        foreach (TemplatePart p in _parts.Post.Single)
        {
            if (p.Ids is null) break;
            before += p.Ids.Length;
        }
        int added = AddedTokenCount;
        int after = added - before;
        int keep = Math.Max(0, truncation.MaxLength - added);
        int skip = truncation.FromLeft ? ids.Length - added - keep : 0;
        int[] result = new int[before + keep + after];
        ids.AsSpan(0, before).CopyTo(result);
        ids.AsSpan(before + skip, keep).CopyTo(result.AsSpan(before));
        ids.AsSpan(ids.Length - after).CopyTo(result.AsSpan(before + keep));
        return result;
    }

    /// <inheritdoc/>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        var tokens = new List<string>(ids.Length);
        foreach (int id in ids)
        {
            if (skipSpecialTokens && SpecialIds.Contains(id)) continue;
            if (TokenOf(id) is { } token) tokens.Add(token);
        }
        if (_parts.Decoder is null) return string.Join(' ', tokens);
        return string.Concat(_parts.Decoder.Decode(tokens));
    }

    /// <inheritdoc/>
    public IncrementalDecoder CreateDecoder(bool skipSpecialTokens = true) => new(this, skipSpecialTokens);

    /// <inheritdoc/>
    public string? TokenOf(int id) => _parts.Added.TokenOf(id) ?? _parts.Model.Vocabulary.TokenOf(id);

    /// <inheritdoc/>
    public int? IdOf(string token) => _parts.Added.IdOf(token) ?? _parts.Model.Vocabulary.IdOf(token);

    /// <summary>Everything up to the post-processor.</summary>
    private TokenSink Run(string text, bool withSpans)
    {
        TokenSink sink = t_sink ??= new TokenSink();
        PieceList pieces = t_pieces ??= new PieceList();
        sink.Reset(withSpans);
        pieces.Clear();
        if (text.Length == 0) return sink;
        bool tracks = withSpans || _parts.NeedsOrigins;
        _parts.Added.Extract(new TextBuffer(WithoutLoneSurrogates(text).AsMemory(), 0, tracks), _parts.Normalizer, pieces);
        _parts.PreTokenizer?.Apply(pieces);
        ITokenModel model = _parts.Model;
        foreach (Piece p in pieces.Items)
        {
            if (p.TokenId >= 0) sink.Add(p.TokenId, p.Buffer, p.Start, p.End);
            else model.Tokenize(p.Buffer, p.Start, p.Length, sink);
        }
        pieces.Clear();
        return sink;
    }

    private static int[] Assemble(ReadOnlySpan<int> a, ReadOnlySpan<int> b, IReadOnlyList<TemplatePart> parts) => Assemble(a, b, parts, static id => id);

    private static T[] Assemble<T>(ReadOnlySpan<T> a, ReadOnlySpan<T> b, IReadOnlyList<TemplatePart> parts, Func<int, T> added)
    {
        int size = 0;
        foreach (TemplatePart p in parts) size += p.Ids?.Length ?? (p.Sequence == 0 ? a.Length : b.Length);
        var result = new T[size];
        int at = 0;
        foreach (TemplatePart p in parts)
        {
            if (p.Ids is not null)
            {
                foreach (int id in p.Ids) result[at++] = added(id);
                continue;
            }
            ReadOnlySpan<T> s = p.Sequence == 0 ? a : b;
            s.CopyTo(result.AsSpan(at));
            at += s.Length;
        }
        return result;
    }

    /// <summary>Leaves the white space at the ends of a token out of its range.</summary>
    private void TrimSpans(string text, TokenSink sink)
    {
        ReadOnlySpan<int> ids = sink.Ids;
        Span<TokenSpan> spans = sink.Spans;
        for (int i = 0; i < spans.Length; i++)
        {
            TokenSpan s = spans[i];
            if (TokenOf(ids[i]) is not { } token) continue;
            int leading = 0;
            int trailing = 0;
            while (leading < token.Length && IsSpelledSpace(token[leading])) leading++;
            while (trailing < token.Length && IsSpelledSpace(token[^(trailing + 1)])) trailing++;
            if (leading == 1 && _parts.Post.AddPrefixSpace && (i == 0 || s.Start == 0)) leading = 0;
            int start = s.Start;
            int end = s.End;
            for (; leading > 0 && start < end; leading--) start += char.IsHighSurrogate(text[start]) && start + 1 < end ? 2 : 1;
            for (; trailing > 0 && end > start; trailing--) end -= char.IsLowSurrogate(text[end - 1]) && end - 1 > start ? 2 : 1;
            spans[i] = new TokenSpan(start, end);
        }

        static bool IsSpelledSpace(char c) => c == 'Ġ' || CharClass.IsSpace(c);
    }

    /// <summary>Text as UTF-8 can hold it: half a surrogate pair becomes U+FFFD, of the same length.</summary>
    private static string WithoutLoneSurrogates(string text)
    {
        int from = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        if (from < 0) return text;
        char[]? copy = null;
        for (int i = from; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i])) continue;
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
                continue;
            }
            copy ??= text.ToCharArray();
            copy[i] = '\uFFFD';
        }
        return copy is null ? text : new string(copy);
    }
}

/// <summary>How long an encoded text may be, and which end is cut.</summary>
/// <param name="MaxLength">The largest number of ids, added tokens included.</param>
/// <param name="FromLeft">Whether the start of the text is cut rather than its end.</param>
public sealed record TokenizerTruncation(int MaxLength, bool FromLeft = false);

/// <summary>The steps of a tokenizer.</summary>
internal sealed record TokenizerParts(ITokenModel Model, AddedTokens Added)
{
    public ITextNormalizer? Normalizer { get; init; }

    public IPreTokenizer? PreTokenizer { get; init; }

    public PostProcessing Post { get; init; } = PostProcessing.None;

    public ITokenDecoder? Decoder { get; init; }

    public TokenizerTruncation? Truncation { get; init; }

    /// <summary>Whether a step asks where its text came from, so that origins must be kept even when the caller does not want ranges.</summary>
    public bool NeedsOrigins => PreTokenizer?.NeedsOrigins ?? false;
}

/// <summary>The roles of tokens and the chat templates, as the configuration files give them.</summary>
internal sealed record SpecialTokens
{
    public int? Bos { get; init; }

    public IReadOnlyList<int> EndIds { get; init; } = [];

    public int? Pad { get; init; }

    public int? MaxLength { get; init; }

    public IReadOnlyDictionary<string, string> ChatTemplates { get; init; } = new Dictionary<string, string>();
}
