using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="DoraKernels.Norm"/>.</summary>
internal struct DoraArgs
{
    public long W2, C, B, G, Norm;
    public int W2Kind, CKind, BKind, GKind, Rows, Rank;
    public float Scale;
}

/// <summary>The row norms of W + s·B·A that DoRA (Liu et al., 2024) divides by.</summary>
internal static class DoraKernels
{
    /// <summary>norm[n] = √(w2[n] + 2s·Σᵣ c[r,n]·b[n,r] + s²·Σᵣ (b·g)[n,r]·b[n,r]); a thread an output row.</summary>
    public static void Norm(DoraArgs a)
    {
        for (int n = Grid.IdxX * Group.DimX + Group.IdxX; n < a.Rows; n += Grid.DimX * Group.DimX)
        {
            // In double: where B·A nearly cancels a row of W the terms are far larger than their sum.
            double cross = 0, quadratic = 0;
            for (int r = 0; r < a.Rank; r++)
            {
                double b = Stored.Load(a.BKind, a.B, (long)n * a.Rank + r), bg = 0;
                cross += Stored.Load(a.CKind, a.C, (long)r * a.Rows + n) * b;
                for (int q = 0; q < a.Rank; q++) bg += (double)Stored.Load(a.BKind, a.B, (long)n * a.Rank + q) * Stored.Load(a.GKind, a.G, (long)q * a.Rank + r);
                quadratic += bg * b;
            }
            double square = Stored.Load(a.W2Kind, a.W2, n) + 2.0 * a.Scale * cross + (double)a.Scale * a.Scale * quadratic;
            StoredF32.Store(a.Norm, n, (float)Math.Sqrt(square > 0 ? square : 0));
        }
    }
}
