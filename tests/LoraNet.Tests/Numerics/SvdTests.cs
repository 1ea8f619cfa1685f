using LoraNet.Lora;
using LoraNet.Numerics;

namespace LoraNet.Tests.Numerics;

public sealed class SvdTests
{
    [Theory]
    [InlineData(7, 5)]
    [InlineData(5, 7)]
    [InlineData(64, 64)]
    [InlineData(1, 9)]
    [InlineData(130, 129)]
    public void JacobiRebuildsTheMatrixFromOrthonormalVectors(int rows, int columns)
    {
        double[] a = Vectors.Widen(Random(rows * columns, 1));
        Svd svd = JacobiSvd.Decompose(a, rows, columns);
        Assert.True(Difference(Rebuild(svd), a) < 1e-12);
        Assert.True(Gram(svd.Ut, svd.Rank, rows) < 1e-12);
        Assert.True(Gram(svd.Vt, svd.Rank, columns) < 1e-12);
        Assert.Equal(svd.S.OrderDescending(), svd.S);
    }

    [Theory]
    [InlineData(300, 250, 10)]
    [InlineData(250, 300, 10)]
    [InlineData(128, 128, 1)]
    [InlineData(257, 131, 32)]
    [InlineData(150, 120, 60)]
    [InlineData(120, 150, 120)]
    public void TheTruncatedFormAgreesWithTheWhole(int rows, int columns, int rank)
    {
        float[] a = Random(rows * columns, 2);
        Svd some = TruncatedSvd.Decompose(a, rows, columns, rank), all = JacobiSvd.Decompose(Vectors.Widen(a), rows, columns).Take(rank);
        for (int i = 0; i < rank; i++) Assert.Equal(all.S[i], some.S[i], 1e-9);
        Assert.True(Difference(Rebuild(some), Rebuild(all)) < 1e-8);
        Assert.True(Gram(some.Ut, rank, rows) < 1e-10);
        Assert.True(Gram(some.Vt, rank, columns) < 1e-10);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(40)]
    [InlineData(101)]
    public void EigenvectorsRebuildASymmetricMatrix(int n)
    {
        double[] x = Vectors.Widen(Random(n * n, 5)), a = new double[n * n];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) a[i * n + j] = x[i * n + j] + x[j * n + i];
        (double[] values, double[] vectors) = SymmetricEigen.Decompose((double[])a.Clone(), n);
        Assert.Equal(values.OrderDescending(), values);
        Assert.True(Gram(vectors, n, n) < 1e-12);
        double[] scaled = (double[])vectors.Clone();
        for (int i = 0; i < scaled.Length; i++) scaled[i] *= values[i / n];
        double[] rebuilt = Vectors.ProductNN(Vectors.Transpose<double>(vectors, n, n), scaled, n, n, n);
        Assert.True(Difference(rebuilt, a) < 1e-11);
        // Equal eigenvalues and a diagonal matrix have nothing to rotate.
        double[] diagonal = new double[n * n];
        for (int i = 0; i < n; i++) diagonal[i * n + i] = i / 2;
        Assert.Equal((n - 1) / 2, SymmetricEigen.Decompose(diagonal, n).Values[0]);
    }

    [Fact]
    public void ProductsOfAnyShapeAreThoseOfTheDefinition()
    {
        foreach ((int m, int n, int k) in new[] { (1, 1, 1), (3, 5, 7), (9, 2, 16), (8, 3, 33), (13, 4, 5) })
        {
            double[] a = Vectors.Widen(Random(m * k, 6)), b = Vectors.Widen(Random(n * k, 7)), expected = new double[m * n];
            for (int i = 0; i < m; i++)
                for (int j = 0; j < n; j++)
                    for (int x = 0; x < k; x++) expected[i * n + j] += a[i * k + x] * b[j * k + x];
            Assert.True(Difference(Vectors.ProductNT(a, b, m, n, k), expected) < 1e-13);
            Assert.True(Difference(Vectors.ProductNT(Vectors.Narrow(a), b, m, n, k), expected) < 1e-13);
            Assert.True(Difference(Vectors.ProductNN(a, Vectors.Transpose<double>(b, n, k), m, n, k), expected) < 1e-13);
        }
    }

    [Fact]
    public void ARankBeyondTheMatrixGivesZeros()
    {
        float[] b = Random(200 * 3, 3), a = Random(3 * 150, 4);
        float[] product = Vectors.Narrow(Vectors.ProductNN(Vectors.Widen(b), Vectors.Widen(a), 200, 150, 3));
        Svd svd = TruncatedSvd.Decompose(product, 200, 150, 8);
        Assert.Equal(8, svd.Rank);
        Assert.All(svd.S[3..], s => Assert.InRange(s, 0, 1e-5));
        Assert.True(Difference(Rebuild(svd), Vectors.Widen(product)) < 1e-5);
        Svd exact = TruncatedSvd.OfProduct(Vectors.Widen(b), Vectors.Widen(a), 200, 150, 3);
        for (int i = 0; i < 3; i++) Assert.Equal(exact.S[i], svd.S[i], 1e-4);
    }

    [Fact]
    public void EqualSingularValuesAndZeroMatricesAreFine()
    {
        float[] identity = new float[120 * 120];
        for (int i = 0; i < 120; i++) identity[i * 121] = 1;
        Svd svd = TruncatedSvd.Decompose(identity, 120, 120, 5);
        Assert.All(svd.S, s => Assert.Equal(1, s, 1e-10));
        Assert.All(TruncatedSvd.Decompose(new float[120 * 120], 120, 120, 5).S, s => Assert.Equal(0, s));
    }

    private static float[] Random(int count, ulong seed)
    {
        float[] values = new float[count];
        LoraInitializer.Normal(values, 1, seed, "test");
        return values;
    }

    private static double[] Rebuild(Svd svd)
    {
        double[] us = Vectors.Transpose<double>(svd.Ut, svd.Rank, svd.Rows);
        for (int i = 0; i < us.Length; i++) us[i] *= svd.S[i % svd.Rank];
        return Vectors.ProductNN(us, svd.Vt, svd.Rows, svd.Columns, svd.Rank);
    }

    private static double Difference(double[] a, double[] b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();

    /// <summary>The largest deviation of the vectors' inner products from the identity.</summary>
    private static double Gram(double[] vectors, int count, int length)
    {
        double[] gram = Vectors.ProductNT(vectors, vectors, count, count, length);
        for (int i = 0; i < count; i++) gram[i * count + i] -= 1;
        return gram.Max(Math.Abs);
    }
}
