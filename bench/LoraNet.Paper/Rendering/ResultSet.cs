using System.Globalization;
using System.IO.Compression;
using System.Text.Json.Nodes;

namespace LoraNet.Paper.Rendering;

/// <summary>Results of jobs, read from JSON lines.</summary>
internal sealed class ResultSet(IReadOnlyList<JsonObject> rows)
{
    /// <summary>All rows.</summary>
    public IReadOnlyList<JsonObject> Rows => rows;

    /// <summary>Reads a file (.jsonl or .jsonl.gz) or every such file of a folder. Rows that have no date get that of their file.</summary>
    /// <exception cref="LoraNetException">There is nothing to read, or a line is not an object.</exception>
    public static ResultSet Read(string path)
    {
        List<string> files = Directory.Exists(path)
            ? [.. Directory.EnumerateFiles(path).Where(f => f.EndsWith(".jsonl", StringComparison.Ordinal) || f.EndsWith(".jsonl.gz", StringComparison.Ordinal)).Order(StringComparer.Ordinal)]
            : [path];
        if (files.Count == 0 || !files.All(File.Exists)) throw new LoraNetException($"{path} has no results.", "Give a folder that the work command has written, or a file of results.");
        List<JsonObject> rows = [];
        foreach (string file in files)
        {
            string date = File.GetLastWriteTimeUtc(file).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
            using Stream stream = File.OpenRead(file);
            using StreamReader reader = new(file.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(stream, CompressionMode.Decompress) : stream);
            int number = 0;
            while (reader.ReadLine() is { } line)
            {
                number++;
                JsonObject row = JsonNode.Parse(line) as JsonObject ?? throw new LoraNetException($"{file}, line {number}: not a JSON object.");
                row["date"] ??= date;
                rows.Add(row);
            }
        }
        return new ResultSet(rows);
    }

    /// <summary>Rows of an experiment that were not quick trials.</summary>
    public IEnumerable<JsonObject> Of(string experiment) => rows.Where(r => Text(r, "experiment") == experiment && r["quick"] is null);

    /// <summary>A text of a row; empty when it has none.</summary>
    public static string Text(JsonObject row, string key) => row[key]?.ToString() ?? "";

    /// <summary>A number of a row; 0 when it has none.</summary>
    public static double Number(JsonObject row, string key) => row[key] is JsonValue value ? value.GetValue<double>() : 0;
}
