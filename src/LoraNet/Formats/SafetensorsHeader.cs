using System.Text.Json;
using System.Text.Unicode;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>The checked header of a safetensors file. Byte ranges are relative to the end of the header.</summary>
internal sealed class SafetensorsHeader
{
    private readonly string _path;
    private readonly long _dataBytes;
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);
    private readonly List<Entry> _tensors = [];

    private SafetensorsHeader(string path, long dataBytes)
    {
        _path = path;
        _dataBytes = dataBytes;
    }

    /// <summary>One tensor: its bytes are [Begin, End) of the data.</summary>
    public sealed record Entry(string Name, DType DType, int[] Shape, long Begin, long End);

    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>The tensors in the order of their data.</summary>
    public IReadOnlyList<Entry> Tensors => _tensors;

    /// <summary>Parses and checks a header. <paramref name="dataBytes"/> is the number of bytes after it.</summary>
    /// <exception cref="LoraNetException">Anything in it is malformed; the message names the file, the tensor and the cause.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataBytes)
    {
        SafetensorsHeader header = new(path, dataBytes);
        if (json.IsEmpty || json[0] != (byte)'{') throw header.Error("its header does not start with '{'");
        if (!Utf8.IsValid(json)) throw header.Error("its header is not valid UTF-8");
        try
        {
            header.ReadAll(json);
        }
        catch (JsonException e)
        {
            throw header.Error($"its header is not valid JSON: {e.Message}", e);
        }
        catch (InvalidOperationException e)
        {
            // What Utf8JsonReader throws for an escaped lone surrogate in a string.
            throw header.Error($"its header holds a malformed string: {e.Message}", e);
        }
        header.CheckRanges();
        return header;
    }

    private void ReadAll(ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json);
        reader.Read();
        HashSet<string> names = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!names.Add(name)) throw Error($"the name {Show(name)} appears twice in its header");
            reader.Read();
            if (name == "__metadata__") ReadMetadata(ref reader);
            else _tensors.Add(ReadTensor(ref reader, name));
        }
        // The reader itself refuses anything but white space after the closing brace.
        reader.Read();
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Error("__metadata__ is not an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String) throw Error($"__metadata__ entry {Show(key)} is not a string");
            if (!_metadata.TryAdd(key, reader.GetString()!)) throw Error($"__metadata__ entry {Show(key)} appears twice");
        }
    }

    private Entry ReadTensor(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Error(name, "its entry is not an object");
        DType? dtype = null;
        int[]? shape = null;
        (long Begin, long End)? range = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            reader.Read();
            bool repeated = false;
            switch (key)
            {
                case "dtype":
                    repeated = dtype is not null;
                    if (reader.TokenType != JsonTokenType.String) throw Error(name, "dtype is not a string");
                    dtype = ReadType(name, reader.GetString()!);
                    break;
                case "shape":
                    repeated = shape is not null;
                    shape = ReadShape(ref reader, name);
                    break;
                case "data_offsets":
                    repeated = range is not null;
                    range = ReadRange(ref reader, name);
                    break;
                default:
                    // The reference implementation ignores further keys, so files may have them.
                    reader.Skip();
                    break;
            }
            if (repeated) throw Error(name, $"{key} appears twice");
        }
        if (dtype is null) throw Error(name, "dtype is missing");
        if (shape is null) throw Error(name, "shape is missing");
        if (range is null) throw Error(name, "data_offsets is missing");
        CheckSize(name, dtype.Value, shape, range.Value);
        return new Entry(name, dtype.Value, shape, range.Value.Begin, range.Value.End);
    }

    private DType ReadType(string name, string text) => SafetensorsTypes.TryParse(text, out DType dtype)
        ? dtype
        : throw Error(name, $"its type {Show(text)} is not supported (supported: {SafetensorsTypes.Supported})");

    private int[] ReadShape(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw Error(name, "shape is not an array");
        List<int> dims = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetUInt64(out ulong dim)) throw Error(name, "shape holds something that is not a whole number from 0 on");
            if (dim > int.MaxValue) throw Error(name, $"shape has a dimension of {dim} (at most {int.MaxValue} is supported)");
            dims.Add((int)dim);
        }
        return [.. dims];
    }

    private (long, long) ReadRange(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw Error(name, "data_offsets is not an array");
        Span<long> ends = stackalloc long[2];
        int count = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (count == 2) throw Error(name, "data_offsets has more than two numbers");
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetUInt64(out ulong offset)) throw Error(name, "data_offsets holds something that is not a whole number from 0 on");
            if (offset > (ulong)_dataBytes)
                throw Error(name, $"its data would end at byte {offset}, but the file holds only {_dataBytes} bytes of data", advice: "The file is truncated or damaged: download or copy it again.");
            ends[count++] = (long)offset;
        }
        if (count != 2) throw Error(name, "data_offsets has fewer than two numbers");
        if (ends[0] > ends[1]) throw Error(name, $"data_offsets [{ends[0]}, {ends[1]}] end before they begin");
        return (ends[0], ends[1]);
    }

    private void CheckSize(string name, DType dtype, int[] shape, (long Begin, long End) range)
    {
        // 2^62 is far beyond any file; stopping there keeps the product from overflowing.
        Int128 bytes = dtype.Size();
        foreach (int d in shape)
        {
            bytes *= d;
            if (bytes > (1L << 62)) throw Error(name, $"its shape [{Show(shape)}] has too many elements");
        }
        if (bytes != range.End - range.Begin)
            throw Error(name, $"shape [{Show(shape)}] of {dtype} needs {bytes} bytes, but data_offsets [{range.Begin}, {range.End}] give {range.End - range.Begin}");
    }

    // Sorted by place, the ranges must follow each other from byte 0 to the end: no overlap, no hole, nothing left over.
    private void CheckRanges()
    {
        _tensors.Sort(static (a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End != b.End ? a.End.CompareTo(b.End) : string.CompareOrdinal(a.Name, b.Name));
        long end = 0;
        string previous = "";
        foreach (Entry entry in _tensors)
        {
            if (entry.Begin < end) throw Error(entry.Name, $"its data begins at byte {entry.Begin}, inside tensor {Show(previous)}, which ends at {end}");
            if (entry.Begin > end) throw Error(entry.Name, $"its data begins at byte {entry.Begin}, but the bytes from {end} on belong to no tensor");
            end = entry.End;
            previous = entry.Name;
        }
        if (end != _dataBytes) throw Error($"its tensors end at byte {end} of the data, but {_dataBytes} bytes follow the header");
    }

    private LoraNetException Error(string cause, Exception? inner = null) => new($"{_path} is not a valid safetensors file: {cause}.", null, inner);

    private LoraNetException Error(string tensor, string cause, string? advice = null) => new($"{_path}, tensor {Show(tensor)}: {cause}.", advice);

    // Names come from the file: keep messages short and on one line whatever they hold.
    private static string Show(string text)
    {
        string s = text.Length > 120 ? text[..120] + "…" : text;
        return "\"" + string.Concat(s.Select(static c => char.IsControl(c) ? '?' : c)) + "\"";
    }

    private static string Show(int[] shape) => shape.Length > 12 ? string.Join(", ", shape.Take(12)) + ", …" : string.Join(", ", shape);
}
