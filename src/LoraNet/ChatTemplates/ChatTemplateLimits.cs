namespace LoraNet.ChatTemplates;

/// <summary>
/// What one rendering may cost at most. Templates come with downloaded models, so they are untrusted programs:
/// they can't reach files, the network or .NET types at all, and these limits bound time and memory.
/// </summary>
public sealed record ChatTemplateLimits
{
    /// <summary>The default limits: enough for conversations of thousands of messages.</summary>
    public static ChatTemplateLimits Default { get; } = new();

    /// <summary>Work units: about one per evaluated node, list item, or 8 characters of made text.</summary>
    public long Steps { get; init; } = 20_000_000;

    /// <summary>Characters in the output or in any one text value.</summary>
    public int OutputCharacters { get; init; } = 32 * 1024 * 1024;

    /// <summary>Macros that may be running inside one another.</summary>
    public int CallDepth { get; init; } = 150;
}
