using System.Globalization;
using LoraNet.Cli.Output;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>One aligned line a log step, with the loss's z-score over the last steps, and a redrawn bar at a terminal.</summary>
internal sealed class ProgressLines(Terminal terminal, int totalSteps, int logSteps, Func<double, string> describe, Func<long> memory)
{
    private const int Window = 128;
    private readonly Queue<double> _losses = [];
    private readonly Queue<double> _milliseconds = [];

    /// <summary>Shows a step.</summary>
    public void Show(StepResult step)
    {
        string z = ZScore(step.Loss);
        Remember(_milliseconds, step.Milliseconds, 20);
        double left = (totalSteps - step.Step) * Median(_milliseconds) / 1000;
        if (step.Applied) Remember(_losses, step.Loss, Window);
        else terminal.Warn(Invariant($"step {step.Step} was skipped: its loss ({step.Loss:G6}) or gradient norm ({step.GradientNorm:G6}) is not finite."));
        string number = step.Step.ToString(CultureInfo.InvariantCulture).PadLeft(totalSteps.ToString(CultureInfo.InvariantCulture).Length);
        if (step.Step % logSteps == 0 || step.Step == totalSteps || step.Step == 1)
        {
            terminal.Line(Invariant($"step {number}/{totalSteps} | loss {step.Loss,7:0.0000} ({z}) | gn {step.GradientNorm,6:0.000} | lr {step.LearningRate:0.00e-0} | {step.Milliseconds,7:0.0} ms")
                + Invariant($" | {Format.Short(step.TokensPerSecond),6} tok/s | {Format.Bytes(memory()),9} | eta {Format.Duration(left)}"));
        }
        if (step.EvalLoss is { } loss) terminal.Line(Invariant($"step {number}/{totalSteps} | held-out loss {loss:0.0000} | {describe(loss)}"));
        if (!terminal.Rich) return;
        const int Width = 28;
        int done = (int)(Width * (long)step.Step / totalSteps);
        terminal.Status(Invariant($"[{new string('━', done)}{new string(' ', Width - done)}] {step.Step}/{totalSteps}  loss {step.Loss:0.0000}  {Format.Short(step.TokensPerSecond)} tok/s  eta {Format.Duration(left)}"));
    }

    // How far this loss lies from the mean of the last ones, in standard deviations (llm.c's outlier detector shows the same).
    private string ZScore(double loss)
    {
        if (_losses.Count < 8 || !double.IsFinite(loss)) return "    -";
        double mean = _losses.Average(), deviation = Math.Sqrt(_losses.Average(l => (l - mean) * (l - mean)));
        return deviation == 0 ? "+0.0z" : ((loss - mean) / deviation).ToString("+0.0z;-0.0z", CultureInfo.InvariantCulture);
    }

    private static void Remember(Queue<double> queue, double value, int limit)
    {
        queue.Enqueue(value);
        if (queue.Count > limit) queue.Dequeue();
    }

    private static double Median(Queue<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? double.NaN : sorted[sorted.Length / 2];
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
