namespace LoraNet.Training;

/// <summary>Everything of a run that is not a tensor: with the adapter and the moments it lets a run go on bit for bit.</summary>
public sealed record TrainerState
{
    /// <summary>Optimizer steps done, skipped ones included. Row order, dropout and schedule follow from it and the seed.</summary>
    public int CompletedSteps { get; init; }
    /// <summary>Updates applied, for Adam's bias correction.</summary>
    public int Updates { get; init; }
    /// <summary>Steps skipped in a row because of a non-finite loss or gradient.</summary>
    public int SkippedInARow { get; init; }
    /// <summary>Best evaluation loss, or null before the first.</summary>
    public double? BestEvalLoss { get; init; }
    /// <summary>Step of the best evaluation.</summary>
    public int BestStep { get; init; }
    /// <summary>Evaluations since the best one.</summary>
    public int EvaluationsWithoutImprovement { get; init; }
    /// <summary>Whether early stopping ended the run.</summary>
    public bool Stopped { get; init; }
}
