namespace LoraNet.ChatTemplates.Jinja;

/// <summary>
/// A mistake met while parsing or rendering. The engine adds the line of the template and turns it into a
/// <see cref="LoraNetException"/>; code inside the engine needs not know where it is running.
/// </summary>
internal sealed class TemplateFault(string message, string? advice = null, int line = 0) : Exception(message)
{
    public string? Advice { get; } = advice;

    /// <summary>The line when the thrower knows it better than the interpreter, else 0.</summary>
    public int Line { get; } = line;

    public static TemplateFault Unsupported(string what, int line = 0) => new(
        $"{what} is not supported", "Chat templates use a subset of Jinja; rewrite this part of the template with supported constructs.", line);
}
