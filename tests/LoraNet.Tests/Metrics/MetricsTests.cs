using LoraNet.Metrics;
using LoraNet.Training;

namespace LoraNet.Tests.Metrics;

/// <summary>Scores against values worked out by hand.</summary>
public sealed class MetricsTests
{
    // TP 3, FP 2, FN 1, TN 4.
    private static readonly int[] _predicted = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
    private static readonly int[] _expected = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0];

    [Fact]
    public void AccuracyCountsRightAnswers() => Assert.Equal(0.7, ClassificationMetrics.Accuracy(_predicted, _expected), 12);

    [Fact]
    public void F1IsTheHarmonicMeanOfPrecisionAndRecall()
    {
        double precision = 3 / 5.0, recall = 3 / 4.0;
        Assert.Equal(2 * precision * recall / (precision + recall), ClassificationMetrics.F1(_predicted, _expected), 12);
        // Class 0: TP 4, FP 1, FN 2.
        Assert.Equal(8 / 11.0, ClassificationMetrics.F1(_predicted, _expected, positive: 0), 12);
        Assert.Equal(0, ClassificationMetrics.F1([0, 0], [0, 0]));
    }

    [Fact]
    public void MatthewsIsTheBinaryFormula()
    {
        // (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) = (12 − 2) / √(5·4·6·5)
        Assert.Equal(10 / Math.Sqrt(600), ClassificationMetrics.MatthewsCorrelation(_predicted, _expected), 12);
        Assert.Equal(1, ClassificationMetrics.MatthewsCorrelation(_expected, _expected), 12);
        Assert.Equal(-1, ClassificationMetrics.MatthewsCorrelation([1, 0], [0, 1]), 12);
        Assert.Equal(0, ClassificationMetrics.MatthewsCorrelation([1, 1, 1], [0, 1, 0]));
    }

    [Fact]
    public void MatthewsOfThreeClasses()
    {
        // n 6, right 5, predicted (2, 3, 1), true (2, 2, 2): (30 − 12) / √((36 − 14)(36 − 12)).
        Assert.Equal(18 / Math.Sqrt(22 * 24), ClassificationMetrics.MatthewsCorrelation([0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 2, 2]), 12);
    }

    [Fact]
    public void PearsonOfAHandWorkedPair()
    {
        // x − x̄ = −2..2, y − ȳ = (−2, −1, 1, 0, 2): Σxy 9, Σx² 10, Σy² 10.
        Assert.Equal(0.9, Correlation.Pearson([1, 2, 3, 4, 5], [1, 2, 4, 3, 5]), 12);
        Assert.Equal(-1, Correlation.Pearson([1, 2, 3], [30, 20, 10]), 12);
        Assert.Equal(0, Correlation.Pearson([1, 2, 3], [5, 5, 5]));
    }

    [Fact]
    public void SpearmanSharesRanksOfEqualValues()
    {
        Assert.Equal([1, 2.5, 4, 2.5], Correlation.Ranks([10, 20, 30, 20]));
        // A monotonic curve has rank correlation 1 though Pearson's is less.
        Assert.Equal(1, Correlation.Spearman([1, 2, 3, 4], [1, 10, 100, 1000]), 12);
        // Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): Σxy 4.5, Σx² 4.5, Σy² 5.
        Assert.Equal(4.5 / Math.Sqrt(22.5), Correlation.Spearman([1, 2, 2, 3], [1, 2, 3, 4]), 12);
    }

    [Fact]
    public void TasksHaveTheirOwnScores()
    {
        ClassificationResult classes = new(0, [[0, 1], [2, 1], [0, 3]], [1, 0, 0]);
        Assert.Equal(["matthews"], GlueMetrics.Compute("CoLA", classes).Select(m => m.Name));
        Assert.Equal(["accuracy", "f1"], GlueMetrics.Compute("mrpc", classes).Select(m => m.Name));
        Assert.Equal(2 / 3.0, GlueMetrics.Compute("sst-2", classes)[0].Value, 12);
        Assert.Equal(["accuracy", "f1", "matthews"], GlueMetrics.Compute(null, classes).Select(m => m.Name));
        ClassificationResult numbers = new(0, [[1f], [2f], [4f]], [1, 2, 3]);
        Assert.Equal(["pearson", "spearman"], GlueMetrics.Compute("stsb", numbers).Select(m => m.Name));
        Assert.Equal(1, GlueMetrics.Compute(null, numbers)[1].Value, 12);
        Assert.Throws<LoraNetException>(() => GlueMetrics.Compute("stsb", classes));
        Assert.Throws<LoraNetException>(() => GlueMetrics.Compute("rte", numbers));
        Assert.Throws<LoraNetException>(() => GlueMetrics.Compute("squad", classes));
    }
}
