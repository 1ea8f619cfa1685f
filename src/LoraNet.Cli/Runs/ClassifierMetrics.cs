using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>The figures of GLUE that fit a classifier: accuracy, F1 of two classes, Matthews' correlation; for a regression Pearson's and Spearman's.</summary>
internal static class ClassifierMetrics
{
    /// <summary>All that fit.</summary>
    public static IReadOnlyList<(string Name, double Value)> Of(ClassificationResult result, bool regression)
    {
        if (regression) return [("pearson", Pearson(result.Values, [.. result.Labels])), ("spearman", Pearson(Ranks(result.Values), Ranks([.. result.Labels])))];
        int[] said = result.Classes, right = result.Expected;
        int classes = result.Logits.Count == 0 ? 0 : result.Logits[0].Length;
        List<(string, double)> figures = [("accuracy", said.Zip(right).Count(p => p.First == p.Second) / (double)Math.Max(1, said.Length))];
        if (classes == 2) figures.Add(("f1", F1(said, right)));
        figures.Add(("matthews_correlation", Matthews(said, right, classes)));
        return figures;
    }

    // 2·TP / (2·TP + FP + FN) for class 1; 0 where nothing is positive.
    private static double F1(int[] said, int[] right)
    {
        int hits = said.Zip(right).Count(p => p.First == 1 && p.Second == 1), all = said.Count(c => c == 1) + right.Count(c => c == 1);
        return all == 0 ? 0 : 2.0 * hits / all;
    }

    // (c·s − Σ pₖtₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²)) with s samples, c right ones, pₖ said and tₖ true of class k (Gorodkin, 2004).
    private static double Matthews(int[] said, int[] right, int classes)
    {
        double samples = said.Length, correct = said.Zip(right).Count(p => p.First == p.Second), cross = 0, saidSquares = 0, rightSquares = 0;
        for (int k = 0; k < classes; k++)
        {
            double p = said.Count(c => c == k), t = right.Count(c => c == k);
            cross += p * t;
            saidSquares += p * p;
            rightSquares += t * t;
        }
        double scale = Math.Sqrt((samples * samples - saidSquares) * (samples * samples - rightSquares));
        return scale == 0 ? 0 : (correct * samples - cross) / scale;
    }

    private static double Pearson(double[] x, double[] y)
    {
        if (x.Length == 0) return 0;
        double mx = x.Average(), my = y.Average(), xy = 0, xx = 0, yy = 0;
        for (int i = 0; i < x.Length; i++)
        {
            xy += (x[i] - mx) * (y[i] - my);
            xx += (x[i] - mx) * (x[i] - mx);
            yy += (y[i] - my) * (y[i] - my);
        }
        return xx == 0 || yy == 0 ? 0 : xy / Math.Sqrt(xx * yy);
    }

    // Ties share the mean of their places.
    private static double[] Ranks(double[] values)
    {
        int[] order = [.. Enumerable.Range(0, values.Length).OrderBy(i => values[i])];
        double[] ranks = new double[values.Length];
        for (int start = 0; start < order.Length;)
        {
            int end = start;
            while (end < order.Length && values[order[end]] == values[order[start]]) end++;
            for (int i = start; i < end; i++) ranks[order[i]] = (start + end - 1) / 2.0;
            start = end;
        }
        return ranks;
    }
}
