using System.Buffers.Binary;

namespace LoraNet.Tokenizers;

/// <summary>
/// Reads the wire format of protocol buffers: a tag (field number and wire type) before every value. Lengths are checked against what is left.
/// </summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> data, string source)
{
    private readonly ReadOnlySpan<byte> _data = data;
    private readonly string _source = source;
    private int _at = 0;
    private int _wireType = 0;

    /// <summary>Moves to the next field.</summary>
    /// <param name="field">Its number.</param>
    /// <returns>False at the end.</returns>
    public bool Next(out int field)
    {
        field = 0;
        if (_at >= _data.Length) return false;
        ulong tag = Varint();
        field = (int)Math.Min(tag >> 3, int.MaxValue);
        _wireType = (int)(tag & 7);
        if (field == 0) throw Bad();
        return true;
    }

    public ulong ReadVarint() => _wireType == 0 ? Varint() : throw Bad();

    public bool ReadBool() => ReadVarint() != 0;

    /// <summary>A 32-bit integer; negative ones are written as ten bytes.</summary>
    public int ReadInt32() => unchecked((int)ReadVarint());

    public float ReadFloat()
    {
        if (_wireType != 5) throw Bad();
        return BinaryPrimitives.ReadSingleLittleEndian(Take(4));
    }

    public ReadOnlySpan<byte> ReadBytes()
    {
        if (_wireType != 2) throw Bad();
        ulong length = Varint();
        if (length > (ulong)(_data.Length - _at)) throw Bad();
        return Take((int)length);
    }

    /// <summary>Steps over the value of a field that is not wanted.</summary>
    public void Skip()
    {
        switch (_wireType)
        {
            case 0:
                Varint();
                break;
            case 1:
                Take(8);
                break;
            case 2:
                ReadBytes();
                break;
            case 5:
                Take(4);
                break;
            default:
                throw Bad();
        }
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _data.Length - _at) throw Bad();
        ReadOnlySpan<byte> taken = _data.Slice(_at, count);
        _at += count;
        return taken;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 70; shift += 7)
        {
            if (_at >= _data.Length) throw Bad();
            byte b = _data[_at++];
            if (shift < 64) value |= (ulong)(b & 127) << shift;
            if (b < 128) return value;
        }
        throw Bad();
    }

    private readonly LoraNetException Bad() =>
        new($"{_source}: not a SentencePiece model, or damaged at byte {_at} of {_data.Length}.", "Download the file again; a file of a few hundred bytes is a Git LFS pointer, not the model.");
}
