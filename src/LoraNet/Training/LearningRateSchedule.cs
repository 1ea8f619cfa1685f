namespace LoraNet.Training;

/// <summary>The learning-rate schedules of Hugging Face transformers (optimization.py).</summary>
public enum ScheduleKind
{
    /// <summary>Always the same.</summary>
    Constant,
    /// <summary>Rises linearly, then stays.</summary>
    ConstantWithWarmup,
    /// <summary>Rises, then falls linearly to 0.</summary>
    Linear,
    /// <summary>Rises, then falls along half a cosine to 0.</summary>
    Cosine,
    /// <summary>Cosine with hard restarts (one cycle).</summary>
    CosineWithRestarts,
    /// <summary>Polynomial decay of power 1 to 1e-7.</summary>
    Polynomial,
    /// <summary>Falls with the inverse square root of the step.</summary>
    InverseSqrt,
}

/// <summary>Learning rate by step. Step 0 is the first; warm-up of w steps starts at 0.</summary>
/// <param name="Kind">Shape.</param>
/// <param name="LearningRate">Peak.</param>
/// <param name="WarmupSteps">Steps of linear warm-up.</param>
/// <param name="TotalSteps">Length of the run.</param>
public sealed record LearningRateSchedule(ScheduleKind Kind, double LearningRate, int WarmupSteps, int TotalSteps)
{
    /// <summary>Final learning rate of <see cref="ScheduleKind.Polynomial"/>.</summary>
    public const double PolynomialEnd = 1e-7;

    /// <summary>The rate used by update number <paramref name="step"/>, counted from 0.</summary>
    public double At(int step)
    {
        if (Kind == ScheduleKind.Constant) return LearningRate;
        if (step < WarmupSteps) return LearningRate * (step / (double)Math.Max(1, WarmupSteps));
        double progress = (step - WarmupSteps) / (double)Math.Max(1, TotalSteps - WarmupSteps);
        switch (Kind)
        {
            case ScheduleKind.ConstantWithWarmup: return LearningRate;
            case ScheduleKind.Linear: return LearningRate * Math.Max(0, (TotalSteps - step) / (double)Math.Max(1, TotalSteps - WarmupSteps));
            case ScheduleKind.Cosine: return LearningRate * Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * progress)));
            case ScheduleKind.CosineWithRestarts: return progress >= 1 ? 0 : LearningRate * Math.Max(0, 0.5 * (1 + Math.Cos(Math.PI * (progress % 1))));
            case ScheduleKind.Polynomial: return step > TotalSteps ? PolynomialEnd : (LearningRate - PolynomialEnd) * (1 - progress) + PolynomialEnd;
            case ScheduleKind.InverseSqrt:
                double timescale = WarmupSteps > 0 ? WarmupSteps : 10_000;
                return LearningRate / Math.Sqrt((step + timescale - WarmupSteps) / timescale);
            default: throw new InvalidOperationException($"Unknown schedule {Kind}.");
        }
    }

    /// <summary>Reads the command's names: constant, constant-with-warmup, linear, cosine, cosine-with-restarts, polynomial, inverse-sqrt (underscores too).</summary>
    public static ScheduleKind Parse(string name) => name.Replace('_', '-').ToLowerInvariant() switch
    {
        "constant" => ScheduleKind.Constant,
        "constant-with-warmup" => ScheduleKind.ConstantWithWarmup,
        "linear" => ScheduleKind.Linear,
        "cosine" => ScheduleKind.Cosine,
        "cosine-with-restarts" => ScheduleKind.CosineWithRestarts,
        "polynomial" => ScheduleKind.Polynomial,
        "inverse-sqrt" => ScheduleKind.InverseSqrt,
        _ => throw new LoraNetException($"Unknown learning-rate schedule '{name}'.", "Use constant, constant-with-warmup, linear, cosine, cosine-with-restarts, polynomial or inverse-sqrt."),
    };
}
