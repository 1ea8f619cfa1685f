using System.Globalization;
using LoraNet.Data;
using LoraNet.Tokenizers;

namespace LoraNet.Paper.Experiments;

/// <summary>GLUE's tab-separated files. They have no quoting: a quotation mark is a character like any other.</summary>
internal static class GlueFiles
{
    private sealed record Layout(string Folder, bool Header, int First, int? Second, int Label, string? Positive);

    private static readonly Dictionary<string, Layout> _layouts = new()
    {
        ["cola"] = new("CoLA", false, 3, null, 1, "1"),
        ["sst2"] = new("SST-2", true, 0, null, 1, "1"),
        ["mrpc"] = new("MRPC", true, 3, 4, 0, "1"),
        ["rte"] = new("RTE", true, 1, 2, 3, "not_entailment"),
        ["stsb"] = new("STS-B", true, 7, 8, 9, null),
    };

    /// <summary>Rows of one file; too long ones are cut to <paramref name="longest"/> tokens, the separator kept.</summary>
    /// <exception cref="LoraNetException">The task is unknown, or a line is malformed.</exception>
    public static List<ClassificationRow> Read(string data, string task, string part, Tokenizer tokenizer, int longest)
    {
        if (!_layouts.TryGetValue(task, out Layout? layout)) throw new LoraNetException($"Unknown task '{task}'.", $"Tasks: {string.Join(", ", _layouts.Keys)}.");
        string path = Path.Combine(data, layout.Folder, part + ".tsv");
        if (!File.Exists(path)) throw new LoraNetException($"{path} does not exist.");
        List<ClassificationRow> rows = [];
        int number = 0;
        foreach (string line in File.ReadLines(path))
        {
            if (number++ == 0 && layout.Header) continue;
            string[] fields = line.Split('\t');
            if (fields.Length <= Math.Max(layout.Label, layout.Second ?? layout.First)) throw new LoraNetException($"{path}, line {number}: only {fields.Length} fields.");
            int[]? types = null;
            int[] ids = layout.Second is { } second ? tokenizer.EncodePair(fields[layout.First], fields[second], out types) : tokenizer.Encode(fields[layout.First]);
            if (ids.Length > longest)
            {
                int separator = ids[^1];
                (ids, types) = (ids[..longest], types?[..longest]);
                ids[^1] = separator;
            }
            double label = layout.Positive is { } positive ? (fields[layout.Label] == positive ? 1 : 0)
                : double.TryParse(fields[layout.Label], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : throw new LoraNetException($"{path}, line {number}: '{fields[layout.Label]}' is not a number.");
            rows.Add(new ClassificationRow(ids, null, types, label));
        }
        return rows;
    }
}
