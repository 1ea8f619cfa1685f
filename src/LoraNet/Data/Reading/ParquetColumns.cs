using System.Text.Json.Nodes;
using Parquet;
using Parquet.Schema;

namespace LoraNet.Data.Reading;

/// <summary>
/// The columns of a row group put together to rows by their repetition and definition levels (Melnik et al., Dremel, 2010).
/// Parquet.Net's own rows without a class leave null entries of lists out, which would shift lists of labels against their tokens.
/// </summary>
internal sealed class ParquetColumns
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
        foreach (Field field in schema.Fields)
            foreach (DataField leaf in columns.LeavesOf(field, 0)) columns._leaves[leaf] = ParquetLeaf.Read(leaf, group);
        return columns;
    }

    /// <summary>The next row. Absent values are absent keys.</summary>
    /// <exception cref="InvalidDataException">The levels of a column contradict each other or end early.</exception>
    public JsonObject NextRow()
    {
        RowSize = 0;
        return Object(_fields);
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
