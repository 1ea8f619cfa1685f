namespace LoraNet.ChatTemplates;

/// <summary>The converted inputs of a rendering, so that rendering prefixes of one conversation converts it once.</summary>
internal sealed record ChatInput
{
    public object? Messages { get; init; }

    public object? Tools { get; init; }

    public bool AddGenerationPrompt { get; init; }

    public string? BosToken { get; init; }

    public string? EosToken { get; init; }

    public (string Name, object? Value)[] Variables { get; init; } = [];

    public ChatRenderOptions Options { get; init; } = ChatRenderOptions.Default;
}
