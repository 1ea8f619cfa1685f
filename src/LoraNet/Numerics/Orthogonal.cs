using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>Orthonormal bases by Gram-Schmidt with reorthogonalisation ("twice is enough", Giraud et al., 2005).</summary>
internal static class Orthogonal
{
    // Below this share of its length, what remains of a vector is rounding noise.
    private const double Negligible = 1e-13;

    /// <summary>
    /// The thin QR decomposition of a matrix given by its columns: on return vector i of <paramref name="columns"/>
    /// [count, length] is q_i, and the result R [count, count] is upper triangular with column_j = Σ_i R[i, j]·q_i.
    /// A column that depends on earlier ones gets q = 0 and a zero on R's diagonal.
    /// </summary>
    public static double[] Decompose(double[] columns, int count, int length)
    {
        double[] r = new double[count * count];
        for (int j = 0; j < count; j++)
        {
            Span<double> v = columns.AsSpan(j * length, length);
            double before = TensorPrimitives.Norm<double>(v);
            for (int pass = 0; pass < 2; pass++)
            {
                for (int i = 0; i < j; i++)
                {
                    ReadOnlySpan<double> q = columns.AsSpan(i * length, length);
                    double d = TensorPrimitives.Dot(q, v);
                    if (d == 0) continue;
                    r[i * count + j] += d;
                    TensorPrimitives.MultiplyAdd(q, -d, v, v);
                }
            }
            double norm = TensorPrimitives.Norm<double>(v);
            if (norm <= Negligible * before)
            {
                v.Clear();
                continue;
            }
            r[j * count + j] = norm;
            TensorPrimitives.Divide(v, norm, v);
        }
        return r;
    }

    /// <summary>
    /// Makes <paramref name="added"/> vectors behind the first <paramref name="count"/> orthonormal ones orthonormal to them
    /// and to each other; those that depend on earlier ones are left out. Returns the number of vectors there are then.
    /// </summary>
    public static int Extend(double[] basis, int count, int added, int length)
    {
        double[] old = basis.AsSpan(0, count * length).ToArray(), block = basis.AsSpan(count * length, added * length).ToArray();
        int kept = added;
        double[] before = new double[added];
        for (int j = 0; j < added; j++) before[j] = TensorPrimitives.Norm<double>(block.AsSpan(j * length, length));
        for (int pass = 0; pass < 2 && kept > 0; pass++)
        {
            if (count > 0)
            {
                double[] along = Vectors.ProductNT(block, old, kept, count, length);
                double[] shadow = Vectors.ProductNN(along, old, kept, length, count);
                TensorPrimitives.Subtract(block.AsSpan(0, kept * length), shadow, block.AsSpan(0, kept * length));
            }
            kept = Normalise(block, kept, length, before);
            Array.Fill(before, 1);
        }
        block.AsSpan(0, kept * length).CopyTo(basis.AsSpan(count * length));
        return count + kept;
    }

    // Gram-Schmidt within the block; vectors that nothing is left of, measured by what they were, are left out.
    private static int Normalise(double[] block, int count, int length, double[] before)
    {
        int kept = 0;
        for (int j = 0; j < count; j++)
        {
            Span<double> v = block.AsSpan(j * length, length);
            for (int pass = 0; pass < 2; pass++)
            {
                for (int i = 0; i < kept; i++)
                {
                    ReadOnlySpan<double> q = block.AsSpan(i * length, length);
                    TensorPrimitives.MultiplyAdd(q, -TensorPrimitives.Dot(q, v), v, v);
                }
            }
            double norm = TensorPrimitives.Norm<double>(v);
            if (norm <= Negligible * before[j]) continue;
            TensorPrimitives.Divide(v, norm, v);
            if (kept != j) v.CopyTo(block.AsSpan(kept * length, length));
            kept++;
        }
        return kept;
    }
}
