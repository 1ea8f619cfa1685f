namespace LoraNet.Numerics;

/// <summary>Singular values and vectors A ≈ U·diag(S)·Vᵀ, largest first.</summary>
/// <param name="Ut">Left vectors as rows [rank, rows]; zero where the singular value is zero.</param>
/// <param name="S">Singular values [rank].</param>
/// <param name="Vt">Right vectors as rows [rank, columns].</param>
/// <param name="Rows">Rows of A.</param>
/// <param name="Columns">Columns of A.</param>
internal sealed record Svd(double[] Ut, double[] S, double[] Vt, int Rows, int Columns)
{
    /// <summary>Number of singular values kept.</summary>
    public int Rank => S.Length;

    /// <summary>The decomposition of Aᵀ.</summary>
    public Svd Transposed => new(Vt, S, Ut, Columns, Rows);

    /// <summary>The first <paramref name="rank"/> triples.</summary>
    public Svd Take(int rank) => rank >= Rank ? this : new Svd(Ut[..(rank * Rows)], S[..rank], Vt[..(rank * Columns)], Rows, Columns);

    /// <summary>Number of singular values above <paramref name="tolerance"/> times the largest; at least 1.</summary>
    public int NumericRank(double tolerance) => Math.Max(1, S.Count(s => s > tolerance * S[0]));

    /// <summary>B = U·S^p [rows, rank] and A = S^(1 − p)·Vᵀ [rank, columns], rounded to binary32.</summary>
    /// <param name="power">p: 1 puts the singular values into B, 0.5 shares them.</param>
    public (float[] A, float[] B) Factors(double power)
    {
        float[] a = new float[(long)Rank * Columns], b = new float[(long)Rows * Rank];
        for (int i = 0; i < Rank; i++)
        {
            double left = Math.Pow(S[i], power), right = Math.Pow(S[i], 1 - power);
            for (int j = 0; j < Columns; j++) a[(long)i * Columns + j] = (float)(Vt[(long)i * Columns + j] * right);
            for (int j = 0; j < Rows; j++) b[(long)j * Rank + i] = (float)(Ut[(long)i * Rows + j] * left);
        }
        return (a, b);
    }
}
