using System.Buffers;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// The unigram language model (Kudo 2018, "Subword Regularization"): the segmentation with the highest sum of scores, by dynamic programming
/// over the UTF-8 bytes. A character that no entry covers costs the lowest score less 10.
/// </summary>
internal sealed class UnigramModel : ITokenModel
{
    private const double UnknownPenalty = 10;

    private readonly double[] _scores;
    private readonly ByteTrie _trie;
    private readonly int _unknownId;
    private readonly double _unknownScore;
    private readonly int[]? _byteIds;
    private readonly bool _single;

    /// <param name="vocabulary">The entries.</param>
    /// <param name="scores">Log-probabilities by id.</param>
    /// <param name="unknownId">The unknown token, or -1.</param>
    /// <param name="byteFallback">Whether unknown characters become bytes.</param>
    /// <param name="matchable">Which ids may be found in text; null: all.</param>
    /// <param name="minScore">The lowest score, of which the unknown score is derived; null: that of all entries.</param>
    /// <param name="single">Whether sums are rounded to single precision, as sentencepiece does and tokenizers does not: it decides ties.</param>
    public UnigramModel(Vocabulary vocabulary, double[] scores, int unknownId, bool byteFallback, Func<int, bool>? matchable = null, double? minScore = null, bool single = false)
    {
        Vocabulary = vocabulary;
        _single = single;
        _scores = scores;
        _unknownId = unknownId;
        _trie = new ByteTrie();
        double lowest = double.PositiveInfinity;
        foreach ((string token, int id) in vocabulary.Entries)
        {
            if (matchable is null || matchable(id)) _trie.Add(Encoding.UTF8.GetBytes(token), id);
        }
        foreach (double s in scores) lowest = Math.Min(lowest, s);
        _unknownScore = (minScore ?? lowest) - UnknownPenalty;
        if (!byteFallback) return;
        int[] bytes = new int[256];
        for (int b = 0; b < 256; b++)
        {
            if (vocabulary.IdOf($"<0x{b:X2}>") is not int id) return;
            bytes[b] = id;
        }
        _byteIds = bytes;
    }

    public Vocabulary Vocabulary { get; }

    public void Tokenize(TextBuffer buffer, int start, int length, TokenSink sink)
    {
        ReadOnlySpan<char> text = buffer.Span.Slice(start, length);
        int size = Encoding.UTF8.GetByteCount(text);
        byte[] utf8 = ArrayPool<byte>.Shared.Rent(size);
        double[] best = ArrayPool<double>.Shared.Rent(size + 1);
        int[] from = ArrayPool<int>.Shared.Rent(size + 1);
        int[] ids = ArrayPool<int>.Shared.Rent(size + 1);
        int[] unitAt = ArrayPool<int>.Shared.Rent(size + 1);
        try
        {
            Encoding.UTF8.GetBytes(text, utf8);
            MapUnits(text, unitAt);
            FindBest(utf8.AsSpan(0, size), best, from, ids);
            EmitPath(buffer, start, utf8, size, from, ids, unitAt, sink);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(utf8);
            ArrayPool<double>.Shared.Return(best);
            ArrayPool<int>.Shared.Return(from);
            ArrayPool<int>.Shared.Return(ids);
            ArrayPool<int>.Shared.Return(unitAt);
        }
    }

    private static void MapUnits(ReadOnlySpan<char> text, int[] unitAt)
    {
        int b = 0;
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            unitAt[b] = i;
            b += rune.Utf8SequenceLength;
            i += units;
        }
        unitAt[b] = text.Length;
    }

    private void FindBest(ReadOnlySpan<byte> utf8, double[] best, int[] from, int[] ids)
    {
        int size = utf8.Length;
        from.AsSpan(0, size + 1).Fill(-1);
        best[0] = 0;
        for (int at = 0; at < size;)
        {
            double here = best[at];
            int character = CharacterLength(utf8[at]);
            bool single = false;
            int node = 0;
            for (int end = at; end < size;)
            {
                node = _trie.Step(node, utf8[end]);
                if (node < 0) break;
                end++;
                int id = _trie.ValueOf(node);
                if (id < 0) continue;
                double score = Sum(here, _scores[id]);
                if (from[end] < 0 || score > best[end])
                {
                    best[end] = score;
                    from[end] = at;
                    ids[end] = id;
                }
                single |= end - at == character;
            }
            int next = Math.Min(size, at + character);
            if (!single)
            {
                double score = Sum(here, _unknownScore);
                if (from[next] < 0 || score > best[next])
                {
                    best[next] = score;
                    from[next] = at;
                    ids[next] = _unknownId;
                }
            }
            at = next;
        }
    }

    private void EmitPath(TextBuffer buffer, int start, byte[] utf8, int size, int[] from, int[] ids, int[] unitAt, TokenSink sink)
    {
        // Turn the backward links into forward ones, then walk; neighbouring unknowns become one.
        for (int end = size, next = -1; ;)
        {
            int begin = from[end];
            from[end] = next;
            next = end;
            if (end == 0) break;
            end = begin;
        }
        for (int at = 0; at < size;)
        {
            int end = from[at];
            if (ids[end] != _unknownId)
            {
                sink.Add(ids[end], buffer, start + unitAt[at], start + unitAt[end]);
                at = end;
                continue;
            }
            while (end < size && ids[from[end]] == _unknownId) end = from[end];
            TokenSpan span = buffer.Original(start + unitAt[at], start + unitAt[end]);
            if (_byteIds is not null)
            {
                for (int i = at; i < end; i++) sink.Add(_byteIds[utf8[i]], span);
            }
            else if (_unknownId >= 0)
            {
                sink.Add(_unknownId, span);
            }
            at = end;
        }
    }

    private double Sum(double a, double b) => _single ? (float)a + (float)b : a + b;

    private static int CharacterLength(byte lead) => lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/// <summary>A trie over bytes; the edges are in one hash table.</summary>
internal sealed class ByteTrie
{
    private readonly Dictionary<long, int> _children = [];
    private readonly int[] _root = new int[256];
    private readonly List<int> _values = [-1];

    public ByteTrie() => Array.Fill(_root, -1);

    public void Add(ReadOnlySpan<byte> key, int value)
    {
        int node = 0;
        foreach (byte b in key)
        {
            int next = Step(node, b);
            if (next < 0)
            {
                next = _values.Count;
                _values.Add(-1);
                if (node == 0) _root[b] = next;
                else _children[((long)node << 8) | b] = next;
            }
            node = next;
        }
        if (node != 0) _values[node] = value;
    }

    /// <summary>The child of a node, or -1.</summary>
    public int Step(int node, byte b) => node == 0 ? _root[b] : _children.TryGetValue(((long)node << 8) | b, out int next) ? next : -1;

    /// <summary>The value stored at a node, or -1.</summary>
    public int ValueOf(int node) => _values[node];
}
