using System.Diagnostics;
using System.Runtime.CompilerServices;
using LoraNet.Data;
using LoraNet.Data.Packing;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace LoraNet.Training;

/// <summary>
/// Trains the active adapter of a model. The loop is <see cref="RunAsync"/>: take rows, forward and backward each
/// micro-batch, update, evaluate, save.
/// </summary>
public sealed partial class LoraTrainer : IDisposable
{
    private readonly ITrainingTask _task;
    private readonly Arena _arena;
    private readonly Tape _tape;
    private readonly Tensor _lossSum;
    private readonly ForwardContext _context;
    private readonly ILogger _logger;
    private readonly AdaLoraAllocator? _allocator;
    private string? _dataHash;
    private bool _rehearsed;

    /// <summary>Prepares a run; nothing is trained yet.</summary>
    /// <param name="model">The model with an active, trainable adapter.</param>
    /// <param name="rows">Training rows; each has at least one trained token.</param>
    /// <param name="options">Settings.</param>
    /// <param name="evalRows">Held-out rows, or null.</param>
    /// <param name="logger">Receives skipped steps, evaluations and checkpoints.</param>
    /// <exception cref="LoraNetException">No rows, nothing trainable, or a row without a trained token.</exception>
    public LoraTrainer(CausalLM model, IReadOnlyList<TokenRow> rows, TrainingOptions options, IReadOnlyList<TokenRow>? evalRows = null, ILogger? logger = null)
        : this(new LanguageModelTask(model, PackedRow.Single(rows), evalRows), options, logger)
    {
    }

    /// <summary>Prepares a run over packed rows: each counts as one row of a batch, and its samples don't see each other.</summary>
    /// <param name="model">The model with an active, trainable adapter.</param>
    /// <param name="rows">Packed training rows; each has at least one trained token.</param>
    /// <param name="options">Settings.</param>
    /// <param name="evalRows">Held-out rows, or null.</param>
    /// <param name="logger">Receives skipped steps, evaluations and checkpoints.</param>
    /// <exception cref="LoraNetException">No rows, nothing trainable, or a row without a trained token.</exception>
    public LoraTrainer(CausalLM model, IReadOnlyList<PackedRow> rows, TrainingOptions options, IReadOnlyList<TokenRow>? evalRows = null, ILogger? logger = null)
        : this(new LanguageModelTask(model, rows, evalRows), options, logger)
    {
    }

    /// <summary>Prepares a run over the samples of a classifier.</summary>
    /// <param name="model">The classifier with an active, trainable adapter.</param>
    /// <param name="rows">Training samples.</param>
    /// <param name="options">Settings.</param>
    /// <param name="evalRows">Held-out samples, or null.</param>
    /// <param name="logger">Receives skipped steps, evaluations and checkpoints.</param>
    /// <exception cref="LoraNetException">No rows, or nothing trainable.</exception>
    public LoraTrainer(SequenceClassifier model, IReadOnlyList<ClassificationRow> rows, TrainingOptions options, IReadOnlyList<ClassificationRow>? evalRows = null, ILogger? logger = null)
        : this(new ClassificationTask(model, rows, evalRows), options, logger)
    {
    }

    /// <summary>Prepares a run of any task.</summary>
    /// <param name="task">Model and data.</param>
    /// <param name="options">Settings.</param>
    /// <param name="logger">Receives skipped steps, evaluations and checkpoints.</param>
    /// <exception cref="LoraNetException">No rows, or nothing trainable.</exception>
    public LoraTrainer(ITrainingTask task, TrainingOptions options, ILogger? logger = null)
    {
        options.Validate();
        if (task.Count == 0) throw new LoraNetException("There are no training rows.", "Check the data file and its filters.");
        PretrainedModel model = task.Model;
        LoraFaProjection? projection = options.LoraFa ? LoraFaProjection.Create(model) : null;
        List<Parameter> parameters = [.. model.TrainableParameters.DistinctBy(p => p.Value)];
        if (parameters.Count == 0) throw new LoraNetException("Nothing is trainable.", "Attach an adapter with AddAdapter, or activate one with SetAdapter.");
        (_task, Options) = (task, options);
        _logger = logger ?? NullLogger.Instance;
        Optimizer = new Optimizer(model.Backend, parameters, options, projection);
        Order = new RowOrder(task.Count, options.BatchSize * options.GradientAccumulation, options.Seed, options.Shuffle);
        TotalSteps = options.MaxSteps ?? Math.Max(1, (int)Math.Ceiling(options.Epochs * Order.StepsPerEpoch));
        int warmup = options.WarmupSteps ?? (int)Math.Ceiling(options.WarmupRatio * TotalSteps);
        Schedule = new LearningRateSchedule(options.Schedule, options.LearningRate, warmup, TotalSteps);
        _arena = new Arena(model.Backend);
        _tape = new Tape(_arena);
        Plan = task.Plan(_tape, options, parameters.Sum(p => p.Value.Count));
        _allocator = AdaLoraAllocator.Create(model, TotalSteps);
        _lossSum = model.Backend.Create(model.Backend.ParameterType, 1);
        _context = new ForwardContext { Training = true, Seed = options.Seed };
    }

    /// <summary>The trained model.</summary>
    public PretrainedModel Model => _task.Model;

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

    /// <summary>A hash of all training rows, so that a run is not resumed on other data.</summary>
    public string DataHash
    {
        get
        {
            if (_dataHash is not null) return _dataHash;
            using System.Security.Cryptography.IncrementalHash hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
            _task.AppendTo(hash);
            return _dataHash = Convert.ToHexStringLower(hash.GetHashAndReset());
        }
    }

    /// <summary>AdaLoRA's state; null for other methods.</summary>
    internal AdaLoraAllocator? Allocator => _allocator;

    /// <summary>Where the run stands; restored by <see cref="CheckpointStore"/>.</summary>
    public TrainerState State { get; set; } = new();

    /// <summary>Planned memory and what the steps keep, or null where the task does not plan.</summary>
    public MemoryPlan? Plan { get; }

    /// <summary>Bytes of step buffers.</summary>
    public long ArenaBytes => _arena.ReservedBytes;

    /// <summary>
    /// Runs the remaining steps. A cancelled token ends the run after the step at hand, with a checkpoint if there is a store.
    /// </summary>
    /// <param name="checkpoints">Where checkpoints go, or null for none.</param>
    /// <param name="progress">Receives each step besides the enumeration.</param>
    /// <param name="cancellationToken">Ends the run after the step at hand.</param>
    /// <exception cref="LoraNetException">Three steps in a row were not finite.</exception>
    public async IAsyncEnumerable<StepResult> RunAsync(
        CheckpointStore? checkpoints = null, IProgress<StepResult>? progress = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (State.CompletedSteps < TotalSteps && !State.Stopped && !cancellationToken.IsCancellationRequested)
        {
            StepResult result = Step();
            if (!result.Applied) LogSkipped(result.Step, result.Loss, result.GradientNorm);
            if (State.SkippedInARow == 3)
                throw new LoraNetException($"Loss or gradient was not finite in three steps in a row, the last being step {result.Step}.", "Lower --learning-rate; the last good checkpoint is intact.");
            bool last = State.CompletedSteps == TotalSteps;
            if (_task.HasHeldOut && (last || (Options.EvalSteps > 0 && State.CompletedSteps % Options.EvalSteps == 0)))
            {
                result = result with { EvalLoss = EvaluateHeldOut().Loss };
                Judge(result.EvalLoss.Value);
            }
            bool due = Options.SaveSteps > 0 && State.CompletedSteps % Options.SaveSteps == 0;
            bool best = result.EvalLoss is not null && State.BestStep == State.CompletedSteps && Options.EarlyStoppingPatience > 0;
            // Reported before it is saved: a checkpoint never knows of a step that a log of the reports lacks.
            progress?.Report(result);
            if (checkpoints is not null && (due || best)) checkpoints.Save(this);
            yield return result;
            await Task.Yield();
        }
        if (cancellationToken.IsCancellationRequested && State.CompletedSteps > 0) checkpoints?.Save(this);
    }

    /// <summary>One optimizer step: zero gradients, forward and backward of each micro-batch, clip, update.</summary>
    public StepResult Step()
    {
        long start = Stopwatch.GetTimestamp();
        Backend backend = Model.Backend;
        int step = State.CompletedSteps;
        ReadOnlySpan<int> rows = Order.Rows(step);
        int trained = 0;
        foreach (int row in rows) trained += _task.TrainedCount(row);
        _context.Step = (uint)step;
        if (!_rehearsed) Optimizer.Rehearse(_lossSum);
        _rehearsed = true;
        Optimizer.ZeroGradients();
        backend.Zero(_lossSum);
        BatchSizes sizes = default;
        try
        {
            for (int first = 0; first < rows.Length; first += Options.BatchSize)
                sizes += _task.Accumulate(_tape, rows.Slice(first, Math.Min(Options.BatchSize, rows.Length - first)), _context, 1f / trained, _lossSum, sizes);
        }
        catch
        {
            // Half a step must not go back with the next one.
            _tape.Clear();
            throw;
        }
        double rate = Schedule.At(step);
        _allocator?.AddPenalty();
        Optimizer.Updates = State.Updates;
        (double norm, bool applied) = Optimizer.Step(rate, _lossSum);
        _allocator?.Allocate(step, applied, Options.MaxGradNorm > 0 && norm > Options.MaxGradNorm ? Options.MaxGradNorm / norm : 1);
        Span<float> sum = stackalloc float[1];
        backend.Download(_lossSum, sum);
        double loss = sum[0] / trained;
        State = State with { CompletedSteps = step + 1, Updates = Optimizer.Updates, SkippedInARow = applied ? 0 : State.SkippedInARow + 1 };
        double epoch = (step + 1) / (double)Order.StepsPerEpoch;
        return new StepResult(step + 1, epoch, loss, norm, rate, trained, (int)sizes.Tokens, Stopwatch.GetElapsedTime(start).TotalMilliseconds, applied) { PaddedTokens = sizes.Padded };
    }

    /// <summary>Mean loss of the held-out rows, without dropout.</summary>
    public EvaluationResult EvaluateHeldOut() => _task.EvaluateHeldOut(Options.BatchSize, _arena);

    /// <inheritdoc/>
    public void Dispose()
    {
        Optimizer.Dispose();
        (_task as IDisposable)?.Dispose();
        Model.Backend.Free(_lossSum);
        _arena.Dispose();
    }

    private void Judge(double evalLoss)
    {
        bool better = State.BestEvalLoss is null || evalLoss < State.BestEvalLoss;
        State = better
            ? State with { BestEvalLoss = evalLoss, BestStep = State.CompletedSteps, EvaluationsWithoutImprovement = 0 }
            : State with { EvaluationsWithoutImprovement = State.EvaluationsWithoutImprovement + 1 };
        if (Options.EarlyStoppingPatience > 0 && State.EvaluationsWithoutImprovement >= Options.EarlyStoppingPatience)
        {
            State = State with { Stopped = true };
            LogStopped(State.CompletedSteps, State.BestEvalLoss!.Value, State.BestStep);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Step {Step} was skipped: loss {Loss} or gradient norm {Norm} is not finite.")]
    private partial void LogSkipped(int step, double loss, double norm);

    [LoggerMessage(Level = LogLevel.Information, Message = "Stopped early after step {Step}: the best evaluation loss is {Best} at step {BestStep}.")]
    private partial void LogStopped(int step, double best, int bestStep);
}
