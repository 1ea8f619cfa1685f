using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LoraNet.Data.Packing;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>Next-token prediction: each row is a pack of samples that don't see each other.</summary>
public sealed class LanguageModelTask : ITrainingTask, IDisposable
{
    private readonly CausalLM _model;
    private readonly IReadOnlyList<PackedRow> _rows;
    private readonly IReadOnlyList<TokenRow> _heldOut;
    private readonly List<TokenRow> _samples = [];
    private readonly UnpaddedRows _unpadded = new();
    private readonly RecordedBatches? _recorded;
    private TokenBatch? _batch;

    /// <summary>Joins a model and its data.</summary>
    /// <exception cref="LoraNetException">A row has no trained token.</exception>
    public LanguageModelTask(CausalLM model, IReadOnlyList<PackedRow> rows, IReadOnlyList<TokenRow>? heldOut = null)
    {
        for (int i = 0; i < rows.Count; i++)
            if (rows[i].TrainedTokens == 0) throw new LoraNetException($"Training row {i + 1} has no trained token: all labels are masked.", "Remove the row, or raise --max-length if its answer was cut off.");
        (_model, _rows, _heldOut) = (model, rows, heldOut ?? []);
        if (model.Backend.CanRecord && model.CanRecord) _recorded = new RecordedBatches(model);
    }

    /// <inheritdoc/>
    public PretrainedModel Model => _model;

    /// <inheritdoc/>
    public int Count => _rows.Count;

    /// <inheritdoc/>
    public bool HasHeldOut => _heldOut.Count > 0;

    /// <summary>Micro-batches so far that replayed recorded work, on backends that record.</summary>
    public int ReplayedBatches => _recorded?.Replays ?? 0;

    /// <inheritdoc/>
    public int TrainedCount(int row) => _rows[row].TrainedTokens;

    /// <inheritdoc/>
    public BatchSizes Accumulate(Tape tape, ReadOnlySpan<int> rows, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
    {
        _samples.Clear();
        int longest = 0;
        foreach (int row in rows)
        {
            _samples.AddRange(_rows[row].Rows);
            longest = Math.Max(longest, _rows[row].Length);
        }
        if (_recorded is not null)
        {
            BatchSizes sizes = _recorded.Accumulate(tape, _samples, context, gradScale, lossSum, before);
            return sizes with { Padded = (long)rows.Length * longest };
        }
        // Batches of one shape follow one another when rows are packed or of equal length: the next one moves into the last one's tensors.
        TokenBatch batch = _batch = TokenBatch.Replace(_batch, _model.Backend, _samples, _unpadded, _model.Options.VocabularySize);
        _model.AccumulateLoss(tape, batch, context, gradScale, lossSum, before.Tokens, before.Trained);
        return new BatchSizes(batch.Tokens, batch.TrainedTokens, (long)rows.Length * longest);
    }

    /// <inheritdoc/>
    public MemoryPlan? Plan(Tape tape, TrainingOptions options, long trained)
    {
        // The most a micro-batch can hold: the longest rows together.
        long tokens = _rows.Select(r => (long)r.Length).OrderDescending().Take(options.BatchSize).Sum();
        MemoryPlan plan = MemoryPlan.Of(_model, MemoryPlan.Adapted(_model), trained, tokens, _model.Backend.ComputeType.Size(), options.Activations, _model.Backend.AvailableBytes);
        tape.Policy = plan.Policy;
        _model.RecomputedLayers = plan.Recomputed;
        return plan;
    }

    /// <summary>Frees the last batch and what was recorded.</summary>
    public void Dispose()
    {
        _recorded?.Dispose();
        _batch?.Dispose();
        _batch = null;
    }

    /// <inheritdoc/>
    public EvaluationResult EvaluateHeldOut(int batchSize, Arena arena) => Evaluator.Evaluate(_model, _heldOut, batchSize, arena);

    /// <inheritdoc/>
    public void AppendTo(IncrementalHash hash)
    {
        foreach (PackedRow pack in _rows)
        {
            foreach (TokenRow row in pack.Rows)
            {
                hash.AppendData(MemoryMarshal.AsBytes(row.InputIds.AsSpan()));
                hash.AppendData(MemoryMarshal.AsBytes(row.Labels.AsSpan()));
                if (row.AttentionMask is not null) hash.AppendData(MemoryMarshal.AsBytes(row.AttentionMask.AsSpan()));
                if (row.Adapter is not null) hash.AppendData(MemoryMarshal.AsBytes(row.Adapter.AsSpan()));
                hash.AppendData([255]);
            }
            // A packed row's end, so that the same samples packed otherwise are other data; single rows hash as they always did.
            if (pack.Rows.Count > 1) hash.AppendData([254]);
        }
    }
}
