namespace LoraNet.Cli;

/// <summary>Exit codes of the command.</summary>
internal static class ExitCodes
{
    /// <summary>All went well.</summary>
    public const int Fine = 0;
    /// <summary>Something failed that is no mistake of the user's.</summary>
    public const int Failure = 1;
    /// <summary>A mistake in flags, recipe, files or data; the message says which.</summary>
    public const int UserError = 2;
    /// <summary>Stopped by Ctrl+C after saving.</summary>
    public const int Interrupted = 130;
}
