namespace LoraNet.Training;

/// <summary>Settings of a training run, with Hugging Face's meanings.</summary>
public sealed record TrainingOptions
{
    /// <summary>Rows of a micro-batch.</summary>
    public int BatchSize { get; init; } = 8;
    /// <summary>Micro-batches of an optimizer step; the loss is divided once, by all trained tokens of the step.</summary>
    public int GradientAccumulation { get; init; } = 1;
    /// <summary>Passes over the data; ignored when <see cref="MaxSteps"/> is set.</summary>
    public double Epochs { get; init; } = 1;
    /// <summary>Optimizer steps; null for <see cref="Epochs"/>. Sets the schedule's length.</summary>
    public int? MaxSteps { get; init; }
    /// <summary>Peak learning rate.</summary>
    public double LearningRate { get; init; } = 2e-4;
    /// <summary>Decoupled weight decay of every trainable tensor.</summary>
    public double WeightDecay { get; init; }
    /// <summary>Decay of the first moment.</summary>
    public double AdamBeta1 { get; init; } = 0.9;
    /// <summary>Decay of the second moment.</summary>
    public double AdamBeta2 { get; init; } = 0.999;
    /// <summary>Added to the root of the second moment.</summary>
    public double AdamEpsilon { get; init; } = 1e-8;
    /// <summary>Schedule.</summary>
    public ScheduleKind Schedule { get; init; } = ScheduleKind.Linear;
    /// <summary>Warm-up steps; beats <see cref="WarmupRatio"/>.</summary>
    public int? WarmupSteps { get; init; }
    /// <summary>Warm-up as a share of all steps, rounded up.</summary>
    public double WarmupRatio { get; init; }
    /// <summary>Largest global gradient norm; 0 for no clipping.</summary>
    public double MaxGradNorm { get; init; } = 1;
    /// <summary>LoRA+ (Hayou et al., 2024): learning rate of B over that of A; 1 is plain.</summary>
    public double LoraPlusRatio { get; init; } = 1;
    /// <summary>LoRA-FA (Zhang et al., 2023): A is frozen, and B's gradient is projected.</summary>
    public bool LoraFa { get; init; }
    /// <summary>Seed of initialisation, order and dropout.</summary>
    public ulong Seed { get; init; } = 42;
    /// <summary>Shuffle each epoch.</summary>
    public bool Shuffle { get; init; } = true;
    /// <summary>What is kept of the forward for the backward.</summary>
    public ActivationChoice Activations { get; init; }
    /// <summary>Evaluate every so many steps; 0 only at the end.</summary>
    public int EvalSteps { get; init; }
    /// <summary>Write a checkpoint every so many steps; 0 for none.</summary>
    public int SaveSteps { get; init; }
    /// <summary>Keep only the newest so many checkpoints (and the best); 0 for all.</summary>
    public int SaveTotalLimit { get; init; }
    /// <summary>Stop after so many evaluations without a better loss; 0 for never.</summary>
    public int EarlyStoppingPatience { get; init; }

    /// <summary>Checks ranges.</summary>
    /// <exception cref="LoraNetException">A value is out of range.</exception>
    public void Validate()
    {
        Require(BatchSize > 0, "batch-size", BatchSize, "a positive number");
        Require(GradientAccumulation > 0, "gradient-accumulation", GradientAccumulation, "a positive number");
        Require(MaxSteps is null or > 0, "max-steps", MaxSteps ?? 0, "a positive number");
        Require(Epochs > 0 && double.IsFinite(Epochs), "epochs", Epochs, "a positive number");
        Require(LearningRate >= 0 && double.IsFinite(LearningRate), "learning-rate", LearningRate, "a number of 0 or more");
        Require(WeightDecay >= 0 && double.IsFinite(WeightDecay), "weight-decay", WeightDecay, "a number of 0 or more");
        Require(AdamBeta1 is >= 0 and < 1, "adam-beta1", AdamBeta1, "a number in [0, 1)");
        Require(AdamBeta2 is >= 0 and < 1, "adam-beta2", AdamBeta2, "a number in [0, 1)");
        Require(AdamEpsilon > 0, "adam-eps", AdamEpsilon, "a positive number");
        Require(WarmupSteps is null or >= 0, "warmup-steps", WarmupSteps ?? 0, "a number of 0 or more");
        Require(WarmupRatio is >= 0 and < 1, "warmup-ratio", WarmupRatio, "a number in [0, 1)");
        Require(MaxGradNorm >= 0, "max-grad-norm", MaxGradNorm, "a number of 0 or more");
        Require(LoraPlusRatio > 0 && double.IsFinite(LoraPlusRatio), "lora-plus-ratio", LoraPlusRatio, "a positive number");
        Require(EvalSteps >= 0, "eval-steps", EvalSteps, "a number of 0 or more");
        Require(SaveSteps >= 0, "save-steps", SaveSteps, "a number of 0 or more");
        Require(SaveTotalLimit >= 0, "save-total-limit", SaveTotalLimit, "a number of 0 or more");
        Require(EarlyStoppingPatience >= 0, "early-stopping-patience", EarlyStoppingPatience, "a number of 0 or more");

        static void Require(bool condition, string flag, double value, string wanted)
        {
            if (!condition) throw new LoraNetException(FormattableString.Invariant($"--{flag} is {value}; it must be {wanted}."));
        }
    }
}
