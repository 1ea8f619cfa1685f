namespace LoraNet.Metrics;

/// <summary>Scores of predicted classes against true ones. Classes are numbers from 0; both lists are equally long and not empty.</summary>
public static class ClassificationMetrics
{
    /// <summary>Share of predictions that are right, in [0, 1].</summary>
    public static double Accuracy(IReadOnlyList<int> predicted, IReadOnlyList<int> expected)
    {
        Check(predicted.Count, expected.Count);
        int right = 0;
        for (int i = 0; i < predicted.Count; i++) if (predicted[i] == expected[i]) right++;
        return right / (double)predicted.Count;
    }

    /// <summary>F₁ = 2·TP / (2·TP + FP + FN) of one class, in [0, 1]; 0 when it is neither predicted nor true.</summary>
    /// <param name="predicted">Predicted classes.</param>
    /// <param name="expected">True classes.</param>
    /// <param name="positive">The class that counts as positive: 1 in GLUE.</param>
    public static double F1(IReadOnlyList<int> predicted, IReadOnlyList<int> expected, int positive = 1)
    {
        Check(predicted.Count, expected.Count);
        long both = 0, either = 0;
        for (int i = 0; i < predicted.Count; i++)
        {
            if (predicted[i] == positive && expected[i] == positive) both++;
            either += (predicted[i] == positive ? 1 : 0) + (expected[i] == positive ? 1 : 0);
        }
        return either == 0 ? 0 : 2.0 * both / either;
    }

    /// <summary>
    /// Matthews' correlation in its form for K classes (Gorodkin, 2004), in [−1, 1]:
    /// (c·n − Σ p_k·t_k) / √((n² − Σ p_k²)·(n² − Σ t_k²)) with c right answers of n, and p_k, t_k the counts of class k predicted
    /// and true. 0 when all predictions or all truths are one class.
    /// </summary>
    public static double MatthewsCorrelation(IReadOnlyList<int> predicted, IReadOnlyList<int> expected)
    {
        Check(predicted.Count, expected.Count);
        Dictionary<int, (double Predicted, double Expected)> counts = [];
        double right = 0, n = predicted.Count;
        for (int i = 0; i < predicted.Count; i++)
        {
            if (predicted[i] == expected[i]) right++;
            (double p, double t) = counts.GetValueOrDefault(predicted[i]);
            counts[predicted[i]] = (p + 1, t);
            (p, t) = counts.GetValueOrDefault(expected[i]);
            counts[expected[i]] = (p, t + 1);
        }
        double both = 0, squaredPredicted = 0, squaredExpected = 0;
        foreach ((double p, double t) in counts.Values)
        {
            both += p * t;
            squaredPredicted += p * p;
            squaredExpected += t * t;
        }
        double scale = Math.Sqrt((n * n - squaredPredicted) * (n * n - squaredExpected));
        return scale == 0 ? 0 : (right * n - both) / scale;
    }

    internal static void Check(int predicted, int expected)
    {
        if (predicted != expected) throw new ArgumentException($"{predicted} predictions for {expected} labels.");
        if (predicted == 0) throw new ArgumentException("There are no predictions to score.");
    }
}
