namespace LoraNet.Paper.Experiments;

/// <summary>
/// The paper's measure of how much of one update's directions another contains (section 7.2, equation 4): with U the right-singular
/// vectors of A as columns, largest singular value first, φ(i, j) = ‖Uᵢᵀ·U'ⱼ‖²_F / min(i, j) for the first i and the first j of them;
/// 1 when the smaller span lies in the larger, and about max(i, j)/width for random ones.
/// </summary>
internal static class SubspaceSimilarity
{
    /// <summary>φ[i − 1, j − 1] for all i up to the first rank and j up to the second.</summary>
    /// <param name="a">A of one adapter [rank, width], row-major.</param>
    /// <param name="b">A of another.</param>
    /// <param name="width">Input features.</param>
    public static double[,] Compute(ReadOnlySpan<float> a, ReadOnlySpan<float> b, int width)
    {
        double[][] u = RightVectors(a, width), v = RightVectors(b, width);
        double[,] phi = new double[u.Length, v.Length];
        // Sums over the leading block, row by row.
        double[] columns = new double[v.Length];
        for (int i = 0; i < u.Length; i++)
        {
            double sum = 0;
            for (int j = 0; j < v.Length; j++)
            {
                double dot = 0;
                for (int k = 0; k < width; k++) dot += u[i][k] * v[j][k];
                columns[j] += dot * dot;
                sum += columns[j];
                phi[i, j] = sum / Math.Min(i + 1, j + 1);
            }
        }
        return phi;
    }

    /// <summary>The right-singular vectors of a [rank, width] matrix with rank ≤ width: eigenvectors of A·Aᵀ, mapped through Aᵀ.
    /// One-sided Jacobi rotations of the rows make them orthogonal; normalised, they are the vectors.</summary>
    private static double[][] RightVectors(ReadOnlySpan<float> a, int width)
    {
        int rank = a.Length / width;
        double[][] rows = new double[rank][];
        for (int i = 0; i < rank; i++)
        {
            rows[i] = new double[width];
            for (int k = 0; k < width; k++) rows[i][k] = a[i * width + k];
        }
        for (int sweep = 0; sweep < 60; sweep++)
        {
            bool rotated = false;
            for (int p = 0; p < rank; p++)
                for (int q = p + 1; q < rank; q++) rotated |= Rotate(rows[p], rows[q]);
            if (!rotated) break;
        }
        double[] norms = [.. rows.Select(Norm)];
        return [.. Enumerable.Range(0, rank).OrderByDescending(i => norms[i]).Select(i => rows[i].Select(x => norms[i] == 0 ? 0 : x / norms[i]).ToArray())];
    }

    private static bool Rotate(double[] x, double[] y)
    {
        double xx = 0, yy = 0, xy = 0;
        for (int k = 0; k < x.Length; k++)
        {
            xx += x[k] * x[k];
            yy += y[k] * y[k];
            xy += x[k] * y[k];
        }
        if (Math.Abs(xy) <= 1e-14 * Math.Sqrt(xx * yy)) return false;
        double zeta = (yy - xx) / (2 * xy), t = (zeta >= 0 ? 1 : -1) / (Math.Abs(zeta) + Math.Sqrt(1 + zeta * zeta));
        double c = 1 / Math.Sqrt(1 + t * t), s = c * t;
        for (int k = 0; k < x.Length; k++) (x[k], y[k]) = (c * x[k] - s * y[k], s * x[k] + c * y[k]);
        return true;
    }

    private static double Norm(double[] x) => Math.Sqrt(x.Sum(v => v * v));
}
