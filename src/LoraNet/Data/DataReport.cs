namespace LoraNet.Data;

/// <summary>What was found in a data set, shown before training.</summary>
public sealed record DataReport
{
    /// <summary>Rows read.</summary>
    public int Rows { get; init; }
    /// <summary>Rows cut to the longest length.</summary>
    public int Truncated { get; init; }
    /// <summary>Tokens of all rows.</summary>
    public long Tokens { get; init; }
    /// <summary>Trained tokens of all rows.</summary>
    public long TrainedTokens { get; init; }
    /// <summary>Length of the longest row.</summary>
    public int Longest { get; init; }
}
