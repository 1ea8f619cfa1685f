using LoraNet.Adapters;

namespace LoraNet.Tests.Adapters;

public sealed class MergeMathTests
{
    private static readonly float[][] _values = [[1, -2, 3, 0.5f], [-1, 4, 3, -0.2f]];
    private static readonly double[] _weights = [1, 0.5];

    // Expected vectors were computed by PEFT's own merge functions.
    [Theory]
    [InlineData(CombinationType.Linear, 1.0, MajoritySign.Total, new[] { 0.5f, 0, 4.5f, 0.4f })]
    [InlineData(CombinationType.MagnitudePrune, 0.5, MajoritySign.Total, new[] { 0f, 0, 4.5f, 0 })]
    [InlineData(CombinationType.Ties, 0.5, MajoritySign.Total, new[] { 0f, 2, 2.25f, 0 })]
    [InlineData(CombinationType.Ties, 0.75, MajoritySign.Total, new[] { 1f, 2, 2.25f, 0 })]
    [InlineData(CombinationType.Ties, 0.75, MajoritySign.Frequency, new[] { 1f, 2, 2.25f, 0 })]
    public void GoldenVectors(CombinationType type, double density, MajoritySign sign, float[] expected)
    {
        float[] merged = MergeMath.Merge(type, _values, _weights, density, sign, 1, "x");
        for (int i = 0; i < 4; i++) Assert.Equal(expected[i], merged[i], 1e-6f);
    }

    [Fact]
    public void MagnitudeKeepsExactlyTheShareEvenAmongEqualValues()
    {
        float[] kept = MergeMath.KeepLargest([1, -1, 1, -1, 2], 0.6);
        Assert.Equal([1, -1, 0, 0, 2], kept);
        Random random = new(3);
        float[] values = [.. Enumerable.Range(0, 1001).Select(_ => (float)(random.NextDouble() - 0.5))];
        float[] result = MergeMath.KeepLargest(values, 0.3);
        Assert.Equal(300, result.Count(v => v != 0));
        float smallest = result.Where(v => v != 0).Min(Math.Abs);
        Assert.All(values.Where((_, i) => result[i] == 0), v => Assert.True(Math.Abs(v) <= smallest));
    }

    [Fact]
    public void DareKeepsTheShareAndTheMean()
    {
        float[] ones = [.. Enumerable.Repeat(1f, 40000)];
        float[] dropped = MergeMath.Drop(ones, 0.25, 7, "layer");
        Assert.All(dropped, v => Assert.True(v is 0 or 4));
        // 40,000 draws: the deviation of the share is 0.0022.
        Assert.InRange(dropped.Count(v => v > 0) / 40000.0, 0.24, 0.26);
        Assert.Equal(dropped, MergeMath.Drop(ones, 0.25, 7, "layer"));
        Assert.NotEqual(dropped, MergeMath.Drop(ones, 0.25, 8, "layer"));
        Assert.Equal(ones, MergeMath.Drop(ones, 1, 7, "layer"));
    }
}
