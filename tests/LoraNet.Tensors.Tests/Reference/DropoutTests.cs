using FsCheck.Xunit;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>The dropout mask as a random variable and as a function of its key. Keys are fixed, so that no test is random.</summary>
[SeededProperties(Arbitrary = [typeof(Arbitraries)], MaxTest = 50)]
public class DropoutTests
{
    [Theory]
    [InlineData(0.05f)]
    [InlineData(0.1f)]
    [InlineData(0.5f)]
    [InlineData(0.9f)]
    public void Keeps_its_share_and_the_expectation(float p)
    {
        const int Rows = 500, Columns = 203;
        double[] y = Mask(new DropoutKey(0xfeedbeef12345678, 9), p, 0, Rows, Columns);
        double kept = y.Count(v => v != 0), n = y.Length;
        // Five standard deviations of a binomial share.
        double bound = 5 * Math.Sqrt(p * (1 - p) / n);
        Assert.InRange(kept / n, 1 - p - bound, 1 - p + bound);
        Assert.InRange(y.Average(), 1 - bound / (1 - p), 1 + bound / (1 - p));
        Assert.All(y, v => Assert.True(v == 0 || v == 1 / (1.0 - p)));
    }

    [Theory]
    [InlineData(0, 1, 0, 0)] // another step
    [InlineData(1, 0, 0, 0)] // another low half of the hash
    [InlineData(1L << 32, 0, 0, 0)] // another high half
    [InlineData(0, 0, 1, 0)] // the next row
    [InlineData(0, 0, 1L << 32, 0)] // the same low half of the row number
    [InlineData(0, 0, 0, 1)] // the next column
    public void Masks_of_different_names_are_independent(long hash, uint step, long row, int column)
    {
        const float P = 0.5f;
        const int Rows = 300, Columns = 64;
        double[] a = Mask(new DropoutKey(77, 5), P, 100, Rows, Columns + 1);
        double[] b = Mask(new DropoutKey(77 + (ulong)hash, 5 + step), P, 100 + row, Rows, Columns + 1);
        int agree = 0;
        for (int i = 0; i < Rows; i++)
            for (int j = 0; j < Columns; j++)
                if ((a[i * (Columns + 1) + j] == 0) == (b[i * (Columns + 1) + j + column] == 0)) agree++;
        double n = Rows * Columns, bound = 5 * Math.Sqrt(0.25 / n);
        Assert.InRange(agree / n, 0.5 - bound, 0.5 + bound);
    }

    [Property]
    public void The_mask_does_not_depend_on_how_the_batch_is_split(Size rows, Size columns, Size cut, DataSeed seed)
    {
        DropoutKey key = new((ulong)seed.Value * 0x9E3779B97F4A7C15, 4);
        int first = rows == 0 ? 0 : cut % (rows + 1);
        double[] whole = Mask(key, 0.4f, 1000, rows, columns);
        double[] parts = [.. Mask(key, 0.4f, 1000, first, columns), .. Mask(key, 0.4f, 1000 + first, rows - first, columns)];
        Assert.Equal(whole, parts);
    }

    [Property]
    public void The_mask_of_a_column_does_not_depend_on_the_width(Size rows, Size columns, DataSeed seed)
    {
        DropoutKey key = new((ulong)seed.Value, 4);
        double[] narrow = Mask(key, 0.4f, 0, rows, columns), wide = Mask(key, 0.4f, 0, rows, columns + 5);
        for (int i = 0; i < rows; i++)
            Assert.Equal(narrow[(i * columns)..((i + 1) * columns)], wide[(i * (columns + 5))..(i * (columns + 5) + columns)]);
    }

    [Fact]
    public void Keys_differ_by_seed_path_adapter_and_step()
    {
        DropoutKey[] keys =
        [
            DropoutKey.Create(1, "a.b", "x", 1), DropoutKey.Create(2, "a.b", "x", 1), DropoutKey.Create(1, "a.c", "x", 1),
            DropoutKey.Create(1, "a.b", "y", 1), DropoutKey.Create(1, "a.b", "x", 2), DropoutKey.Create(1, "a.bx", "", 1),
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(keys[0], DropoutKey.Create(1, "a.b", "x", 1));
    }

    private static double[] Mask(DropoutKey key, float p, long rowOffset, int rows, int columns)
    {
        using Gradients g = new(0);
        Tensor ones = g.Empty(rows, columns), y = g.Empty(rows, columns);
        ones.Span<double>().Fill(1);
        g.Backend.Dropout(ones, p, key, rowOffset, y);
        return y.Span<double>().ToArray();
    }
}
