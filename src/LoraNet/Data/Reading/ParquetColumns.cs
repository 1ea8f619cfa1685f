using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.Data;
using Parquet.Schema;

namespace LoraNet.Data.Reading;

/// <summary>
/// The columns of a row group put together to rows by their repetition and definition levels (Melnik et al., Dremel, 2010).
/// Parquet.Net's own rows without a class leave null entries of lists out, which would shift lists of labels against their tokens.
/// </summary>
internal sealed class ParquetColumns : IDisposable
{
    private readonly Dictionary<DataField, ParquetLeaf> _leaves = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<Field, DataField[]> _below = new(ReferenceEqualityComparer.Instance);
    private readonly IReadOnlyList<Field> _fields;

    private ParquetColumns(IReadOnlyList<Field> fields) => _fields = fields;

    /// <summary>Rough size of the last row in bytes.</summary>
    public int RowSize { get; private set; }

    /// <summary>Reads a group's columns.</summary>
    public static ParquetColumns Read(ParquetSchema schema, ParquetRowGroupReader group)
    {
        ParquetColumns columns = new(schema.Fields);
        try
        {
            foreach (Field field in schema.Fields)
            {
                foreach (DataField leaf in columns.LeavesOf(field, 0))
                    columns._leaves[leaf] = new ParquetLeaf(leaf, group.ReadRawColumnDataBaseAsync(leaf).AsTask().GetAwaiter().GetResult());
            }
            return columns;
        }
        catch
        {
            columns.Dispose();
            throw;
        }
    }

    /// <summary>The next row. Absent values are absent keys.</summary>
    /// <exception cref="InvalidDataException">The levels of a column contradict each other or end early.</exception>
    public JsonObject NextRow()
    {
        RowSize = 0;
        return Object(_fields);
    }

    public void Dispose()
    {
        foreach (ParquetLeaf leaf in _leaves.Values) leaf.Dispose();
    }

    private JsonObject Object(IEnumerable<Field> fields)
    {
        var row = new JsonObject();
        foreach (Field field in fields)
            if (Value(field) is { } value) row[field.Name] = value;
        return row;
    }

    private JsonNode? Value(Field field)
    {
        RowSize += 8;
        switch (field)
        {
            case ListField list:
                // The level counts the entry itself: below it the list is empty or missing, one more below it missing.
                return Repeated(field, list.IsNullable, () => Value(list.Item));
            case MapField map:
                var entries = new JsonObject();
                return Repeated(field, map.IsNullable, () =>
                {
                    JsonNode? key = Value(map.Key), value = Value(map.Value);
                    entries[key?.ToString() ?? ""] = value;
                    return null;
                }) is null ? null : entries;
            case StructField structure:
                if (FirstLeaf(structure).Definition < structure.MaxDefinitionLevel)
                {
                    Skip(structure);
                    return null;
                }
                return Object(structure.Fields);
            case DataField { IsArray: true } array:
                return Repeated(field, nullable: false, () => Take(array));
            case DataField leaf:
                return Take(leaf);
            default:
                throw new InvalidDataException($"column '{field.Name}' is of a kind that is not known");
        }
    }

    private JsonNode? Take(DataField field)
    {
        ParquetLeaf leaf = _leaves[field];
        JsonNode? value = leaf.Take(out int size);
        RowSize += size;
        return value;
    }

    private JsonArray? Repeated(Field list, bool nullable, Func<JsonNode?> item)
    {
        ParquetLeaf first = FirstLeaf(list);
        int definition = first.Definition;
        var array = new JsonArray();
        if (definition < list.MaxDefinitionLevel)
        {
            Skip(list);
            return nullable && definition < list.MaxDefinitionLevel - 1 ? null : array;
        }
        do array.Add(item());
        while (first.Repetition == list.MaxRepetitionLevel);
        return array;
    }

    // What is missing stands in each of its columns as one entry.
    private void Skip(Field field)
    {
        foreach (DataField leaf in _below[field]) _leaves[leaf].Take(out _);
    }

    private ParquetLeaf FirstLeaf(Field field) => _leaves[_below[field][0]];

    private DataField[] LeavesOf(Field field, int depth)
    {
        if (depth > 32) throw new InvalidDataException("its columns are nested too deeply");
        DataField[] leaves = field switch
        {
            DataField leaf => [leaf],
            ListField list => LeavesOf(list.Item, depth + 1),
            MapField map => [.. LeavesOf(map.Key, depth + 1), .. LeavesOf(map.Value, depth + 1)],
            StructField structure => [.. structure.Fields.SelectMany(f => LeavesOf(f, depth + 1))],
            _ => [],
        };
        if (leaves.Length == 0) throw new InvalidDataException($"column '{field.Name}' holds nothing");
        return _below[field] = leaves;
    }
}

/// <summary>One column of a row group, read entry by entry.</summary>
internal sealed class ParquetLeaf : IDisposable
{
    private readonly DataField _field;
    private readonly RawColumnData _data;
    private readonly int _entries;
    private readonly int _values;
    private int _entry;
    private int _value;

    public ParquetLeaf(DataField field, RawColumnData data)
    {
        (_field, _data, _values) = (field, data, Count(data));
        _entries = field.MaxDefinitionLevel > 0 ? data.DefinitionLevels.Length : _values;
        if (field.MaxRepetitionLevel > 0 && data.RepetitionLevels.Length != _entries) throw new InvalidDataException($"column '{field.Path}' has levels that don't agree");
    }

    /// <summary>How much of the path to the next entry is there.</summary>
    public int Definition => _entry >= _entries ? throw Short() : _field.MaxDefinitionLevel > 0 ? _data.DefinitionLevels[_entry] : 0;

    /// <summary>Which list the next entry continues; 0 for a new row, -1 at the end.</summary>
    public int Repetition => _entry >= _entries ? -1 : _field.MaxRepetitionLevel > 0 ? _data.RepetitionLevels[_entry] : 0;

    /// <summary>The next entry's value, null if it has none.</summary>
    public JsonNode? Take(out int size)
    {
        size = 0;
        bool defined = Definition == _field.MaxDefinitionLevel;
        _entry++;
        if (!defined) return null;
        int i = _value++;
        if (i >= _values) throw Short();
        switch (_data)
        {
            case RawColumnData<ReadOnlyMemory<char>> text:
                size = text.Values[i].Length;
                return JsonValue.Create(new string(text.Values[i].Span));
            case RawColumnData<ReadOnlyMemory<byte>> bytes:
                size = bytes.Values[i].Length;
                return JsonValue.Create(Encoding.UTF8.GetString(bytes.Values[i].Span));
            case RawColumnData<bool> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<sbyte> v: return JsonValue.Create((int)v.Values[i]);
            case RawColumnData<byte> v: return JsonValue.Create((int)v.Values[i]);
            case RawColumnData<short> v: return JsonValue.Create((int)v.Values[i]);
            case RawColumnData<ushort> v: return JsonValue.Create((int)v.Values[i]);
            case RawColumnData<int> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<uint> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<long> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<ulong> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<float> v: return float.IsFinite(v.Values[i]) ? JsonValue.Create(v.Values[i]) : null;
            case RawColumnData<double> v: return double.IsFinite(v.Values[i]) ? JsonValue.Create(v.Values[i]) : null;
            case RawColumnData<decimal> v: return JsonValue.Create(v.Values[i]);
            case RawColumnData<DateTime> v: return JsonValue.Create(v.Values[i].ToString("O", CultureInfo.InvariantCulture));
            // Times, intervals and the like: no form of row reads them.
            default: return null;
        }
    }

    public void Dispose() => _data.Dispose();

    private InvalidDataException Short() => new($"column '{_field.Path}' ends before the rows do");

    private static int Count(RawColumnData data) => data switch
    {
        RawColumnData<ReadOnlyMemory<char>> v => v.Values.Length,
        RawColumnData<ReadOnlyMemory<byte>> v => v.Values.Length,
        RawColumnData<bool> v => v.Values.Length,
        RawColumnData<sbyte> v => v.Values.Length,
        RawColumnData<byte> v => v.Values.Length,
        RawColumnData<short> v => v.Values.Length,
        RawColumnData<ushort> v => v.Values.Length,
        RawColumnData<int> v => v.Values.Length,
        RawColumnData<uint> v => v.Values.Length,
        RawColumnData<long> v => v.Values.Length,
        RawColumnData<ulong> v => v.Values.Length,
        RawColumnData<float> v => v.Values.Length,
        RawColumnData<double> v => v.Values.Length,
        RawColumnData<decimal> v => v.Values.Length,
        RawColumnData<DateTime> v => v.Values.Length,
        // Never looked at; a column without levels has as many entries as it has rows.
        _ => int.MaxValue,
    };
}
