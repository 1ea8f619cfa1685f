namespace LoraNet.Training;

/// <summary>What one optimizer step did.</summary>
/// <param name="Step">Number of the step, from 1.</param>
/// <param name="Epoch">Epochs finished after it, fractional.</param>
/// <param name="Loss">Mean loss over the step's trained tokens, before the update.</param>
/// <param name="GradientNorm">Global norm before clipping.</param>
/// <param name="LearningRate">Rate used.</param>
/// <param name="Tokens">Trained tokens.</param>
/// <param name="InputTokens">Real tokens read, prompts included.</param>
/// <param name="Milliseconds">Wall time.</param>
/// <param name="Applied">False when the step was skipped because loss or gradient was not finite.</param>
public sealed record StepResult(int Step, double Epoch, double Loss, double GradientNorm, double LearningRate, int Tokens, int InputTokens, double Milliseconds, bool Applied)
{
    /// <summary>Loss of an evaluation after this step, or null.</summary>
    public double? EvalLoss { get; init; }

    /// <summary>Positions that the step's batches would have if every row were padded to its batch's longest. Nothing is computed for padding.</summary>
    public long PaddedTokens { get; init; }

    /// <summary>Padded positions per second: what trainers that count padding would report.</summary>
    public double PaddedTokensPerSecond => PaddedTokens / (Milliseconds / 1000);

    /// <summary>Real input tokens per second.</summary>
    public double TokensPerSecond => InputTokens / (Milliseconds / 1000);
}
