using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>
/// All singular values of a small matrix by one-sided Jacobi rotations (Hestenes, 1958; Demmel &amp; Veselić, 1992): accurate
/// to rounding even for small singular values. Pairs of a round are disjoint, so rounds run in parallel with the same result.
/// </summary>
internal static class JacobiSvd
{
    private const int MaxSweeps = 60;

    /// <summary>Decomposes a row-major [rows, columns] matrix.</summary>
    public static Svd Decompose(double[] a, int rows, int columns)
    {
        if (rows < columns) return Decompose(Vectors.Transpose<double>(a, rows, columns), columns, rows).Transposed;
        // Rows of w are the columns of A; rotations turn them orthogonal, and the same rotations of the identity give V.
        double[] w = Vectors.Transpose<double>(a, rows, columns), v = new double[(long)columns * columns];
        for (int i = 0; i < columns; i++) v[(long)i * columns + i] = 1;
        // Columns of rounding noise would be rotated for ever.
        double floor = TensorPrimitives.Norm<double>(w) * 1e-15;
        int players = columns + (columns & 1);
        int[] seats = [.. Enumerable.Range(0, players)];
        for (int sweep = 0; sweep < MaxSweeps; sweep++)
        {
            bool rotated = false;
            for (int round = 0; round < players - 1; round++)
            {
                void Pair(int k)
                {
                    int p = seats[k], q = seats[players - 1 - k];
                    if (p < columns && q < columns && Rotate(w, v, p, q, rows, columns, floor)) Volatile.Write(ref rotated, true);
                }
                // Waking threads costs more than a round of short vectors.
                if ((long)rows * columns < 65536) for (int k = 0; k < players / 2; k++) Pair(k);
                else Parallel.For(0, players / 2, Pair);
                // A round-robin tournament: the first stays, the others move on by one seat.
                int last = seats[^1];
                Array.Copy(seats, 1, seats, 2, players - 2);
                if (players > 1) seats[1] = last;
            }
            if (!rotated) break;
        }
        double[] norms = new double[columns];
        for (int i = 0; i < columns; i++) norms[i] = TensorPrimitives.Norm<double>(w.AsSpan(i * rows, rows));
        int[] order = [.. Enumerable.Range(0, columns).OrderByDescending(i => norms[i])];
        double[] ut = new double[(long)columns * rows], vt = new double[(long)columns * columns], s = new double[columns];
        for (int i = 0; i < columns; i++)
        {
            s[i] = norms[order[i]];
            if (s[i] > 0) TensorPrimitives.Divide(w.AsSpan(order[i] * rows, rows), s[i], ut.AsSpan(i * rows, rows));
            v.AsSpan(order[i] * columns, columns).CopyTo(vt.AsSpan(i * columns, columns));
        }
        return new Svd(ut, s, vt, rows, columns);
    }

    private static bool Rotate(double[] w, double[] v, int p, int q, int rows, int columns, double floor)
    {
        Span<double> wp = w.AsSpan(p * rows, rows), wq = w.AsSpan(q * rows, rows);
        double alpha = TensorPrimitives.SumOfSquares<double>(wp), beta = TensorPrimitives.SumOfSquares<double>(wq), gamma = TensorPrimitives.Dot<double>(wp, wq);
        if (Math.Abs(gamma) <= 1e-15 * Math.Sqrt(alpha * beta) || Math.Abs(gamma) <= floor * floor) return false;
        double zeta = (beta - alpha) / (2 * gamma);
        double t = (zeta >= 0 ? 1 : -1) / (Math.Abs(zeta) + Math.Sqrt(1 + zeta * zeta));
        double c = 1 / Math.Sqrt(1 + t * t), s = c * t;
        Vectors.Rotate(wp, wq, c, s);
        Vectors.Rotate(v.AsSpan(p * columns, columns), v.AsSpan(q * columns, columns), c, s);
        // A rotation at the level of rounding is done but does not ask for another sweep.
        return Math.Abs(gamma) > 1e-14 * Math.Sqrt(alpha * beta);
    }
}
