using System.Numerics.Tensors;
using LoraNet.Lora;

namespace LoraNet.Numerics;

/// <summary>The leading singular triples of large matrices, and of products of thin ones.</summary>
internal static class TruncatedSvd
{
    // Up to here the whole decomposition is as fast.
    private const int SmallSide = 96;
    private const double Tolerance = 1e-11;
    private const int MaxRestarts = 200;

    /// <summary>
    /// The <paramref name="rank"/> largest singular triples of a row-major [rows, columns] matrix, by a block Krylov method
    /// on AᵀA with full orthogonalisation and thick restarts (Golub &amp; Kahan, 1965; Musco &amp; Musco, 2015; Baglama &amp; Reichel,
    /// 2005), until every ‖AᵀA·v − σ²·v‖ is below 1e-11·σ₁². The start is fixed, so that results repeat.
    /// </summary>
    public static Svd Decompose(float[] a, int rows, int columns, int rank)
    {
        int small = Math.Min(rows, columns);
        rank = Math.Min(rank, small);
        if (small <= SmallSide) return JacobiSvd.Decompose(Vectors.Widen(a), rows, columns).Take(rank);
        float[] t = Vectors.Transpose<float>(a, rows, columns);
        // Measured on matrices with a flat spectrum, the Krylov method's worst case.
        bool many = rank > (small <= 1024 ? small / 24 : small / 4);
        if (columns > rows) return many ? Squared(t, a, columns, rows, rank).Transposed : Krylov(t, a, columns, rows, rank).Transposed;
        return many ? Squared(a, t, rows, columns, rank) : Krylov(a, t, rows, columns, rank);
    }

    /// <summary>The decomposition of B·A for B [rows, inner] and A [inner, columns]: QR of both, then of the [inner, inner] core.</summary>
    public static Svd OfProduct(double[] b, double[] a, int rows, int columns, int inner)
    {
        double[] q1 = Vectors.Transpose<double>(b, rows, inner), q2 = (double[])a.Clone();
        double[] r1 = Orthogonal.Decompose(q1, inner, rows), r2 = Orthogonal.Decompose(q2, inner, columns);
        Svd core = JacobiSvd.Decompose(Vectors.ProductNT(r1, r2, inner, inner, inner), inner, inner);
        int rank = Math.Min(inner, Math.Min(rows, columns));
        return new Svd(Vectors.ProductNN(core.Ut, q1, inner, rows, inner), core.S, Vectors.ProductNN(core.Vt, q2, inner, columns, inner), rows, columns).Take(rank);
    }

    // a is [rows, columns] with columns <= rows; t is its transpose.
    private static Svd Krylov(float[] a, float[] t, int rows, int columns, int rank)
    {
        int block = rank + 8;
        int capacity = Math.Min(columns, Math.Max(8 * block, 160));
        double[] basis = new double[(long)(capacity + block) * columns], image = new double[(long)(capacity + block) * rows];
        float[] start = new float[block * columns];
        LoraInitializer.Normal(start, 1, 0x5EED, "svd");
        TensorPrimitives.ConvertTruncating<float, double>(start, basis);
        int count = Orthogonal.Extend(basis, 0, block, columns), last = 0;
        for (int restart = 0; ; restart++)
        {
            bool complete = false;
            while (true)
            {
                Apply(a, basis, image, last, count, columns, rows);
                if (count + block > capacity) break;
                Apply(t, image, basis, last, count, rows, columns, count);
                int next = Orthogonal.Extend(basis, count, count - last, columns);
                if (next == count)
                {
                    complete = true;
                    break;
                }
                (last, count) = (count, next);
            }
            // Ritz vectors: the decomposition of A·Q, through the small matrix (A·Q)ᵀ(A·Q).
            double[] part = image.AsSpan(0, count * rows).ToArray();
            double[] gram = Vectors.ProductNT(part, part, count, count, rows);
            (double[] squares, double[] rotation) = SymmetricEigen.Decompose(gram, count);
            int keep = Math.Min(block, count);
            double[] v = Vectors.ProductNN(rotation, basis.AsSpan(0, count * columns).ToArray(), keep, columns, count);
            double[] av = Vectors.ProductNN(rotation, part, keep, rows, count);
            v.CopyTo(basis, 0);
            av.CopyTo(image, 0);
            // Residuals AᵀA·v − σ²·v: small when converged, else the directions to go on with.
            Apply(t, image, basis, 0, keep, rows, columns, keep);
            double worst = 0;
            for (int i = 0; i < keep; i++)
            {
                Span<double> residual = basis.AsSpan((keep + i) * columns, columns);
                TensorPrimitives.MultiplyAdd(v.AsSpan(i * columns, columns), -squares[i], residual, residual);
                if (i < rank) worst = Math.Max(worst, TensorPrimitives.Norm<double>(residual));
            }
            if (complete || worst <= Tolerance * squares[0]) return Finish(v, av, rank, rows, columns);
            if (restart == MaxRestarts) throw new InvalidOperationException($"The SVD of a [{rows}, {columns}] matrix did not converge.");
            last = keep;
            count = Orthogonal.Extend(basis, keep, keep, columns);
            if (count == keep) return Finish(v, av, rank, rows, columns);
        }
    }

    // Many of the triples: all eigenvectors of AᵀA, which loses the small singular values but not those that are wanted.
    private static Svd Squared(float[] a, float[] t, int rows, int columns, int rank)
    {
        (_, double[] vectors) = SymmetricEigen.Decompose(Vectors.ProductNT(t, Vectors.Widen(t), columns, columns, rows), columns);
        double[] v = vectors[..(rank * columns)];
        return Finish(v, Vectors.Transpose<double>(Vectors.ProductNT(a, v, rows, rank, columns), rows, rank), rank, rows, columns);
    }

    private static Svd Finish(double[] v, double[] av, int rank, int rows, int columns)
    {
        // The rotation among Ritz vectors came from squared values; the small decomposition of A·V refines it.
        int kept = v.Length / columns;
        Svd refined = JacobiSvd.Decompose(Vectors.Transpose<double>(av, kept, rows), rows, kept);
        double[] vt = Vectors.ProductNN(refined.Vt, v, kept, columns, kept);
        return new Svd(refined.Ut, refined.S, vt, rows, columns).Take(rank);
    }

    /// <summary>Vectors <paramref name="first"/> to <paramref name="end"/> of <paramref name="x"/> [·, inner] through m [outer, inner], written from vector <paramref name="at"/> on.</summary>
    private static void Apply(float[] m, double[] x, double[] y, int first, int end, int inner, int outer, int? at = null)
    {
        int n = end - first;
        double[] product = Vectors.ProductNT(m, x.AsSpan(first * inner, n * inner).ToArray(), outer, n, inner);
        Vectors.Transpose<double>(product, outer, n).CopyTo(y, (long)(at ?? first) * outer);
    }
}
