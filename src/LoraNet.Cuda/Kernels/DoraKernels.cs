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
            float cross = 0f, quadratic = 0f;
            for (int r = 0; r < a.Rank; r++)
            {
                float b = Stored.Load(a.BKind, a.B, (long)n * a.Rank + r), bg = 0f;
                cross += Stored.Load(a.CKind, a.C, (long)r * a.Rows + n) * b;
                for (int q = 0; q < a.Rank; q++) bg += Stored.Load(a.BKind, a.B, (long)n * a.Rank + q) * Stored.Load(a.GKind, a.G, (long)q * a.Rank + r);
                quadratic += bg * b;
            }
            float square = Stored.Load(a.W2Kind, a.W2, n) + 2f * a.Scale * cross + a.Scale * a.Scale * quadratic;
            StoredF32.Store(a.Norm, n, MathF.Sqrt(square > 0f ? square : 0f));
        }
    }
}
