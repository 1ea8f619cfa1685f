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
    /// <param name="path">The folder.</param>
    /// <param name="bytes">What the run will surely write.</param>
    /// <exception cref="LoraNetException">It cannot be written to, or the disk is too full.</exception>
    public static void Prepare(string path, long bytes = 0)
    {
        try
        {
            Directory.CreateDirectory(path);
            string probe = Path.Combine(path, $".write-test-{Environment.ProcessId}");
            File.WriteAllText(probe, "test");
            File.Delete(probe);
            RemoveLeftovers(path);
            long free = FreeBytes(path);
            if (free < bytes)
                throw new LoraNetException($"{path} cannot be written: the disk is full. {Output.Format.Bytes(free)} are free, {Output.Format.Bytes(bytes)} are needed.", "Free some space or choose another folder with --output.");
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(path, e);
        }
    }

    private static long FreeBytes(string path)
    {
        try
        {
            return new DriveInfo(Path.GetFullPath(path)).AvailableFreeSpace;
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            return long.MaxValue;
        }
    }

    // Only our own files may be in it: other trainers' checkpoints have the same name.
    private static bool IsRemnant(string checkpoint) =>
        Directory.EnumerateFileSystemEntries(checkpoint).All(f => Path.GetFileName(f) is "adapter_config.json" or "adapter_model.safetensors" or "optimizer.safetensors");

    // What a killed run was writing aside, and checkpoints whose deletion it did not finish.
    private static void RemoveLeftovers(string path)
    {
        foreach (string file in Directory.EnumerateFiles(path, ".*.tmp")) File.Delete(file);
        foreach (string file in Directory.EnumerateFiles(path, ".write-test-*")) File.Delete(file);
        foreach (string folder in Directory.EnumerateDirectories(path, ".*.tmp")) Directory.Delete(folder, recursive: true);
        foreach (string folder in Directory.EnumerateDirectories(path, ".model-*")) Directory.Delete(folder, recursive: true);
        foreach (string folder in Directory.EnumerateDirectories(path, "checkpoint-*"))
            if (IsRemnant(folder)) Directory.Delete(folder, recursive: true);
    }
}
