namespace LoraNet.Data;

/// <summary>How text becomes rows.</summary>
public sealed record DataOptions
{
    /// <summary>Longest row in tokens; longer ones are cut at the end.</summary>
    public int MaxLength { get; init; } = 1024;
}
