using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace LoraNet.Formats;

/// <summary>
/// Reads the data of a Python pickle (protocols 0 to 5 in the forms PyTorch writes; https://docs.python.org/3/library/pickletools.html)
/// without ever running anything: values are numbers, texts, lists, tuples and dictionaries, names are kept as names, and a
/// call is only done for the few functions that the caller implements. Every other opcode and name is an error.
/// </summary>
internal sealed class PickleReader
{
    // A valid file of this many objects would be far larger than any adapter.
    private const int MaxMemo = 4_000_000;

    private readonly string _path;
    private readonly ReadOnlyMemory<byte> _data;
    private readonly Func<Global, bool> _allowed;
    private readonly Func<Global, object?[], object?> _call;
    private readonly Func<object?, object?> _persistent;
    private readonly List<object?> _stack = [];
    private readonly Dictionary<int, object?> _memo = [];
    private int _at;

    /// <summary>A name that the pickle refers to.</summary>
    internal sealed record Global(string Module, string Name);

    private static readonly object _mark = new();

    /// <param name="path">For messages.</param>
    /// <param name="data">The pickle.</param>
    /// <param name="allowed">Whether a name may be referred to.</param>
    /// <param name="call">The result of calling an allowed name.</param>
    /// <param name="persistent">The object behind a persistent id.</param>
    public PickleReader(string path, ReadOnlyMemory<byte> data, Func<Global, bool> allowed, Func<Global, object?[], object?> call, Func<object?, object?> persistent) =>
        (_path, _data, _allowed, _call, _persistent) = (path, data, allowed, call, persistent);

    /// <summary>Bytes read so far.</summary>
    public int Position => _at;

    /// <summary>Reads up to STOP.</summary>
    /// <exception cref="LoraNetException">The pickle is damaged or holds something that is not data.</exception>
    public object? Read()
    {
        while (true)
        {
            byte op = Bytes(1)[0];
            switch ((char)op)
            {
                case (char)0x80: // PROTO
                    if (Bytes(1)[0] > 5) throw Error("has an unknown protocol");
                    break;
                case (char)0x95: Bytes(8); break; // FRAME
                case '.': return Pop();
                case '(': Push(_mark); break;
                case '0': Pop(); break;
                case '1': ToMark(); break;
                case '2': Push(_stack.Count > 0 ? _stack[^1] : throw Error("is damaged")); break;
                case 'N': Push(null); break;
                case (char)0x88: Push(true); break;
                case (char)0x89: Push(false); break;
                case 'K': Push((long)Bytes(1)[0]); break;
                case 'M': Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2))); break;
                case 'J': Push((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4))); break;
                case (char)0x8A: Push(Long(Bytes(1)[0])); break;
                case 'G': Push(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8))); break;
                case 'X': Push(Text(Length(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4))))); break;
                case (char)0x8C: Push(Text(Bytes(1)[0])); break;
                case 'U': Push(Text(Bytes(1)[0])); break;
                case 'T': Push(Text(Length(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4))))); break;
                case ')': Push(Array.Empty<object?>()); break;
                case 't': Push(ToMark()); break;
                case (char)0x85: Push(Take(1)); break;
                case (char)0x86: Push(Take(2)); break;
                case (char)0x87: Push(Take(3)); break;
                case ']': Push(new List<object?>()); break;
                case 'a':
                    {
                        object? item = Pop();
                        Top<List<object?>>().Add(item);
                        break;
                    }
                case 'e':
                    {
                        object?[] items = ToMark();
                        Top<List<object?>>().AddRange(items);
                        break;
                    }
                case '}': Push(new Dictionary<string, object?>()); break;
                case 's': SetItems(Take(2)); break;
                case 'u': SetItems(ToMark()); break;
                case 'q': Memo(Bytes(1)[0]); break;
                case 'r': Memo(Length(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)), inData: false)); break;
                case (char)0x94: Memo(_memo.Count); break;
                case 'h': Push(Recall(Bytes(1)[0])); break;
                case 'j': Push(Recall(Length(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)), inData: false))); break;
                case 'c': Push(Name(Line(), Line())); break;
                case (char)0x93:
                    {
                        object?[] parts = Take(2);
                        Push(parts is [string module, string name] ? Name(module, name) : throw Error("is damaged"));
                        break;
                    }
                case 'R':
                    {
                        object?[] parts = Take(2);
                        Push(parts is [Global function, object?[] arguments] ? _call(function, arguments) : throw Error("calls something that is not a known function"));
                        break;
                    }
                case 'b': Pop(); break; // BUILD: attributes of an object, such as a dictionary's _metadata; none is of use here.
                case 'Q': Push(_persistent(Pop())); break;
                default:
                    throw Error($"holds opcode 0x{op:X2}, which is not part of plain tensor data");
            }
        }
    }

    /// <summary>An error that names the file.</summary>
    public LoraNetException Error(string what) => new($"{_path}: the pickle {what} (byte {_at}).", "Only weights are read from pickle files. If you trust the file, save it as safetensors in Python.");

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (count > _data.Length - _at) throw Error("ends too early");
        _at += count;
        return _data.Span.Slice(_at - count, count);
    }

    private int Length(uint length, bool inData = true) => length <= int.MaxValue && (!inData || length <= _data.Length - _at) ? (int)length : throw Error("ends too early");

    private string Text(int length) => Encoding.UTF8.GetString(Bytes(length));

    private string Line()
    {
        int length = _data.Span[_at..].IndexOf((byte)'\n');
        if (length is < 0 or > 1000) throw Error("is damaged");
        string text = Text(length);
        _at++;
        return text;
    }

    // Big numbers occur as magic numbers only.
    private object Long(int length)
    {
        BigInteger value = new(Bytes(length));
        return value >= long.MinValue && value <= long.MaxValue ? (long)value : value;
    }

    private Global Name(string module, string name)
    {
        Global global = new(module, name);
        return _allowed(global) ? global : throw Error($"refers to '{module}.{name}', which is not needed for weights and is not loaded");
    }

    private void Push(object? value) => _stack.Add(value);

    private object? Pop()
    {
        if (_stack.Count == 0) throw Error("is damaged");
        object? value = _stack[^1];
        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    private T Top<T>() where T : class => _stack.Count > 0 && _stack[^1] is T top ? top : throw Error("is damaged");

    private object?[] Take(int count)
    {
        if (_stack.Count < count) throw Error("is damaged");
        object?[] items = [.. _stack.GetRange(_stack.Count - count, count)];
        _stack.RemoveRange(_stack.Count - count, count);
        return items;
    }

    private object?[] ToMark()
    {
        int at = _stack.LastIndexOf(_mark);
        if (at < 0) throw Error("is damaged");
        object?[] items = Take(_stack.Count - at - 1);
        Pop();
        return items;
    }

    private void SetItems(object?[] items)
    {
        Dictionary<string, object?> dictionary = Top<Dictionary<string, object?>>();
        if (items.Length % 2 != 0) throw Error("is damaged");
        for (int i = 0; i < items.Length; i += 2)
        {
            // Keys of other types, such as numbers in an optimizer's state, are kept as text.
            string key = items[i] as string ?? Convert.ToString(items[i], System.Globalization.CultureInfo.InvariantCulture) ?? "";
            dictionary[key] = items[i + 1];
        }
    }

    private void Memo(int index)
    {
        if (_stack.Count == 0 || _memo.Count >= MaxMemo) throw Error("is damaged");
        _memo[index] = _stack[^1];
    }

    private object? Recall(int index) => _memo.TryGetValue(index, out object? value) ? value : throw Error("is damaged");
}
