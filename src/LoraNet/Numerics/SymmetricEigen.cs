using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>
/// All eigenvalues and eigenvectors of a symmetric matrix: Householder reduction to a tridiagonal one, then implicit QL steps
/// (Golub &amp; Van Loan, Matrix Computations, 8.3). Vectors are kept as rows, so that every inner loop runs along memory.
/// </summary>
internal static class SymmetricEigen
{
    private const int MaxSteps = 60;

    /// <summary>Decomposes a row-major [n, n] matrix, which is overwritten. Values are in descending order, row i of the vectors belongs to value i.</summary>
    public static (double[] Values, double[] Vectors) Decompose(double[] a, int n)
    {
        double[] d = new double[n], e = new double[n], z = new double[(long)n * n];
        for (int i = 0; i < n; i++) z[(long)i * n + i] = 1;
        Tridiagonalise(a, n, d, e, z);
        for (int l = 0; l < n; l++) Deflate(l, n, d, e, z);
        int[] order = [.. Enumerable.Range(0, n).OrderByDescending(i => d[i])];
        double[] values = new double[n], vectors = new double[(long)n * n];
        for (int i = 0; i < n; i++)
        {
            values[i] = d[order[i]];
            z.AsSpan(order[i] * n, n).CopyTo(vectors.AsSpan(i * n, n));
        }
        return (values, vectors);
    }

    // H·A·H with H = I − β·v·vᵀ for each column in turn; z collects the product of the H.
    private static void Tridiagonalise(double[] a, int n, double[] d, double[] e, double[] z)
    {
        double[] v = new double[n], w = new double[n], y = new double[n];
        for (int k = 0; k < n; k++)
        {
            d[k] = a[(long)k * n + k];
            if (k == n - 1) break;
            int first = k + 1, m = n - first;
            Span<double> x = a.AsSpan(k * n + first, m), hv = v.AsSpan(0, m), hw = w.AsSpan(0, m);
            double norm = TensorPrimitives.Norm<double>(x);
            if (norm == 0 || m == 1)
            {
                e[k] = x[0];
                continue;
            }
            x.CopyTo(hv);
            double alpha = hv[0] > 0 ? -norm : norm;
            hv[0] -= alpha;
            e[k] = alpha;
            double beta = 2 / TensorPrimitives.SumOfSquares<double>(hv);
            for (int i = 0; i < m; i++) hw[i] = beta * TensorPrimitives.Dot<double>(a.AsSpan((first + i) * n + first, m), hv);
            TensorPrimitives.MultiplyAdd(hv, -0.5 * beta * TensorPrimitives.Dot<double>(hw, hv), hw, hw);
            for (int i = 0; i < m; i++)
            {
                Span<double> row = a.AsSpan((first + i) * n + first, m);
                TensorPrimitives.MultiplyAdd(hw, -hv[i], row, row);
                TensorPrimitives.MultiplyAdd(hv, -hw[i], row, row);
            }
            // z ← H·z, whose first row and column stay those of the identity.
            Array.Clear(y);
            Span<double> sum = y.AsSpan(1);
            for (int i = 0; i < m; i++) TensorPrimitives.MultiplyAdd(z.AsSpan((first + i) * n + 1, n - 1), hv[i], sum, sum);
            for (int i = 0; i < m; i++)
            {
                Span<double> row = z.AsSpan((first + i) * n + 1, n - 1);
                TensorPrimitives.MultiplyAdd(sum, -beta * hv[i], row, row);
            }
        }
    }

    // QL steps with Wilkinson's shift until e[l] is negligible; each rotation turns two rows of z.
    private static void Deflate(int l, int n, double[] d, double[] e, double[] z)
    {
        for (int step = 0; ; step++)
        {
            int m = l;
            while (m < n - 1 && Math.Abs(e[m]) > 1e-16 * (Math.Abs(d[m]) + Math.Abs(d[m + 1]))) m++;
            if (m == l) return;
            if (step == MaxSteps) throw new InvalidOperationException("The eigenvalues of a symmetric matrix did not converge.");
            double g = (d[l + 1] - d[l]) / (2 * e[l]), r = double.Hypot(g, 1);
            g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
            double s = 1, c = 1, p = 0;
            bool split = false;
            for (int i = m - 1; i >= l; i--)
            {
                double f = s * e[i], b = c * e[i];
                r = double.Hypot(f, g);
                e[i + 1] = r;
                if (r == 0)
                {
                    d[i + 1] -= p;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                Vectors.Rotate(z.AsSpan(i * n, n), z.AsSpan((i + 1) * n, n), c, s);
            }
            if (!split)
            {
                d[l] -= p;
                e[l] = g;
            }
            e[m] = 0;
        }
    }
}
