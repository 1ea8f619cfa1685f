using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.File.Values.Primitives;
using Parquet.Schema;

namespace LoraNet.Data.Reading;

/// <summary>One column of a row group, read entry by entry.</summary>
internal abstract class ParquetLeaf
{
    private readonly DataField _field;
    private readonly int[] _definitions;
    private readonly int[] _repetitions;
    private readonly int _entries;
    private int _entry;
    private int _value;

    private ParquetLeaf(DataField field, int entries)
    {
        (_field, _entries) = (field, entries);
        _definitions = field.MaxDefinitionLevel > 0 ? new int[entries] : [];
        _repetitions = field.MaxRepetitionLevel > 0 ? new int[entries] : [];
    }

    /// <summary>How much of the path to the next entry is there.</summary>
    public int Definition => _entry >= _entries ? throw Short() : _field.MaxDefinitionLevel > 0 ? _definitions[_entry] : 0;

    /// <summary>Which list the next entry continues; 0 for a new row, -1 at the end.</summary>
    public int Repetition => _entry >= _entries ? -1 : _field.MaxRepetitionLevel > 0 ? _repetitions[_entry] : 0;

    /// <summary>Reads a column. The library chooses by type with code made at run time; this choice works in a NativeAOT program too.</summary>
    /// <exception cref="InvalidDataException">The column is damaged, or of a type that is not known.</exception>
    public static ParquetLeaf Read(DataField field, ParquetRowGroupReader group)
    {
        Type type = field.ClrType;
        if (type == typeof(string) || type == typeof(ReadOnlyMemory<char>)) return Of<ReadOnlyMemory<char>>(static v => JsonValue.Create(new string(v.Span)), static v => v.Length);
        if (type == typeof(byte[]) || type == typeof(ReadOnlyMemory<byte>)) return Of<ReadOnlyMemory<byte>>(static v => JsonValue.Create(Encoding.UTF8.GetString(v.Span)), static v => v.Length);
        if (type == typeof(bool)) return Of<bool>(static v => JsonValue.Create(v));
        if (type == typeof(sbyte)) return Of<sbyte>(static v => JsonValue.Create((int)v));
        if (type == typeof(byte)) return Of<byte>(static v => JsonValue.Create((int)v));
        if (type == typeof(short)) return Of<short>(static v => JsonValue.Create((int)v));
        if (type == typeof(ushort)) return Of<ushort>(static v => JsonValue.Create((int)v));
        if (type == typeof(int)) return Of<int>(static v => JsonValue.Create(v));
        if (type == typeof(uint)) return Of<uint>(static v => JsonValue.Create(v));
        if (type == typeof(long)) return Of<long>(static v => JsonValue.Create(v));
        if (type == typeof(ulong)) return Of<ulong>(static v => JsonValue.Create(v));
        if (type == typeof(float)) return Of<float>(static v => float.IsFinite(v) ? JsonValue.Create(v) : null);
        if (type == typeof(double)) return Of<double>(static v => double.IsFinite(v) ? JsonValue.Create(v) : null);
        if (type == typeof(decimal)) return Of<decimal>(static v => JsonValue.Create(v));
        if (type == typeof(DateTime)) return Of<DateTime>(static v => JsonValue.Create(v.ToString("O", CultureInfo.InvariantCulture)));
        // No form of row reads these: their values are left out.
        if (type == typeof(DateOnly)) return Of<DateOnly>(static _ => null);
        if (type == typeof(TimeOnly)) return Of<TimeOnly>(static _ => null);
        if (type == typeof(TimeSpan)) return Of<TimeSpan>(static _ => null);
        if (type == typeof(Guid)) return Of<Guid>(static _ => null);
        if (type == typeof(Interval)) return Of<Interval>(static _ => null);
        throw new InvalidDataException($"column '{field.Path}' is of a type that is not known, {type.Name}");

        ParquetLeaf Of<T>(Func<T, JsonNode?> json, Func<T, int>? size = null)
            where T : struct => new Typed<T>(field, group, json, size);
    }

    /// <summary>The next entry's value, null if it has none.</summary>
    /// <param name="size">Bytes or characters of a text.</param>
    public JsonNode? Take(out int size)
    {
        size = 0;
        bool defined = Definition == _field.MaxDefinitionLevel;
        _entry++;
        return defined ? Value(_value++, out size) : null;
    }

    private protected abstract JsonNode? Value(int index, out int size);

    private InvalidDataException Short() => new($"column '{_field.Path}' ends before the rows do");

    // The footer's number of entries, missing ones included; ParquetRows has checked that it is not absurd.
    private static int Entries(DataField field, ParquetRowGroupReader group) =>
        group.GetMetadata(field)?.MetaData is { } meta ? checked((int)meta.NumValues) : throw new InvalidDataException($"column '{field.Path}' is missing");

    private sealed class Typed<T> : ParquetLeaf
        where T : struct
    {
        private readonly T[] _values;
        private readonly Func<T, JsonNode?> _json;
        private readonly Func<T, int>? _size;

        public Typed(DataField field, ParquetRowGroupReader group, Func<T, JsonNode?> json, Func<T, int>? size)
            : base(field, Entries(field, group))
        {
            (_json, _size) = (json, size);
            _values = new T[_entries];
            group.ReadRawAsync<T>(field, _values, Levels(_definitions), Levels(_repetitions)).AsTask().GetAwaiter().GetResult();
        }

        private protected override JsonNode? Value(int index, out int size)
        {
            size = _size?.Invoke(_values[index]) ?? 0;
            return _json(_values[index]);
        }

        private static Memory<int>? Levels(int[] levels) => levels.Length > 0 ? levels : default(Memory<int>?);
    }
}
