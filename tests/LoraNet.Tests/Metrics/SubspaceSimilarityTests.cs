using LoraNet.Paper.Experiments;

namespace LoraNet.Tests.Metrics;

/// <summary>The measure of the paper's section 7.2.</summary>
public class SubspaceSimilarityTests
{
    private const int Width = 24;

    [Fact]
    public void OfAMatrixWithItselfIsOneOnTheDiagonal()
    {
        float[] a = Random(6, 1);
        double[,] phi = SubspaceSimilarity.Compute(a, a, Width);
        for (int i = 0; i < 6; i++)
            for (int j = 0; j < 6; j++) Assert.Equal(1, phi[i, j], 9);
    }

    [Fact]
    public void DoesNotDependOnTheBasis()
    {
        // The same span: rows mixed by an invertible matrix.
        float[] a = Random(3, 2), mixed = new float[a.Length];
        for (int k = 0; k < Width; k++) (mixed[k], mixed[Width + k], mixed[2 * Width + k]) = (2 * a[k] + a[Width + k], a[Width + k] - a[2 * Width + k], a[k] + 3 * a[2 * Width + k]);
        Assert.Equal(1, SubspaceSimilarity.Compute(a, mixed, Width)[2, 2], 6);
    }

    [Fact]
    public void OfOrthogonalSpansIsZero()
    {
        float[] a = Random(4, 3), b = Random(5, 4);
        for (int k = 0; k < a.Length; k++) if (k % Width >= Width / 2) a[k] = 0;
        for (int k = 0; k < b.Length; k++) if (k % Width < Width / 2) b[k] = 0;
        Assert.All(SubspaceSimilarity.Compute(a, b, Width).Cast<double>(), phi => Assert.Equal(0, phi));
    }

    [Fact]
    public void PutsTheLargestDirectionFirst()
    {
        // Singular values 3 and 1 along the axes 5 and 2; the other matrix has the axis 5 alone.
        float[] a = new float[2 * Width], b = new float[Width];
        (a[2], a[Width + 5], b[5]) = (1, 3, 1);
        double[,] phi = SubspaceSimilarity.Compute(a, b, Width);
        Assert.Equal(1, phi[0, 0], 12);
        Assert.Equal(1, phi[1, 0], 12);
        (b[5], b[2]) = (0, 1);
        phi = SubspaceSimilarity.Compute(a, b, Width);
        Assert.Equal(0, phi[0, 0], 12);
        Assert.Equal(1, phi[1, 0], 12);
    }

    private static float[] Random(int rank, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, rank * Width).Select(_ => (float)(2 * random.NextDouble() - 1))];
    }
}
