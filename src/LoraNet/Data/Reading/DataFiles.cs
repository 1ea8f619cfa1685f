namespace LoraNet.Data.Reading;

/// <summary>Finds the files behind a path and reads each by its kind.</summary>
internal static class DataFiles
{
    private static readonly string[] _endings = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet"];

    /// <summary>The files of a split, in the order of their names; a single file is every split.</summary>
    /// <returns>The files; empty when a folder has none of that split.</returns>
    public static IReadOnlyList<string> Find(string path, DataSplit split)
    {
        if (File.Exists(path)) return [path];
        if (!Directory.Exists(path)) throw new LoraNetException($"The data file '{path}' does not exist.", "Check the path.");
        try
        {
            List<string> all = Known(path);
            // Data sets from a hub keep their files in a folder of this name.
            if (all.Count == 0 && Directory.Exists(Path.Combine(path, "data"))) all = Known(Path.Combine(path, "data"));
            if (all.Count == 0) throw new LoraNetException($"The folder {path} has no data files.", $"Data files end in {string.Join(", ", _endings)}.");
            List<string> named = [.. all.Where(f => SplitOf(f) == split)];
            return named.Count > 0 || split != DataSplit.Train || all.Any(f => SplitOf(f) == DataSplit.Train) ? named : [.. all.Where(f => SplitOf(f) is null)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Formats.FileErrors.Reading(path, e);
        }

        static List<string> Known(string folder) =>
            [.. Directory.EnumerateFiles(folder).Where(f => _endings.Contains(Path.GetExtension(f).ToLowerInvariant()) && !Path.GetFileName(f).StartsWith('.')).Order(StringComparer.Ordinal)];
    }

    /// <summary>The rows of a file, one at a time.</summary>
    public static IEnumerable<SourceRow> Read(string path, TextUnit unit) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".jsonl" or ".ndjson" => JsonRows.Read(path, lines: true),
        ".json" => JsonRows.Read(path, lines: false),
        ".csv" => CsvRows.Read(path, ',', quoting: true),
        ".tsv" => CsvRows.Read(path, '\t', quoting: false),
        ".txt" => TextRows.Read(path, unit),
        ".parquet" => ParquetSupport.IsSupported ? ParquetRows.Read(path) : throw ParquetSupport.Missing(path),
        _ => JsonRows.LooksLikeJson(path) ? JsonRows.Read(path, lines: true) : throw Unknown(path),
    };

    // "train.jsonl", "train-00000-of-00002.parquet", "validation_1.json".
    private static DataSplit? SplitOf(string path)
    {
        string name = Path.GetFileNameWithoutExtension(path).ToLowerInvariant();
        int end = 0;
        while (end < name.Length && char.IsAsciiLetter(name[end])) end++;
        return name[..end] switch
        {
            "train" or "training" => DataSplit.Train,
            "valid" or "validation" or "val" or "dev" or "eval" => DataSplit.Validation,
            "test" => DataSplit.Test,
            _ => null,
        };
    }

    private static LoraNetException Unknown(string path) => new($"{path} has no ending that says what it holds.", $"Data files end in {string.Join(", ", _endings)}.");
}
