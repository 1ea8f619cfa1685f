using LoraNet.Data;

namespace LoraNet.Models.Encoders;

/// <summary>The real tokens of a few samples as lists, before they become an <see cref="EncoderBatch"/>; the lists are reused.</summary>
internal sealed class EncoderRows
{
    public List<int> Ids { get; } = [];

    public List<int> Positions { get; } = [];

    public List<int> Types { get; } = [];

    /// <summary>Real tokens of each sample, and then the samples of padding.</summary>
    public List<int> Segments { get; } = [];

    /// <summary>Row of the first token of each real sample.</summary>
    public List<int> FirstTokens { get; } = [];

    /// <summary>Class or value of each real sample.</summary>
    public List<double> Labels { get; } = [];

    /// <summary>Real tokens of the longest sample.</summary>
    public int Longest { get; private set; }

    /// <summary>Replaces the contents.</summary>
    /// <exception cref="LoraNetException">A row is empty, padded on the left or too long, lengths disagree, or an id or label is out of range.</exception>
    public void Fill(IReadOnlyList<ClassificationRow> rows, EncoderOptions options)
    {
        Ids.Clear();
        Positions.Clear();
        Types.Clear();
        Segments.Clear();
        FirstTokens.Clear();
        Labels.Clear();
        Longest = 0;
        for (int r = 0; r < rows.Count; r++)
        {
            ClassificationRow row = rows[r];
            Check(row, r, options);
            Labels.Add(row.Label);
            FirstTokens.Add(Ids.Count);
            int before = Ids.Count, counted = 0;
            for (int c = 0; c < row.InputIds.Length; c++)
            {
                int id = row.InputIds[c];
                int position = c;
                // RoBERTa counts by id, not by mask, as transformers does.
                if (options.PositionsAfter is { } padding) position = id == padding ? padding : padding + ++counted;
                if (row.AttentionMask is not null && row.AttentionMask[c] == 0) continue;
                if ((uint)id >= (uint)options.VocabularySize)
                    throw new LoraNetException($"Row {r}, position {c}: token id {id} is outside the model's vocabulary of {options.VocabularySize}.", "Use the tokenizer that belongs to this model.");
                int type = row.TokenTypeIds?[c] ?? 0;
                if ((uint)type >= (uint)options.TokenTypes)
                    throw new LoraNetException($"Row {r}, position {c}: token type {type} is outside the model's {options.TokenTypes}.", "RoBERTa has one token type: leave token_type_ids out.");
                if (position >= options.Positions)
                    throw new LoraNetException($"Row {r} has {row.InputIds.Length} tokens; the model has positions for {options.Positions - (options.PositionsAfter + 1 ?? 0)}.", "Lower --max-length.");
                Ids.Add(id);
                Positions.Add(position);
                Types.Add(type);
            }
            Segments.Add(Ids.Count - before);
            Longest = Math.Max(Longest, Ids.Count - before);
        }
    }

    /// <summary>Appends samples of padding that no head reads, so that batches of similar size become equal in size. Nothing sees them and
    /// their gradients are exact zeros.</summary>
    /// <param name="tokens">Tokens afterwards.</param>
    /// <param name="options">The model.</param>
    public void Pad(int tokens, EncoderOptions options)
    {
        int first = options.PositionsAfter + 1 ?? 0, longest = Math.Clamp(options.Positions - first, 1, Longest);
        for (int added; (added = Math.Min(tokens - Ids.Count, longest)) > 0;)
        {
            for (int c = 0; c < added; c++)
            {
                Ids.Add(0);
                Positions.Add(Math.Min(first + c, options.Positions - 1));
                Types.Add(0);
            }
            Segments.Add(added);
        }
    }

    private static void Check(ClassificationRow row, int r, EncoderOptions options)
    {
        int length = row.InputIds.Length, mask = row.AttentionMask?.Length ?? length, types = row.TokenTypeIds?.Length ?? length;
        if (mask != length || types != length)
            throw new LoraNetException($"Row {r}: input_ids has {length} entries, attention_mask {mask}, token_type_ids {types}; they must agree.");
        if (length == 0) throw new LoraNetException($"Row {r} has no tokens.");
        // The head reads column 0; a padded one would be noise in transformers too.
        if (row.AttentionMask is not null && row.AttentionMask[0] == 0) throw new LoraNetException($"Row {r} begins with padding.", "Pad encoders' rows on the right: the head reads the first token.");
        if (!options.Regression && (row.Label != Math.Floor(row.Label) || row.Label < 0 || row.Label >= options.Labels))
            throw new LoraNetException($"Row {r}: label {row.Label} is not one of the model's {options.Labels} classes.", $"Classes are numbered from 0 to {options.Labels - 1}.");
        if (!double.IsFinite(row.Label)) throw new LoraNetException($"Row {r}: label {row.Label} is not a finite number.");
    }
}
