namespace LoraNet.Formats;

/// <summary>
/// Writes a folder aside and renames it into place, so that a folder under its final name is always complete:
/// checkpoints and exported models. Dispose without <see cref="Commit"/> removes what was written.
/// </summary>
/// <remarks>
/// An existing target is replaced by two renames (target to backup, new to target). If the program is killed between them
/// the backup remains, and the next <see cref="Begin"/> or <see cref="Recover"/> for the same target puts it back.
/// </remarks>
public sealed class AtomicDirectory : IDisposable
{
    private readonly string _target;
    private bool _done;

    private AtomicDirectory(string target, string temporary)
    {
        _target = target;
        TemporaryPath = temporary;
    }

    /// <summary>The folder to write into until <see cref="Commit"/>. It lies beside the target.</summary>
    public string TemporaryPath { get; }

    /// <summary>Creates the temporary folder, and the parent folders of the target.</summary>
    /// <exception cref="LoraNetException">The target is a file, or its parent cannot be written to.</exception>
    public static AtomicDirectory Begin(string path)
    {
        try
        {
            string target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
            if (File.Exists(target)) throw new LoraNetException($"{path} is a file, but a folder is to be written there.", "Choose another name.");
            Directory.CreateDirectory(Path.GetDirectoryName(target) ?? throw new LoraNetException($"{path} cannot be replaced: it is the root of a disk."));
            Recover(target);
            string temporary = Beside(target, $"{Guid.NewGuid():N}.tmp");
            Directory.CreateDirectory(temporary);
            return new AtomicDirectory(target, temporary);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(path, e);
        }
    }

    /// <summary>Puts a folder back that an interrupted <see cref="Commit"/> left under its backup name. True if it did.</summary>
    public static bool Recover(string path)
    {
        string target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        string backup = Beside(target, "replaced");
        if (!Directory.Exists(backup)) return false;
        if (Directory.Exists(target))
        {
            Directory.Delete(backup, recursive: true);
            return false;
        }
        Directory.Move(backup, target);
        return true;
    }

    /// <summary>Flushes every file to the disk and renames the folder to its final name, replacing what was there.</summary>
    /// <exception cref="LoraNetException">It cannot be renamed; the old folder is still there.</exception>
    public void Commit()
    {
        ObjectDisposedException.ThrowIf(_done, this);
        try
        {
            foreach (string file in Directory.EnumerateFiles(TemporaryPath, "*", SearchOption.AllDirectories))
            {
                using Microsoft.Win32.SafeHandles.SafeFileHandle handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite);
                RandomAccess.FlushToDisk(handle);
            }
            string backup = Beside(_target, "replaced");
            bool replace = Directory.Exists(_target);
            if (replace) Directory.Move(_target, backup);
            try
            {
                Directory.Move(TemporaryPath, _target);
            }
            catch when (replace)
            {
                Directory.Move(backup, _target);
                throw;
            }
            _done = true;
            if (replace) Directory.Delete(backup, recursive: true);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(_target, e);
        }
    }

    /// <summary>Removes the temporary folder if it was not committed.</summary>
    public void Dispose()
    {
        if (_done) return;
        _done = true;
        try
        {
            Directory.Delete(TemporaryPath, recursive: true);
        }
        catch (Exception e) when (FileErrors.IsFileError(e)) { }
    }

    private static string Beside(string target, string suffix) =>
        Path.Combine(Path.GetDirectoryName(target)!, $".{Path.GetFileName(target)}.{suffix}");
}
