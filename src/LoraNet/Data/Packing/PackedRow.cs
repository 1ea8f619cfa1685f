using LoraNet.Models;

namespace LoraNet.Data.Packing;

/// <summary>
/// Samples that count as one row of a batch. They stay separate: each is a segment with positions of its own from 0 that attention
/// does not leave, and the first token of each is predicted by nothing.
/// </summary>
/// <param name="Rows">The samples.</param>
public sealed record PackedRow(IReadOnlyList<TokenRow> Rows)
{
    /// <summary>Tokens of all samples, padding included.</summary>
    public int Length { get; } = Rows.Sum(r => r.InputIds.Length);

    /// <summary>Trained tokens of all samples.</summary>
    public int TrainedTokens { get; } = Rows.Sum(r => r.TrainedTokens);

    /// <summary>Each row by itself: no packing.</summary>
    public static IReadOnlyList<PackedRow> Single(IReadOnlyList<TokenRow> rows) => [.. rows.Select(r => new PackedRow([r]))];
}
