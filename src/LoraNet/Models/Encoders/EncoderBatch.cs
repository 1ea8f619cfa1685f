using LoraNet.Data;
using LoraNet.Tensors;

namespace LoraNet.Models.Encoders;

/// <summary>
/// A batch without padding: the real tokens of all rows one after another, each row a segment that attention does not leave.
/// Results equal those of a padded batch.
/// </summary>
public sealed class EncoderBatch : IDisposable
{
    private readonly Backend _backend;

    private EncoderBatch(Backend backend, List<int> ids, List<int> positions, List<int> types, List<int> segments, double[] labels)
    {
        _backend = backend;
        Tokens = ids.Count;
        Labels = labels;
        Segments = [.. segments];
        int[] first = new int[segments.Count];
        for (int i = 1; i < first.Length; i++) first[i] = first[i - 1] + segments[i - 1];
        Ids = backend.CreateIndex([.. ids]);
        Positions = backend.CreateIndex([.. positions]);
        Types = backend.CreateIndex([.. types]);
        FirstTokens = backend.CreateIndex(first);
        Layout = AttentionLayout.Packed(Segments, causal: false);
    }

    /// <summary>Number of samples.</summary>
    public int Rows => Segments.Length;

    /// <summary>Number of real tokens.</summary>
    public int Tokens { get; }

    /// <summary>Real tokens of each sample.</summary>
    public int[] Segments { get; }

    /// <summary>Class or value of each sample.</summary>
    public double[] Labels { get; }

    /// <summary>Token ids [Tokens].</summary>
    public Tensor Ids { get; }

    /// <summary>Rows of the position embedding [Tokens].</summary>
    public Tensor Positions { get; }

    /// <summary>Rows of the token-type embedding [Tokens].</summary>
    public Tensor Types { get; }

    /// <summary>Row of the first token of each sample [Rows]: what the head reads.</summary>
    public Tensor FirstTokens { get; }

    /// <summary>Visible keys: the whole sample.</summary>
    public AttentionLayout Layout { get; }

    /// <summary>Unpads rows.</summary>
    /// <param name="backend">Where ids and positions are put.</param>
    /// <param name="rows">The samples.</param>
    /// <param name="options">The model: vocabulary, positions and labels must fit it.</param>
    /// <exception cref="LoraNetException">A row is empty, padded on the left or too long, lengths disagree, or an id or label is out of range.</exception>
    public static EncoderBatch Create(Backend backend, IReadOnlyList<ClassificationRow> rows, EncoderOptions options)
    {
        List<int> ids = [], positions = [], types = [], segments = [];
        double[] labels = new double[rows.Count];
        for (int r = 0; r < rows.Count; r++)
        {
            ClassificationRow row = rows[r];
            Check(row, r, options);
            labels[r] = row.Label;
            int before = ids.Count, counted = 0;
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
                ids.Add(id);
                positions.Add(position);
                types.Add(type);
            }
            segments.Add(ids.Count - before);
        }
        return new EncoderBatch(backend, ids, positions, types, segments, labels);
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

    /// <inheritdoc/>
    public void Dispose()
    {
        _backend.Free(Ids);
        _backend.Free(Positions);
        _backend.Free(Types);
        _backend.Free(FirstTokens);
    }
}
