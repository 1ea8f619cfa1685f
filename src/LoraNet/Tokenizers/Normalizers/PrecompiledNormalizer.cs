using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// SentencePiece's precompiled character map: a double-array trie (Darts) from UTF-8 strings to positions in a list of
/// zero-terminated replacements. Layout: trie size in bytes (u32, little-endian), the trie's units (u32 each), the replacements.
/// </summary>
internal sealed class CharsMap
{
    private readonly uint[] _units;
    private readonly byte[] _replacements;

    private CharsMap(uint[] units, byte[] replacements)
    {
        _units = units;
        _replacements = replacements;
    }

    public static CharsMap Empty { get; } = new([], []);

    public bool IsEmpty => _units.Length == 0;

    public static CharsMap Read(ReadOnlySpan<byte> data, string source)
    {
        if (data.Length == 0) return Empty;
        if (data.Length < 4) throw Bad();
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(data);
        if (size > data.Length - 4 || size % 4 != 0) throw Bad();
        var units = new uint[size / 4];
        for (int i = 0; i < units.Length; i++) units[i] = BinaryPrimitives.ReadUInt32LittleEndian(data[(4 + 4 * i)..]);
        return new CharsMap(units, data[(4 + (int)size)..].ToArray());

        LoraNetException Bad() => new($"{source}: the precompiled character map is damaged.", "Download the file again.");
    }

    /// <summary>Finds an entry at the start of the text.</summary>
    /// <param name="utf8">The text.</param>
    /// <param name="longest">The longest entry rather than the shortest.</param>
    /// <param name="length">The entry's bytes.</param>
    /// <param name="replacement">What takes its place.</param>
    public bool TryMatch(ReadOnlySpan<byte> utf8, bool longest, out int length, out ReadOnlySpan<byte> replacement)
    {
        length = 0;
        replacement = default;
        if (_units.Length == 0) return false;
        uint node = Offset(_units[0]);
        int value = -1;
        for (int i = 0; i < utf8.Length; i++)
        {
            byte b = utf8[i];
            if (b == 0) break;
            node ^= b;
            if (node >= _units.Length) break;
            uint unit = _units[node];
            if ((unit & 0x800000FF) != b) break;
            node ^= Offset(unit);
            if (((unit >> 8) & 1) == 0) continue;
            if (node >= _units.Length) break;
            value = (int)(_units[node] & 0x7FFFFFFF);
            length = i + 1;
            if (!longest) break;
        }
        if (value < 0 || value >= _replacements.Length) return false;
        ReadOnlySpan<byte> rest = _replacements.AsSpan(value);
        int end = rest.IndexOf((byte)0);
        replacement = end < 0 ? rest : rest[..end];
        return true;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & (1u << 9)) >> 6);
}

/// <summary>
/// Applies a <see cref="CharsMap"/>. tokenizer.json looks up whole grapheme clusters of fewer than six bytes, then single characters;
/// SentencePiece itself takes the longest entry at each place.
/// </summary>
internal sealed class PrecompiledNormalizer(CharsMap map, bool wholeGraphemes) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        if (map.IsEmpty) return text;
        ReadOnlySpan<char> s = text.Span;
        var b = new TextBuilder(s.Length, text.Tracks);
        if (wholeGraphemes) ByGrapheme(text, s, b);
        else ByLongest(text, s, b);
        return b.Build();
    }

    private void ByGrapheme(TextBuffer text, ReadOnlySpan<char> s, TextBuilder b)
    {
        Span<byte> utf8 = stackalloc byte[16];
        for (int i = 0; i < s.Length;)
        {
            int units = StringInfo.GetNextTextElementLength(s[i..]);
            ReadOnlySpan<char> grapheme = s.Slice(i, units);
            if (units <= 5 && Encoding.UTF8.TryGetBytes(grapheme, utf8, out int n) && n < 6 && map.TryMatch(utf8[..n], longest: false, out _, out ReadOnlySpan<byte> whole))
            {
                Write(whole, text, i, i + units, b);
                i += units;
                continue;
            }
            for (int end = i + units; i < end;)
            {
                Rune.DecodeFromUtf16(s[i..], out Rune rune, out int used);
                n = rune.EncodeToUtf8(utf8);
                TokenSpan span = text.Original(i, i + used);
                if (map.TryMatch(utf8[..n], longest: false, out _, out ReadOnlySpan<byte> one)) Write(one, text, i, i + used, b);
                else b.Add(s.Slice(i, used), span.Start, span.End);
                i += used;
            }
        }
    }

    private void ByLongest(TextBuffer text, ReadOnlySpan<char> s, TextBuilder b)
    {
        // An entry is at most a few characters long; a window of bytes is enough.
        Span<byte> window = stackalloc byte[256];
        for (int i = 0; i < s.Length;)
        {
            int units = 0;
            int n = 0;
            while (i + units < s.Length && n <= window.Length - 4)
            {
                Rune.DecodeFromUtf16(s[(i + units)..], out Rune rune, out int used);
                n += rune.EncodeToUtf8(window[n..]);
                units += used;
                if (units >= 48) break;
            }
            Rune.DecodeFromUtf16(s[i..], out Rune first, out int firstUnits);
            if (!map.TryMatch(window[..n], longest: true, out int length, out ReadOnlySpan<byte> replacement) || length < first.Utf8SequenceLength)
            {
                TokenSpan span = text.Original(i, i + firstUnits);
                b.Add(s.Slice(i, firstUnits), span.Start, span.End);
                i += firstUnits;
                continue;
            }
            int matched = Encoding.UTF8.GetCharCount(window[..length]);
            Write(replacement, text, i, i + matched, b);
            i += matched;
        }
    }

    /// <summary>Writes a replacement: its characters take the ranges of those they replace one by one, surplus ones that of the last.</summary>
    private static void Write(ReadOnlySpan<byte> utf8, TextBuffer text, int start, int end, TextBuilder b)
    {
        Span<char> chars = stackalloc char[2];
        TokenSpan span = text.Original(start, start);
        while (utf8.Length > 0)
        {
            if (start < end)
            {
                Rune.DecodeFromUtf16(text.Span[start..], out _, out int units);
                span = text.Original(start, start + units);
                start += units;
            }
            _ = Rune.DecodeFromUtf8(utf8, out Rune rune, out int used);
            int n = rune.EncodeToUtf16(chars);
            b.Add(chars[..n], span.Start, span.End);
            utf8 = utf8[used..];
        }
    }
}
