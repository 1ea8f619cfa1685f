namespace LoraNet.Tokenizers;

/// <summary>
/// A stretch of text on its way through the pipeline, with the original range of each of its UTF-16 units.
/// Without alignment arrays the units map one to one to the original, shifted by <see cref="Shift"/>.
/// </summary>
internal sealed class TextBuffer
{
    private readonly ReadOnlyMemory<char> _text;
    private readonly int[]? _starts;
    private readonly int[]? _ends;

    public TextBuffer(ReadOnlyMemory<char> text, int shift = 0, bool tracks = true)
    {
        _text = text;
        Shift = shift;
        Tracks = tracks;
    }

    public TextBuffer(ReadOnlyMemory<char> text, int[]? starts, int[]? ends, int shift)
    {
        _text = text;
        _starts = starts;
        _ends = ends;
        Shift = shift;
        Tracks = true;
    }

    /// <summary>Whether changes keep account of where units came from; without, only the very first unit's origin is right.</summary>
    public bool Tracks { get; }

    /// <summary>The original offset of unit 0 when there are no alignment arrays.</summary>
    public int Shift { get; }

    public int Length => _text.Length;

    public ReadOnlySpan<char> Span => _text.Span;

    public ReadOnlyMemory<char> Memory => _text;

    /// <summary>Whether every unit is an original unit at the same distance.</summary>
    public bool IsIdentity => _starts is null;

    /// <summary>Where unit <paramref name="i"/> came from: the start of its original range.</summary>
    public int OriginalStart(int i) => _starts is null ? Shift + i : _starts[i];

    /// <summary>Where unit <paramref name="i"/> came from: the end of its original range.</summary>
    public int OriginalEnd(int i)
    {
        if (_ends is not null) return _ends[i];
        // In the original text, half a surrogate pair stands for the whole character.
        ReadOnlySpan<char> s = _text.Span;
        if (char.IsHighSurrogate(s[i]) && i + 1 < s.Length) return Shift + i + 2;
        return Shift + i + 1;
    }

    /// <summary>A part of the text with its alignments.</summary>
    public TextBuffer Slice(int start, int length)
    {
        if (start == 0 && length == Length) return this;
        return _starts is null
            ? new TextBuffer(_text.Slice(start, length), Shift + start, Tracks)
            : new TextBuffer(_text.Slice(start, length), _starts.AsSpan(start, length).ToArray(), _ends!.AsSpan(start, length).ToArray(), Shift);
    }

    /// <summary>A part of the text with one unit replaced by another throughout.</summary>
    public TextBuffer Map(int start, int length, char from, char to)
    {
        char[] chars = new char[length];
        _text.Span.Slice(start, length).Replace(chars, from, to);
        return _starts is null
            ? new TextBuffer(chars, Shift + start, Tracks)
            : new TextBuffer(chars, _starts.AsSpan(start, length).ToArray(), _ends!.AsSpan(start, length).ToArray(), Shift);
    }

    /// <summary>The original range of units [start, end).</summary>
    public TokenSpan Original(int start, int end)
    {
        if (end <= start)
        {
            int at = start < Length ? OriginalStart(start) : Length == 0 ? Shift : OriginalEnd(Length - 1);
            return new TokenSpan(at, at);
        }
        int first = start;
        if (_starts is null && first > 0 && char.IsLowSurrogate(_text.Span[first]) && char.IsHighSurrogate(_text.Span[first - 1])) first--;
        return new TokenSpan(OriginalStart(first), OriginalEnd(end - 1));
    }
}

/// <summary>Builds a changed copy of a <see cref="TextBuffer"/> range, keeping track of where each unit came from.</summary>
internal sealed class TextBuilder
{
    private char[] _chars;
    private int[]? _starts;
    private int[]? _ends;
    private readonly long _limit;
    private int _count;
    private int _first;

    /// <param name="capacity">The expected length; a text may grow to 64 times that, which no real normalizer does.</param>
    /// <param name="tracks">Whether to keep account of the origins.</param>
    public TextBuilder(int capacity, bool tracks)
    {
        _limit = 65536 + 64L * capacity;
        capacity = Math.Max(16, capacity);
        _chars = new char[capacity];
        if (!tracks) return;
        _starts = new int[capacity];
        _ends = new int[capacity];
    }

    public int Count => _count;

    public ReadOnlySpan<char> Span => _chars.AsSpan(0, _count);

    /// <summary>Appends one unit that stands for the original range [start, end).</summary>
    public void Add(char c, int start, int end)
    {
        if (_count == _chars.Length) Grow(1);
        _chars[_count] = c;
        if (_count == 0) _first = start;
        if (_starts is not null)
        {
            _starts[_count] = start;
            _ends![_count] = end;
        }
        _count++;
    }

    /// <summary>Appends units [start, end) of a text as they are.</summary>
    public void Copy(TextBuffer text, int start, int end)
    {
        if (end <= start) return;
        int length = end - start;
        if (_count + length > _chars.Length) Grow(length);
        if (_count == 0) _first = text.OriginalStart(start);
        text.Span[start..end].CopyTo(_chars.AsSpan(_count));
        if (_starts is not null)
        {
            for (int i = 0; i < length; i++)
            {
                TokenSpan span = text.Original(start + i, start + i + 1);
                _starts[_count + i] = span.Start;
                _ends![_count + i] = span.End;
            }
        }
        _count += length;
    }

    private void Grow(int extra)
    {
        if (_count > _limit) throw new LoraNetException($"The tokenizer's normalizer makes the text more than {_count} characters long.", "Its file is damaged: use the model's original tokenizer file.");
        int size = Math.Max(checked(_count * 2), checked(_count + extra));
        Array.Resize(ref _chars, size);
        if (_starts is null) return;
        Array.Resize(ref _starts, size);
        Array.Resize(ref _ends, size);
    }

    public void Add(ReadOnlySpan<char> s, int start, int end)
    {
        foreach (char c in s) Add(c, start, end);
    }

    /// <summary>Appends a code point that stands for the original range [start, end).</summary>
    public void AddCodePoint(int codePoint, int start, int end)
    {
        if (codePoint < 0x10000)
        {
            Add((char)codePoint, start, end);
            return;
        }
        Add((char)(0xD800 + ((codePoint - 0x10000) >> 10)), start, end);
        Add((char)(0xDC00 + ((codePoint - 0x10000) & 0x3FF)), start, end);
    }

    /// <summary>The original range of the last unit, or an empty one at <paramref name="fallback"/>: an inserted character shares it.</summary>
    public TokenSpan LastOriginal(int fallback) =>
        _count == 0 || _starts is null ? new TokenSpan(fallback, fallback) : new TokenSpan(_starts[_count - 1], _ends![_count - 1]);

    public TextBuffer Build() => _starts is null
        ? new TextBuffer(_chars.AsMemory(0, _count), _first, tracks: false)
        : new TextBuffer(_chars.AsMemory(0, _count), _starts, _ends, _first);
}
