namespace LoraNet.Formats;

/// <summary>Turns the exceptions of the file system into messages that name the path and what to do.</summary>
internal static class FileErrors
{
    /// <summary>True for the exceptions that file access throws for reasons outside the program.</summary>
    public static bool IsFileError(Exception e) =>
        e is IOException or UnauthorizedAccessException or System.Security.SecurityException or NotSupportedException or ArgumentException;

    /// <summary>The message for a file that could not be read.</summary>
    public static LoraNetException Reading(string path, Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => new LoraNetException($"{path} does not exist.", "Check the path.", e),
        UnauthorizedAccessException when Directory.Exists(path) => new LoraNetException($"{path} is a folder, not a file.", null, e),
        UnauthorizedAccessException => new LoraNetException($"{path} cannot be read: permission denied.", "Check the owner and the permissions of the file.", e),
        _ => new LoraNetException($"{path} cannot be read: {e.Message}", null, e),
    };

    /// <summary>The message for a file or folder that could not be written; nothing that existed before was changed.</summary>
    public static LoraNetException Writing(string path, Exception e)
    {
        string advice = "Nothing that was there before has been changed.";
        if (IsDiskFull(e)) return new LoraNetException($"{path} cannot be written: the disk is full.", $"Free some space or choose another folder. {advice}", e);
        return e switch
        {
            DirectoryNotFoundException => new LoraNetException($"{path} cannot be written: its folder does not exist.", "Create the folder first.", e),
            UnauthorizedAccessException => new LoraNetException($"{path} cannot be written: permission denied or read-only.", $"Choose a folder you may write to. {advice}", e),
            _ => new LoraNetException($"{path} cannot be written: {e.Message}", advice, e),
        };
    }

    // ENOSPC (28), EDQUOT (122 on Linux), ERROR_HANDLE_DISK_FULL (39) and ERROR_DISK_FULL (112) as .NET reports them.
    private static bool IsDiskFull(Exception e) =>
        e is IOException && (OperatingSystem.IsWindows() ? (e.HResult & 0xFFFF) is 39 or 112 : e.HResult is 28 or 122);
}
