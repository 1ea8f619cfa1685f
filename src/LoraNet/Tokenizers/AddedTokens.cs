using System.Buffers;
using System.Globalization;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>A token that is found in the text before the model sees it.</summary>
/// <param name="Content">Its spelling.</param>
/// <param name="Id">Its id.</param>
/// <param name="Special">Whether decoding may leave it out.</param>
/// <param name="Normalized">Whether it is looked for in the normalized text, in its own normalized spelling.</param>
/// <param name="SingleWord">Whether it counts only where no word character touches it.</param>
/// <param name="LeftStrip">Whether it swallows white space on its left.</param>
/// <param name="RightStrip">Whether it swallows white space on its right.</param>
internal sealed record AddedToken(string Content, int Id, bool Special = false, bool Normalized = false, bool SingleWord = false, bool LeftStrip = false, bool RightStrip = false);

/// <summary>All added tokens of a tokenizer, ready to be searched for: leftmost first, the longest at one place.</summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<int, AddedToken> _byId = [];
    private readonly Dictionary<string, int> _byContent = new(StringComparer.Ordinal);
    private readonly Finder? _raw;
    private readonly Finder? _normalized;

    public AddedTokens(IReadOnlyList<AddedToken> tokens, ITextNormalizer? normalizer)
    {
        var raw = new List<(string, AddedToken)>();
        var normalized = new List<(string, AddedToken)>();
        foreach (AddedToken t in tokens)
        {
            if (t.Content.Length == 0) continue;
            _byId[t.Id] = t;
            _byContent[t.Content] = t.Id;
        }
        foreach (AddedToken t in _byId.Values)
        {
            if (!t.Normalized)
            {
                raw.Add((t.Content, t));
                continue;
            }
            string content = normalizer is null ? t.Content : normalizer.Normalize(new TextBuffer(t.Content.AsMemory())).Span.ToString();
            if (content.Length > 0) normalized.Add((content, t));
        }
        _raw = raw.Count == 0 ? null : new Finder(raw);
        _normalized = normalized.Count == 0 ? null : new Finder(normalized);
        SpecialIds = _byId.Values.Where(t => t.Special).Select(t => t.Id).ToHashSet();
    }

    public IReadOnlySet<int> SpecialIds { get; }

    public IReadOnlyCollection<AddedToken> All => _byId.Values;

    public int MaxId => _byId.Count == 0 ? -1 : _byId.Keys.Max();

    public string? TokenOf(int id) => _byId.TryGetValue(id, out AddedToken? t) ? t.Content : null;

    public int? IdOf(string token) => _byContent.TryGetValue(token, out int id) ? id : null;

    /// <summary>Cuts the text at the added tokens and normalizes what lies between them.</summary>
    public void Extract(TextBuffer text, ITextNormalizer? normalizer, PieceList pieces)
    {
        pieces.Add(new Piece(text, 0, text.Length));
        if (_raw is not null) pieces.Transform(_raw, static (finder, piece, output) => finder.Split(piece, output));
        if (normalizer is not null)
        {
            pieces.Transform(normalizer, static (normalizer, piece, output) =>
            {
                TextBuffer changed = normalizer.Normalize(piece.Buffer.Slice(piece.Start, piece.Length));
                if (changed.Length > 0) output.Add(new Piece(changed, 0, changed.Length));
            });
        }
        if (_normalized is not null) pieces.Transform(_normalized, static (finder, piece, output) => finder.Split(piece, output));
    }

    /// <summary>Finds any of several strings.</summary>
    internal sealed class Finder
    {
        private readonly SearchValues<string> _any;
        private readonly Dictionary<char, (string Text, AddedToken Token)[]> _byFirst;

        public Finder(List<(string Text, AddedToken Token)> tokens)
        {
            _any = SearchValues.Create(tokens.Select(t => t.Text).ToArray(), StringComparison.Ordinal);
            _byFirst = tokens.GroupBy(t => t.Text[0]).ToDictionary(g => g.Key, g => g.OrderByDescending(t => t.Text.Length).ToArray());
        }

        public void Split(Piece piece, List<Piece> output)
        {
            ReadOnlySpan<char> text = piece.Span;
            int from = 0;   // where the part before the next token starts
            int search = 0; // where to look on
            while (search < text.Length && text[search..].IndexOfAny(_any) is >= 0 and int i)
            {
                int start = search + i;
                AddedToken? token = null;
                int end = start;
                foreach ((string s, AddedToken t) in _byFirst[text[start]])
                {
                    if (!text[start..].StartsWith(s, StringComparison.Ordinal)) continue;
                    token = t;
                    end = start + s.Length;
                    break;
                }
                search = end;
                if (token!.SingleWord && (EndsWithWord(text[..start]) || StartsWithWord(text[end..]))) continue;
                if (token.LeftStrip)
                {
                    while (start > from && CharClass.IsSpace(text[start - 1])) start--;
                }
                if (token.RightStrip)
                {
                    while (end < text.Length && CharClass.IsSpace(text[end])) end++;
                }
                if (start > from) output.Add(new Piece(piece.Buffer, piece.Start + from, start - from));
                output.Add(new Piece(piece.Buffer, piece.Start + start, end - start, token.Id));
                from = end;
                search = Math.Max(search, end);
            }
            if (from < text.Length) output.Add(new Piece(piece.Buffer, piece.Start + from, text.Length - from));
        }

        private static bool EndsWithWord(ReadOnlySpan<char> s) =>
            Rune.DecodeLastFromUtf16(s, out Rune rune, out _) == OperationStatus.Done && CharClass.IsWord(rune.Value);

        private static bool StartsWithWord(ReadOnlySpan<char> s) =>
            Rune.DecodeFromUtf16(s, out Rune rune, out _) == OperationStatus.Done && CharClass.IsWord(rune.Value);
    }
}
