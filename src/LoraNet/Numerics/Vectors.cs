using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>Products of row-major matrices in binary64 for decompositions: few, so written for clarity before speed.</summary>
internal static class Vectors
{
    /// <summary>The transposed copy of a row-major [rows, columns] matrix.</summary>
    public static T[] Transpose<T>(ReadOnlySpan<T> values, int rows, int columns)
    {
        T[] result = new T[values.Length];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) result[(long)j * rows + i] = values[i * columns + j];
        return result;
    }

    /// <summary>The values as binary64.</summary>
    public static double[] Widen(ReadOnlySpan<float> values)
    {
        double[] result = new double[values.Length];
        TensorPrimitives.ConvertTruncating(values, result);
        return result;
    }

    /// <summary>The values rounded to binary32.</summary>
    public static float[] Narrow(ReadOnlySpan<double> values)
    {
        float[] result = new float[values.Length];
        TensorPrimitives.ConvertTruncating(values, result);
        return result;
    }

    /// <summary>C [m, n] = A·Bᵀ for A [m, k] and B [n, k].</summary>
    public static double[] ProductNT(double[] a, double[] b, int m, int n, int k)
    {
        double[] c = new double[(long)m * n];
        Parallel.For(0, m, i =>
        {
            for (int j = 0; j < n; j++) c[(long)i * n + j] = TensorPrimitives.Dot<double>(a.AsSpan(i * k, k), b.AsSpan(j * k, k));
        });
        return c;
    }

    /// <summary>C [m, n] = A·B for A [m, k] and B [k, n].</summary>
    public static double[] ProductNN(double[] a, double[] b, int m, int n, int k)
    {
        double[] c = new double[(long)m * n];
        Parallel.For(0, m, i =>
        {
            Span<double> row = c.AsSpan(i * n, n);
            for (int p = 0; p < k; p++) TensorPrimitives.MultiplyAdd(b.AsSpan(p * n, n), a[(long)i * k + p], row, row);
        });
        return c;
    }

    /// <summary>C [m, n] = A·Bᵀ for A [m, k] in binary32 and B [n, k] in binary64, each row of A widened once.</summary>
    public static double[] ProductNT(float[] a, double[] b, int m, int n, int k)
    {
        double[] c = new double[(long)m * n];
        Parallel.For(0, m, () => new double[k], (i, _, wide) =>
        {
            TensorPrimitives.ConvertTruncating<float, double>(a.AsSpan(i * k, k), wide);
            for (int j = 0; j < n; j++) c[(long)i * n + j] = TensorPrimitives.Dot<double>(wide, b.AsSpan(j * k, k));
            return wide;
        }, _ => { });
        return c;
    }
}
