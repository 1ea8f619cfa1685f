namespace LoraNet.Tests.Golden;

/// <summary>A table of differences, each with its limit.</summary>
internal sealed class Differences
{
    private readonly List<(string What, double Value, double Limit)> _rows = [];

    public void Add(string what, double value, double limit) => _rows.Add((what, value, limit));

    /// <summary>Compares the sum of values, relative to the sum of magnitudes, and the sum of squares.</summary>
    public void AddChecksum(string what, float[] values, double expectedSum, double expectedSquares)
    {
        double sum = 0, squares = 0, magnitude = 0;
        foreach (float v in values)
        {
            sum += v;
            squares += (double)v * v;
            magnitude += Math.Abs(v);
        }
        Add($"{what} sum", Math.Abs(sum - expectedSum) / magnitude, 1e-5);
        Add($"{what} squares", Math.Abs(squares - expectedSquares) / squares, 1e-5);
    }

    /// <summary>‖actual − expected‖ / ‖expected‖, in double; the numerator alone where nothing is expected but zeros.</summary>
    public static double Relative(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0, norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double d = actual[i] - (double)expected[i];
            difference += d * d;
            norm += (double)expected[i] * expected[i];
        }
        return norm == 0 ? Math.Sqrt(difference) : Math.Sqrt(difference / norm);
    }

    public void AssertAll()
    {
        List<string> failed = [.. _rows.Where(r => !(r.Value <= r.Limit)).Select(r => $"{r.What}: {r.Value:e2} > {r.Limit:e0}")];
        Assert.True(failed.Count == 0, string.Join(Environment.NewLine, failed));
    }

    public override string ToString() => string.Join(Environment.NewLine, _rows.Select(r => $"{r.Value,12:e2}  (limit {r.Limit:e0})  {r.What}"));
}
