namespace LoraNet;

/// <summary>
/// A mistake the user can mend: what is wrong, where it is (file, tensor, module path, line) and what to do.
/// The command prints <see cref="Exception.Message"/> and exits with code 2; no stack trace is shown.
/// </summary>
public sealed class LoraNetException : Exception
{
    /// <summary>Creates the error. Write the message as one sentence of cause and place.</summary>
    /// <param name="message">What is wrong and where.</param>
    /// <param name="advice">What the user can do about it, or null.</param>
    /// <param name="inner">The underlying exception, or null.</param>
    public LoraNetException(string message, string? advice = null, Exception? inner = null)
        : base(advice is null ? message : $"{message} {advice}", inner)
    {
        Advice = advice;
    }

    /// <summary>What the user can do about it, or null.</summary>
    public string? Advice { get; }
}
