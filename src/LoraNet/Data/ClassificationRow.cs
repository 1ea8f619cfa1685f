namespace LoraNet.Data;

/// <summary>One sample of a classifier.</summary>
/// <param name="InputIds">Token ids.</param>
/// <param name="AttentionMask">1 for real tokens, 0 for padding; null when all are real.</param>
/// <param name="TokenTypeIds">0 for the first text, 1 for the second; null when there is one text.</param>
/// <param name="Label">The class, counted from 0, or a number for regression.</param>
public sealed record ClassificationRow(int[] InputIds, int[]? AttentionMask, int[]? TokenTypeIds, double Label);
