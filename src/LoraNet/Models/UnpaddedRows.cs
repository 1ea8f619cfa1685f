namespace LoraNet.Models;

/// <summary>The real tokens of a few samples as lists, before they become a <see cref="TokenBatch"/>; the lists are reused.</summary>
internal sealed class UnpaddedRows
{
    public List<int> Ids { get; } = [];

    public List<int> Positions { get; } = [];

    /// <summary>Real tokens of each sample that has any.</summary>
    public List<int> Segments { get; } = [];

    /// <summary>Sample and column of each token.</summary>
    public List<(int Row, int Column)> Origin { get; } = [];

    /// <summary>Tokens that predict a trained label.</summary>
    public List<int> TrainedRows { get; } = [];

    public List<int> TrainedTargets { get; } = [];

    /// <summary>Length of the longest sample, padding included.</summary>
    public int Longest { get; private set; }

    /// <summary>True when a sample names an adapter of its own.</summary>
    public bool OwnAdapters { get; private set; }

    /// <summary>Replaces the contents.</summary>
    /// <exception cref="LoraNetException">An id or label is outside the vocabulary, or lengths disagree.</exception>
    public void Fill(IReadOnlyList<TokenRow> rows, int vocabularySize)
    {
        Ids.Clear();
        Positions.Clear();
        Segments.Clear();
        Origin.Clear();
        TrainedRows.Clear();
        TrainedTargets.Clear();
        Longest = 0;
        OwnAdapters = false;
        for (int r = 0; r < rows.Count; r++)
        {
            TokenRow row = rows[r];
            int length = row.InputIds.Length;
            if (row.Labels.Length != length || (row.AttentionMask is not null && row.AttentionMask.Length != length))
                throw new LoraNetException($"Row {r}: input_ids has {length} entries, labels {row.Labels.Length}, attention_mask {row.AttentionMask?.Length ?? length}; they must agree.");
            Longest = Math.Max(Longest, length);
            OwnAdapters |= row.Adapter is not null;
            int before = Ids.Count;
            for (int c = 0; c < length; c++)
            {
                if (row.AttentionMask is not null && row.AttentionMask[c] == 0) continue;
                int id = row.InputIds[c];
                if ((uint)id >= (uint)vocabularySize)
                    throw new LoraNetException($"Row {r}, position {c}: token id {id} is outside the model's vocabulary of {vocabularySize}.", "Use the tokenizer that belongs to this model.");
                int label = c + 1 < length ? row.Labels[c + 1] : TokenRow.Ignored;
                if (label != TokenRow.Ignored && (uint)label >= (uint)vocabularySize)
                    throw new LoraNetException($"Row {r}, position {c + 1}: label {label} is outside the model's vocabulary of {vocabularySize}.", "Use -100 for tokens that are not trained.");
                if (label != TokenRow.Ignored)
                {
                    TrainedRows.Add(Ids.Count);
                    TrainedTargets.Add(label);
                }
                Ids.Add(id);
                Positions.Add(c);
                Origin.Add((r, c));
            }
            if (Ids.Count > before) Segments.Add(Ids.Count - before);
        }
    }

    /// <summary>Appends tokens that nothing trains, as samples of their own, and trained rows without a target, so that batches of
    /// similar size become equal in size. They add exact zeros to losses and gradients.</summary>
    /// <param name="tokens">Tokens afterwards.</param>
    /// <param name="trained">Trained rows afterwards.</param>
    /// <param name="positions">Tokens that a sample of padding may have.</param>
    public void Pad(int tokens, int trained, int positions)
    {
        for (int added; (added = Math.Min(tokens - Ids.Count, positions)) > 0;)
        {
            for (int c = 0; c < added; c++)
            {
                Ids.Add(0);
                Positions.Add(c);
                Origin.Add((-1, c));
            }
            Segments.Add(added);
        }
        while (TrainedRows.Count < trained)
        {
            TrainedRows.Add(-1);
            TrainedTargets.Add(-1);
        }
    }
}
