namespace LoraNet.Training;

/// <summary>What a classifier says about labelled samples.</summary>
/// <param name="Loss">Mean over samples: −log p(label) in nats, or the squared error.</param>
/// <param name="Logits">[samples][classes].</param>
/// <param name="Labels">Class or value of each sample.</param>
public sealed record ClassificationResult(double Loss, IReadOnlyList<float[]> Logits, IReadOnlyList<double> Labels)
{
    /// <summary>Number of samples.</summary>
    public int Rows => Logits.Count;

    /// <summary>The class with the largest logit of each sample (the first of equals).</summary>
    public int[] Classes => [.. Logits.Select(l => Array.IndexOf(l, l.Max()))];

    /// <summary>The labels as classes.</summary>
    public int[] Expected => [.. Labels.Select(l => (int)l)];

    /// <summary>The predicted value of each sample (regression).</summary>
    public double[] Values => [.. Logits.Select(l => (double)l[0])];
}
