using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="GemmKernels.Multiply"/>; unused addresses are 0.</summary>
internal struct GemmArgs
{
    /// <summary>Operands of the main product and of the low-rank phase, bias, output [M, N].</summary>
    public long A, B, Left, Right, Bias, C;

    /// <summary>Elements between neighbours along m, n and k in each operand.</summary>
    public long AM, AK, BN, BK, RightN, RightK;

    public int M, N, K, Rank;

    /// <summary>Storage of the small operands (<see cref="Stored"/>).</summary>
    public int LeftKind, RightKind, BiasKind;

    /// <summary>Threads form a square of this side; each computes 4 x 4 outputs.</summary>
    public int Side;

    /// <summary>Tiles along n.</summary>
    public int TilesN;

    /// <summary>Non-zero adds to C.</summary>
    public int Accumulate;

    public float Alpha;
}

/// <summary>
/// The plain matrix product behind every case the tensor-core kernels do not take, and the only one on ILGPU's CPU
/// accelerator: tiles through shared memory, binary32 throughout, any orientation by strides, the low-rank update in the
/// same accumulators so that C is rounded once.
/// </summary>
internal static class GemmKernels
{
    private const int TileK = 16, MaxTile = 64, Pitch = MaxTile + 4;

    private struct Accumulators
    {
        public Pack R0, R1, R2, R3;
    }

    public static void Multiply<TA, TB, TC>(GemmArgs a)
        where TA : struct, IStorage
        where TB : struct, IStorage
        where TC : struct, IStorage
    {
        // Both tiles lie [k][m or n].
        ArrayView<float> tileA = SharedMemory.Allocate<float>(TileK * Pitch), tileB = SharedMemory.Allocate<float>(TileK * Pitch);
        int side = a.Side, tile = 4 * side;
        int m0 = Grid.IdxX / a.TilesN * tile, n0 = Grid.IdxX % a.TilesN * tile;
        int ty = Group.IdxX / side * 4, tx = Group.IdxX % side * 4;
        Accumulators acc = default;
        for (int k0 = 0; k0 < a.K; k0 += TileK)
        {
            Fetch<TA>(tileA, a.A, a.AM, a.AK, m0, a.M, k0, a.K, tile, side);
            Fetch<TB>(tileB, a.B, a.BN, a.BK, n0, a.N, k0, a.K, tile, side);
            Group.Barrier();
            acc = Accumulate(tileA, tileB, acc, ty, tx);
            Group.Barrier();
        }
        acc = Scale(acc, a.Alpha);
        for (int k0 = 0; k0 < a.Rank; k0 += TileK)
        {
            FetchAny(tileA, a.LeftKind, a.Left, a.Rank, 1, m0, a.M, k0, a.Rank, tile, side);
            FetchAny(tileB, a.RightKind, a.Right, a.RightN, a.RightK, n0, a.N, k0, a.Rank, tile, side);
            Group.Barrier();
            acc = Accumulate(tileA, tileB, acc, ty, tx);
            Group.Barrier();
        }
        Finish<TC>(a, m0 + ty, n0 + tx, acc.R0);
        Finish<TC>(a, m0 + ty + 1, n0 + tx, acc.R1);
        Finish<TC>(a, m0 + ty + 2, n0 + tx, acc.R2);
        Finish<TC>(a, m0 + ty + 3, n0 + tx, acc.R3);
    }

    private static void Fetch<T>(ArrayView<float> target, long address, long strideMn, long strideK, int mn0, int mnEnd, int k0, int kEnd, int tile, int side)
        where T : struct, IStorage
    {
        for (int e = Group.IdxX; e < tile * TileK; e += side * side)
        {
            // Neighbouring threads read neighbouring elements whichever way the operand lies.
            int k = strideK == 1 ? e % TileK : e / tile, mn = strideK == 1 ? e / TileK : e % tile;
            float value = 0f;
            if (mn0 + mn < mnEnd && k0 + k < kEnd) value = T.Load(address, (mn0 + mn) * strideMn + (k0 + k) * strideK);
            target[k * Pitch + mn] = value;
        }
    }

    private static void FetchAny(ArrayView<float> target, int kind, long address, long strideMn, long strideK, int mn0, int mnEnd, int k0, int kEnd, int tile, int side)
    {
        if (kind == Stored.F32) Fetch<StoredF32>(target, address, strideMn, strideK, mn0, mnEnd, k0, kEnd, tile, side);
        else if (kind == Stored.BF16) Fetch<StoredBF16>(target, address, strideMn, strideK, mn0, mnEnd, k0, kEnd, tile, side);
        else Fetch<StoredF16>(target, address, strideMn, strideK, mn0, mnEnd, k0, kEnd, tile, side);
    }

    private static Accumulators Accumulate(ArrayView<float> tileA, ArrayView<float> tileB, Accumulators acc, int ty, int tx)
    {
        for (int k = 0; k < TileK; k++)
        {
            int ra = k * Pitch + ty, rb = k * Pitch + tx;
            Pack b = new(tileB[rb], tileB[rb + 1], tileB[rb + 2], tileB[rb + 3]);
            acc.R0 = MultiplyAdd(tileA[ra], b, acc.R0);
            acc.R1 = MultiplyAdd(tileA[ra + 1], b, acc.R1);
            acc.R2 = MultiplyAdd(tileA[ra + 2], b, acc.R2);
            acc.R3 = MultiplyAdd(tileA[ra + 3], b, acc.R3);
        }
        return acc;
    }

    private static Pack MultiplyAdd(float a, Pack b, Pack c) => new(a * b.X + c.X, a * b.Y + c.Y, a * b.Z + c.Z, a * b.W + c.W);

    private static Accumulators Scale(Accumulators acc, float alpha)
    {
        acc.R0 = MultiplyAdd(alpha, acc.R0, default);
        acc.R1 = MultiplyAdd(alpha, acc.R1, default);
        acc.R2 = MultiplyAdd(alpha, acc.R2, default);
        acc.R3 = MultiplyAdd(alpha, acc.R3, default);
        return acc;
    }

    private static void Finish<TC>(GemmArgs a, int m, int n, Pack value)
        where TC : struct, IStorage
    {
        if (m >= a.M) return;
        FinishOne<TC>(a, m, n, value.X);
        FinishOne<TC>(a, m, n + 1, value.Y);
        FinishOne<TC>(a, m, n + 2, value.Z);
        FinishOne<TC>(a, m, n + 3, value.W);
    }

    private static void FinishOne<TC>(GemmArgs a, int m, int n, float value)
        where TC : struct, IStorage
    {
        if (n >= a.N) return;
        long at = (long)m * a.N + n;
        if (a.Bias != 0) value += Stored.Load(a.BiasKind, a.Bias, n);
        if (a.Accumulate != 0) value += TC.Load(a.C, at);
        TC.Store(a.C, at, value);
    }
}
