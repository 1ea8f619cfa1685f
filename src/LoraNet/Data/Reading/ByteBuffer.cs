namespace LoraNet.Data.Reading;

/// <summary>
/// A window onto a stream that moves forward and grows to hold one row. Positions are relative to <see cref="Start"/>.
/// </summary>
internal sealed class ByteBuffer(Stream stream)
{
    private byte[] _bytes = new byte[1 << 16];
    private int _end;
    private bool _ended;

    /// <summary>First byte not yet consumed.</summary>
    public int Start { get; private set; }

    /// <summary>The bytes at hand.</summary>
    public ReadOnlySpan<byte> Span => _bytes.AsSpan(Start, _end - Start);

    /// <summary>The first bytes at hand, for keeping beyond a lambda; valid until the next <see cref="Fill"/>.</summary>
    public ReadOnlyMemory<byte> Memory(int length) => _bytes.AsMemory(Start, length);

    /// <summary>Moves past bytes.</summary>
    public void Consume(int count) => Start += count;

    /// <summary>Reads more behind the bytes at hand; false at the end of the stream.</summary>
    public bool Fill()
    {
        if (_ended) return false;
        if (Start > 0)
        {
            Buffer.BlockCopy(_bytes, Start, _bytes, 0, _end - Start);
            (_end, Start) = (_end - Start, 0);
        }
        if (_end == _bytes.Length) Array.Resize(ref _bytes, _bytes.Length * 2);
        int n = stream.Read(_bytes, _end, _bytes.Length - _end);
        if (n == 0) _ended = true;
        _end += n;
        return n > 0;
    }
}
