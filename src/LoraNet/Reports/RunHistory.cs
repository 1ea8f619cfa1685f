using LoraNet.Training;

namespace LoraNet.Reports;

/// <summary>Loss on held-out rows after a step.</summary>
/// <param name="Step">Number of the step, from 0 (before training).</param>
/// <param name="Epoch">Epochs finished.</param>
/// <param name="Loss">Mean loss over trained tokens, in nats.</param>
public sealed record EvalPoint(int Step, double Epoch, double Loss);

/// <summary>The steps and evaluations of a run, in order.</summary>
public sealed class RunHistory
{
    private readonly List<StepResult> _steps = [];
    private readonly List<EvalPoint> _evals = [];

    /// <summary>Steps in order.</summary>
    public IReadOnlyList<StepResult> Steps => _steps;

    /// <summary>Evaluations in order.</summary>
    public IReadOnlyList<EvalPoint> Evaluations => _evals;

    /// <summary>The evaluation with the lowest loss, or null.</summary>
    public EvalPoint? Best => _evals.Where(static e => double.IsFinite(e.Loss)).MinBy(static e => e.Loss);

    /// <summary>Adds a step.</summary>
    public void Add(StepResult step) => _steps.Add(step);

    /// <summary>Adds an evaluation.</summary>
    public void Add(EvalPoint evaluation) => _evals.Add(evaluation);
}
