using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>Settings of a byte-pair encoding; names follow tokenizer.json.</summary>
internal sealed record BpeOptions
{
    /// <summary>Symbols are the text's UTF-8 bytes, spelled with GPT-2's byte alphabet in the vocabulary.</summary>
    public bool ByteLevel { get; init; }

    /// <summary>A character without an entry becomes its bytes, spelled &lt;0xNN&gt;.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A word that is an entry itself is taken whole, whatever the merges say.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Neighbouring unknown characters give one unknown token.</summary>
    public bool FuseUnknown { get; init; }

    public string? UnknownToken { get; init; }

    /// <summary>Put before every character of a word but the first, when looked up.</summary>
    public string? ContinuingPrefix { get; init; }

    /// <summary>Put behind the last character of a word, when looked up.</summary>
    public string? EndSuffix { get; init; }
}

/// <summary>
/// Byte-pair encoding (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units"): a word starts as
/// single characters or bytes, and ranked rules merge neighbours.
/// </summary>
internal sealed class BpeModel : ITokenModel
{
    [ThreadStatic]
    private static BpeWord? t_word;

    private readonly BpeOptions _options;
    private readonly BpeMerges _merges;
    private readonly WordCache _cache = new();
    private readonly int _unknownId;
    private readonly bool _affixes;
    private readonly char _space;
    private readonly bool _cutBeforeSpace;

    // Initial symbols: by byte (byte-level), else by UTF-16 unit for characters of the basic plane. -1: none.
    private readonly int[] _symbols;
    private readonly int[] _byteIds;

    // Characters that take part in merges without being entries; their ids start at the vocabulary's size.
    private readonly Dictionary<string, int>? _phantoms;

    public BpeModel(Vocabulary vocabulary, BpeMerges merges, BpeOptions options, Dictionary<string, int>? phantoms = null, char space = '\u2581')
    {
        Vocabulary = vocabulary;
        _merges = merges;
        _options = options;
        _phantoms = phantoms;
        _space = space;
        _affixes = !string.IsNullOrEmpty(options.ContinuingPrefix) || !string.IsNullOrEmpty(options.EndSuffix);
        _unknownId = vocabulary.IdOf(options.UnknownToken) ?? -1;
        _byteIds = new int[256];
        for (int b = 0; b < 256; b++) _byteIds[b] = vocabulary.IdOf($"<0x{b:X2}>") ?? -1;
        if (options.ByteLevel)
        {
            _symbols = new int[256];
            for (int b = 0; b < 256; b++) _symbols[b] = vocabulary.TryGetId([ByteAlphabet.CharOf((byte)b)], out int id) ? id : -1;
        }
        else if (!_affixes)
        {
            _symbols = new int[65536];
            Array.Fill(_symbols, -1);
            if (phantoms is not null)
            {
                foreach ((string s, int id) in phantoms)
                    if (s.Length == 1) _symbols[s[0]] = id;
            }
            foreach ((string token, int id) in vocabulary.Entries)
                if (token.Length == 1) _symbols[token[0]] = id;
            _cutBeforeSpace = CanCutBeforeSpace();
        }
        else
        {
            _symbols = [];
        }
    }

    public Vocabulary Vocabulary { get; }

    public void Tokenize(TextBuffer buffer, int start, int length, TokenSink sink)
    {
        if (!_cutBeforeSpace)
        {
            TokenizeWord(buffer, start, length, sink);
            return;
        }
        // No token has "▁" behind something else, so the text may be taken word by word, which makes it cacheable.
        ReadOnlySpan<char> text = buffer.Span.Slice(start, length);
        int from = 0;
        while (from < length)
        {
            int at = from + 1;
            while (at < length && text[at - 1] == _space) at++;
            int cut = at < length ? text[at..].IndexOf(_space) : -1;
            int end = cut < 0 ? length : at + cut;
            TokenizeWord(buffer, start + from, end - from, sink);
            from = end;
        }
    }

    private void TokenizeWord(TextBuffer buffer, int start, int length, TokenSink sink)
    {
        ReadOnlySpan<char> text = buffer.Span.Slice(start, length);
        bool cached = length <= WordCache.MaxWordLength;
        uint hash = 0;
        if (cached)
        {
            hash = WordCache.Hash(text);
            WordCache.Entry? hit = _cache.Find(text, hash);
            if (hit is not null)
            {
                if (sink.WithSpans) Emit(buffer, start, text, hit.Ids, hit.Lengths, sink);
                else sink.AddRange(hit.Ids);
                return;
            }
        }
        BpeWord word = t_word ??= new BpeWord();
        word.Clear();
        if (!(_options.IgnoreMerges && TryWhole(text, word)))
        {
            if (_options.ByteLevel) AddBytes(text, word);
            else if (_affixes) AddAffixed(text, word);
            else AddCharacters(text, word);
            word.Merge(_merges);
            if (_phantoms is not null) word = ReplacePhantoms(word, text);
        }
        if (cached) _cache.Store(text, hash, word);
        if (!sink.WithSpans)
        {
            sink.AddRange(word.Ids);
            return;
        }
        ReadOnlySpan<int> lengths = word.Lengths;
        Emit(buffer, start, text, word.Ids, lengths, sink);
    }

    private bool TryWhole(ReadOnlySpan<char> text, BpeWord word)
    {
        int bytes = Encoding.UTF8.GetByteCount(text);
        if (!_options.ByteLevel)
        {
            if (!Vocabulary.TryGetId(text, out int id)) return false;
            word.Add(id, bytes);
            return true;
        }
        if (bytes > 1024) return false;
        Span<byte> utf8 = stackalloc byte[bytes];
        Span<char> spelled = stackalloc char[bytes];
        Encoding.UTF8.GetBytes(text, utf8);
        for (int i = 0; i < bytes; i++) spelled[i] = ByteAlphabet.CharOf(utf8[i]);
        if (!Vocabulary.TryGetId(spelled, out int whole)) return false;
        word.Add(whole, bytes);
        return true;
    }

    private void AddBytes(ReadOnlySpan<char> text, BpeWord word)
    {
        int pending = 0;
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            i += units;
            int n = rune.EncodeToUtf8(utf8);
            for (int k = 0; k < n; k++)
            {
                int id = _symbols[utf8[k]];
                if (id >= 0)
                {
                    FlushUnknown(word, ref pending);
                    word.Add(id, 1);
                }
                else
                {
                    Unknown(word, ref pending, 1);
                }
            }
        }
        FlushUnknown(word, ref pending);
    }

    private void AddCharacters(ReadOnlySpan<char> text, BpeWord word)
    {
        int pending = 0;
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            int id = units == 1 ? _symbols[text[i]] : LookUp(text.Slice(i, units));
            AddSymbol(word, ref pending, id, text.Slice(i, units), rune.Utf8SequenceLength);
            i += units;
        }
        FlushUnknown(word, ref pending);
    }

    private void AddAffixed(ReadOnlySpan<char> text, BpeWord word)
    {
        int pending = 0;
        for (int i = 0; i < text.Length;)
        {
            Rune.DecodeFromUtf16(text[i..], out Rune rune, out int units);
            string s = text.Slice(i, units).ToString();
            if (i > 0) s = _options.ContinuingPrefix + s;
            if (i + units == text.Length) s += _options.EndSuffix;
            AddSymbol(word, ref pending, LookUp(s), s, rune.Utf8SequenceLength);
            i += units;
        }
        FlushUnknown(word, ref pending);
    }

    private void AddSymbol(BpeWord word, ref int pending, int id, ReadOnlySpan<char> spelling, int length)
    {
        if (id >= 0)
        {
            FlushUnknown(word, ref pending);
            word.Add(id, length);
            return;
        }
        if (_options.ByteFallback && TryBytes(word, spelling)) return;
        Unknown(word, ref pending, length);
    }

    private bool TryBytes(BpeWord word, ReadOnlySpan<char> spelling)
    {
        Span<byte> utf8 = stackalloc byte[64];
        if (!Encoding.UTF8.TryGetBytes(spelling, utf8, out int n)) return false;
        for (int k = 0; k < n; k++)
            if (_byteIds[utf8[k]] < 0) return false;
        for (int k = 0; k < n; k++) word.Add(_byteIds[utf8[k]], 1);
        return true;
    }

    private int LookUp(ReadOnlySpan<char> s)
    {
        if (Vocabulary.TryGetId(s, out int id)) return id;
        return _phantoms is not null && _phantoms.TryGetValue(s.ToString(), out int phantom) ? phantom : -1;
    }

    private void Unknown(BpeWord word, ref int pending, int length)
    {
        if (_unknownId < 0)
        {
            word.Drop(length);
            return;
        }
        if (pending > 0 && !_options.FuseUnknown) FlushUnknown(word, ref pending);
        pending += length;
    }

    private void FlushUnknown(BpeWord word, ref int pending)
    {
        if (pending == 0) return;
        word.Add(_unknownId, pending);
        pending = 0;
    }

    /// <summary>Turns characters that were left unmerged and are no entries into bytes or the unknown token.</summary>
    private BpeWord ReplacePhantoms(BpeWord word, ReadOnlySpan<char> text)
    {
        int size = Vocabulary.Size;
        if (!word.Ids.ContainsAnyExceptInRange(0, size - 1)) return word;
        var result = new BpeWord();
        byte[] utf8 = Encoding.UTF8.GetBytes(text.ToString());
        int at = 0;
        int pending = 0;
        for (int i = 0; i < word.Count; i++)
        {
            int length = word.Lengths[i];
            if (word.Ids[i] < size)
            {
                FlushUnknown(result, ref pending);
                result.Add(word.Ids[i], length);
            }
            else if (!(_options.ByteFallback && TryBytes(result, Encoding.UTF8.GetString(utf8, at, length))))
            {
                Unknown(result, ref pending, length);
            }
            at += length;
        }
        FlushUnknown(result, ref pending);
        return result;
    }

    /// <summary>Adds tokens with their ranges, walking the characters alongside the byte lengths.</summary>
    private static void Emit<T>(TextBuffer buffer, int start, ReadOnlySpan<char> text, ReadOnlySpan<int> ids, ReadOnlySpan<T> lengths, TokenSink sink)
        where T : struct, System.Numerics.IBinaryInteger<T>
    {
        int unit = 0;
        int unitByte = 0;
        int tokenByte = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            int endByte = tokenByte + int.CreateTruncating(lengths[i]);
            int first = -1;
            int last = unit;
            while (unit < text.Length)
            {
                Rune.DecodeFromUtf16(text[unit..], out Rune rune, out int units);
                int next = unitByte + rune.Utf8SequenceLength;
                if (next > tokenByte)
                {
                    if (first < 0) first = unit;
                    last = unit + units;
                    if (next > endByte) break;
                }
                unit += units;
                unitByte = next;
                if (next == endByte) break;
            }
            if (first < 0) first = last;
            sink.Add(ids[i], buffer, start + first, start + last);
            tokenByte = endByte;
        }
    }

    private static void Emit(TextBuffer buffer, int start, ReadOnlySpan<char> text, int[] ids, byte[] lengths, TokenSink sink) =>
        Emit<byte>(buffer, start, text, ids, lengths, sink);

    /// <summary>Whether no entry holds "▁" behind another character, so that no merge can cross the point before a "▁".</summary>
    private bool CanCutBeforeSpace()
    {
        if (!Vocabulary.TryGetId([_space], out _) || _options.IgnoreMerges) return false;
        foreach ((string token, _) in Vocabulary.Entries)
        {
            ReadOnlySpan<char> s = token.AsSpan().TrimStart(_space);
            if (s.Contains(_space)) return false;
        }
        return true;
    }
}
