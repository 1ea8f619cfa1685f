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
        int kept = count;
        for (int j = count; j < count + added; j++)
        {
            Span<double> v = basis.AsSpan(j * length, length);
            double before = TensorPrimitives.Norm<double>(v);
            for (int pass = 0; pass < 2; pass++)
            {
                for (int i = 0; i < kept; i++)
                {
                    ReadOnlySpan<double> q = basis.AsSpan(i * length, length);
                    TensorPrimitives.MultiplyAdd(q, -TensorPrimitives.Dot(q, v), v, v);
                }
            }
            double norm = TensorPrimitives.Norm<double>(v);
            if (norm <= Negligible * before) continue;
            TensorPrimitives.Divide(v, norm, v);
            if (kept != j) v.CopyTo(basis.AsSpan(kept * length, length));
            kept++;
        }
        return kept;
    }
}
