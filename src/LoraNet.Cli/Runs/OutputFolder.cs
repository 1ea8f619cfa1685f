using LoraNet.Formats;

namespace LoraNet.Cli.Runs;

/// <summary>The folder a run writes to.</summary>
internal static class OutputFolder
{
    /// <summary>Checks what can be checked without touching the disk.</summary>
    public static void Check(string path, string model)
    {
        if (File.Exists(path)) throw new LoraNetException($"--output {path} is a file.", "Choose a folder.");
        if (Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(model)))
            throw new LoraNetException($"--output {path} is the model's own folder.", "Choose another folder.");
    }

    /// <summary>Creates the folder if needed and writes and removes a small file, so that a run does not fail at its end.</summary>
    /// <exception cref="LoraNetException">It cannot be written to.</exception>
    public static void Prepare(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
            string probe = Path.Combine(path, $".write-test-{Environment.ProcessId}");
            File.WriteAllText(probe, "test");
            File.Delete(probe);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(path, e);
        }
    }
}
