using LoraNet.Training;

namespace LoraNet.Metrics;

/// <summary>A named score.</summary>
/// <param name="Name">Such as <c>accuracy</c> or <c>matthews</c>.</param>
/// <param name="Value">In [−1, 1].</param>
public readonly record struct MetricValue(string Name, double Value);

/// <summary>The scores that GLUE (Wang et al., 2019) reports for each of its tasks. The first is the one to compare by.</summary>
public static class GlueMetrics
{
    /// <summary>Tasks by their Hugging Face names.</summary>
    public static IReadOnlyCollection<string> Tasks { get; } = ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"];

    /// <summary>The scores of a task.</summary>
    /// <param name="task">One of <see cref="Tasks"/>, in any case, <c>sst-2</c> and <c>sts-b</c> too; null to go by the labels: correlations
    /// for numbers, accuracy, F₁ and Matthews for two classes, accuracy for more.</param>
    /// <param name="result">A classifier's answers; at least one.</param>
    /// <exception cref="LoraNetException">The task is unknown, or its labels are of another kind.</exception>
    public static IReadOnlyList<MetricValue> Compute(string? task, ClassificationResult result)
    {
        bool numbers = result.Logits[0].Length == 1;
        string? name = task?.Replace("-", "", StringComparison.Ordinal).ToLowerInvariant();
        if (name is not null && !Tasks.Contains(name)) throw new LoraNetException($"'{task}' is not a GLUE task.", $"Tasks: {string.Join(", ", Tasks)}.");
        if (name is not null && numbers != (name == "stsb"))
            throw new LoraNetException($"The task {name} has {(numbers ? "classes" : "numbers")} as labels, but the model predicts {(numbers ? "a number" : "classes")}.");
        if (numbers) return [new("pearson", Correlation.Pearson(result.Values, result.Labels)), new("spearman", Correlation.Spearman(result.Values, result.Labels))];
        int[] predicted = result.Classes, expected = result.Expected;
        MetricValue accuracy = new("accuracy", ClassificationMetrics.Accuracy(predicted, expected));
        MetricValue matthews = new("matthews", ClassificationMetrics.MatthewsCorrelation(predicted, expected));
        return name switch
        {
            "cola" => [matthews],
            "mrpc" or "qqp" => [accuracy, F1()],
            null when result.Logits[0].Length == 2 => [accuracy, F1(), matthews],
            _ => [accuracy],
        };

        MetricValue F1() => new("f1", ClassificationMetrics.F1(predicted, expected));
    }
}
