using System.Diagnostics;
using System.Runtime.CompilerServices;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Training;

/// <summary>
/// Trains the active adapter of a model. The loop is <see cref="RunAsync"/>: take rows, forward and backward each
/// micro-batch, update, evaluate, save.
/// </summary>
public sealed class LoraTrainer : IDisposable
{
    private readonly CausalLM _model;
    private readonly IReadOnlyList<TokenRow> _rows;
    private readonly IReadOnlyList<TokenRow> _evalRows;
    private readonly Arena _arena;
    private readonly Tape _tape;
    private readonly Tensor _lossSum;
    private readonly ForwardContext _context;

    /// <summary>Prepares a run; nothing is trained yet.</summary>
    /// <param name="model">The model with an active, trainable adapter.</param>
    /// <param name="rows">Training rows; each has at least one trained token.</param>
    /// <param name="options">Settings.</param>
    /// <param name="evalRows">Held-out rows, or null.</param>
    /// <exception cref="LoraNetException">No rows, nothing trainable, or a row without a trained token.</exception>
    public LoraTrainer(CausalLM model, IReadOnlyList<TokenRow> rows, TrainingOptions options, IReadOnlyList<TokenRow>? evalRows = null)
    {
        options.Validate();
        if (rows.Count == 0) throw new LoraNetException("There are no training rows.", "Check the data file and its filters.");
        for (int i = 0; i < rows.Count; i++)
            if (rows[i].TrainedTokens == 0) throw new LoraNetException($"Training row {i + 1} has no trained token: all labels are masked.", "Remove the row, or raise --max-length if its answer was cut off.");
        List<Parameter> parameters = [.. model.TrainableParameters.DistinctBy(p => p.Value)];
        if (parameters.Count == 0) throw new LoraNetException("Nothing is trainable.", "Attach an adapter with AddAdapter, or activate one with SetAdapter.");
        (_model, _rows, _evalRows, Options) = (model, rows, evalRows ?? [], options);
        Optimizer = new Optimizer(model.Backend, parameters, options);
        Order = new RowOrder(rows.Count, options.BatchSize * options.GradientAccumulation, options.Seed, options.Shuffle);
        TotalSteps = options.MaxSteps ?? Math.Max(1, (int)Math.Ceiling(options.Epochs * Order.StepsPerEpoch));
        int warmup = options.WarmupSteps ?? (int)Math.Ceiling(options.WarmupRatio * TotalSteps);
        Schedule = new LearningRateSchedule(options.Schedule, options.LearningRate, warmup, TotalSteps);
        _arena = new Arena(model.Backend);
        _tape = new Tape(_arena);
        _lossSum = model.Backend.Create(model.Backend.ParameterType, 1);
        _context = new ForwardContext { Training = true, Seed = options.Seed };
    }

    /// <summary>Settings of the run.</summary>
    public TrainingOptions Options { get; }

    /// <summary>The optimizer with its moments.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Which rows each step takes.</summary>
    public RowOrder Order { get; }

    /// <summary>Learning rate by step.</summary>
    public LearningRateSchedule Schedule { get; }

    /// <summary>Steps of the whole run.</summary>
    public int TotalSteps { get; }

    /// <summary>Steps done; set by resuming.</summary>
    public int CompletedSteps { get; set; }

    /// <summary>Bytes of step buffers.</summary>
    public long ArenaBytes => _arena.ReservedBytes;

    /// <summary>Runs the remaining steps. A cancelled token ends the run after the step at hand.</summary>
    public async IAsyncEnumerable<StepResult> RunAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        int skippedInARow = 0;
        while (CompletedSteps < TotalSteps && !cancellationToken.IsCancellationRequested)
        {
            StepResult result = Step();
            skippedInARow = result.Applied ? 0 : skippedInARow + 1;
            if (_evalRows.Count > 0 && (CompletedSteps == TotalSteps || (Options.EvalSteps > 0 && CompletedSteps % Options.EvalSteps == 0)))
                result = result with { EvalLoss = Evaluate(_evalRows).Loss };
            yield return result;
            if (skippedInARow == 3)
                throw new LoraNetException($"Loss or gradient was not finite in three steps in a row, the last being step {result.Step}.", "Lower --learning-rate; the last good checkpoint is intact.");
            await Task.Yield();
        }
    }

    /// <summary>One optimizer step.</summary>
    public StepResult Step()
    {
        Stopwatch watch = Stopwatch.StartNew();
        Backend backend = _model.Backend;
        int step = CompletedSteps;
        int[] indices = Order.Rows(step).ToArray();
        int trained = indices.Sum(i => _rows[i].TrainedTokens);
        _context.Step = (uint)step;
        Optimizer.ZeroGradients();
        backend.Zero(_lossSum);
        long tokens = 0, trainedSoFar = 0;
        foreach (int[] chunk in indices.Chunk(Options.BatchSize))
        {
            using TokenBatch batch = TokenBatch.Create(backend, [.. chunk.Select(i => _rows[i])], _model.Options.VocabularySize);
            _model.AccumulateLoss(_tape, batch, _context, 1f / trained, _lossSum, tokens, trainedSoFar);
            tokens += batch.Tokens;
            trainedSoFar += batch.TrainedTokens;
            backend.Synchronize();
        }
        double rate = Schedule.At(step);
        (double norm, bool applied) = Optimizer.Step(rate, _lossSum);
        double loss = backend.Download(_lossSum)[0] / trained;
        CompletedSteps++;
        double epoch = CompletedSteps / (double)Order.StepsPerEpoch;
        return new StepResult(CompletedSteps, epoch, loss, norm, rate, trained, (int)tokens, watch.Elapsed.TotalMilliseconds, applied);
    }

    /// <summary>Mean loss over the trained tokens of <paramref name="rows"/>, without dropout.</summary>
    public EvaluationResult Evaluate(IReadOnlyList<TokenRow> rows) => Evaluator.Evaluate(_model, rows, Options.BatchSize, _arena);

    /// <inheritdoc/>
    public void Dispose()
    {
        Optimizer.Dispose();
        _model.Backend.Free(_lossSum);
        _arena.Dispose();
    }
}
