using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace LoraNet.Numerics;

/// <summary>Products of row-major matrices in binary64 for decompositions: few, so written for clarity before speed.</summary>
internal static class Vectors
{
    private const int Block = 8;

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
        Parallel.For(0, (m + Block - 1) / Block, g =>
        {
            int first = g * Block, rows = Math.Min(Block, m - first);
            Dots(a.AsSpan(first * k, rows * k), b, c.AsSpan(first * n, rows * n), rows, n, k);
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

    /// <summary>C [m, n] = A·Bᵀ for A [m, k] in binary32 and B [n, k] in binary64; rows of A are widened once.</summary>
    public static double[] ProductNT(float[] a, double[] b, int m, int n, int k)
    {
        double[] c = new double[(long)m * n];
        Parallel.For(0, (m + Block - 1) / Block, () => new double[Block * k], (g, _, wide) =>
        {
            int first = g * Block, rows = Math.Min(Block, m - first);
            TensorPrimitives.ConvertTruncating<float, double>(a.AsSpan(first * k, rows * k), wide);
            Dots(wide, b, c.AsSpan(first * n, rows * n), rows, n, k);
            return wide;
        }, _ => { });
        return c;
    }

    /// <summary>(p, q) ← (c·p − s·q, s·p + c·q).</summary>
    public static void Rotate(Span<double> p, Span<double> q, double c, double s)
    {
        int i = 0;
        Vector<double> vc = new(c), vs = new(s);
        for (; i <= p.Length - Vector<double>.Count; i += Vector<double>.Count)
        {
            Vector<double> x = new(p[i..]), y = new(q[i..]);
            (vc * x - vs * y).CopyTo(p[i..]);
            (vs * x + vc * y).CopyTo(q[i..]);
        }
        for (; i < p.Length; i++) (p[i], q[i]) = (c * p[i] - s * q[i], s * p[i] + c * q[i]);
    }

    // Four rows of A meet two of B at a time, so that each loaded vector is used several times.
    private static void Dots(ReadOnlySpan<double> a, ReadOnlySpan<double> b, Span<double> c, int m, int n, int k)
    {
        int width = Vector<double>.Count, whole = k - k % width;
        for (int i = 0; i < m; i += 4)
        {
            if (m - i < 4)
            {
                for (; i < m; i++)
                    for (int j = 0; j < n; j++) c[i * n + j] = TensorPrimitives.Dot(a.Slice(i * k, k), b.Slice(j * k, k));
                return;
            }
            ref double a0 = ref MemoryMarshal.GetReference(a[(i * k)..]);
            for (int j = 0; j < n; j += 2)
            {
                // The last row alone is paired with itself.
                int j1 = Math.Min(j + 1, n - 1);
                ref double b0 = ref MemoryMarshal.GetReference(b.Slice(j * k, k));
                ref double b1 = ref MemoryMarshal.GetReference(b.Slice(j1 * k, k));
                Vector<double> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default;
                for (int x = 0; x < whole; x += width)
                {
                    Vector<double> v0 = Vector.LoadUnsafe(ref b0, (nuint)x), v1 = Vector.LoadUnsafe(ref b1, (nuint)x);
                    Vector<double> u = Vector.LoadUnsafe(ref a0, (nuint)x);
                    s00 = Vector.FusedMultiplyAdd(u, v0, s00);
                    s01 = Vector.FusedMultiplyAdd(u, v1, s01);
                    u = Vector.LoadUnsafe(ref a0, (nuint)(k + x));
                    s10 = Vector.FusedMultiplyAdd(u, v0, s10);
                    s11 = Vector.FusedMultiplyAdd(u, v1, s11);
                    u = Vector.LoadUnsafe(ref a0, (nuint)(2 * k + x));
                    s20 = Vector.FusedMultiplyAdd(u, v0, s20);
                    s21 = Vector.FusedMultiplyAdd(u, v1, s21);
                    u = Vector.LoadUnsafe(ref a0, (nuint)(3 * k + x));
                    s30 = Vector.FusedMultiplyAdd(u, v0, s30);
                    s31 = Vector.FusedMultiplyAdd(u, v1, s31);
                }
                Store(a, b, c, s00, s01, i);
                Store(a, b, c, s10, s11, i + 1);
                Store(a, b, c, s20, s21, i + 2);
                Store(a, b, c, s30, s31, i + 3);

                void Store(ReadOnlySpan<double> a, ReadOnlySpan<double> b, Span<double> c, Vector<double> left, Vector<double> right, int row)
                {
                    double t0 = Vector.Sum(left), t1 = Vector.Sum(right);
                    for (int x = whole; x < k; x++)
                    {
                        t0 += a[row * k + x] * b[j * k + x];
                        t1 += a[row * k + x] * b[j1 * k + x];
                    }
                    c[row * n + j] = t0;
                    c[row * n + j1] = j1 == j ? t0 : t1;
                }
            }
        }
    }
}
