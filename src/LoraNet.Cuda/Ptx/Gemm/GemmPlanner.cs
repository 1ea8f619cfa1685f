using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// Chooses kernel family, tile and K split with a small cost model: rounds of blocks x (k-tiles x cycles per k-tile + cycles per tile) plus the reduction's memory traffic.
/// The cycle counts were fitted to timings on an H100 (docs/gpu-kernels.md); only their ratios matter.
/// </summary>
internal static class GemmPlanner
{
    // A split's reduction: launch and tail of a second kernel, and fp32 partials written and read once.
    private const double ReduceCycles = 3000, BytesPerCycle = 1500;

    /// <summary>Plans a product.</summary>
    /// <param name="args">The product.</param>
    /// <param name="arch">Target.</param>
    /// <param name="multiprocessors">Multiprocessors of the card.</param>
    /// <param name="workspaceBytes">Workspace that split sums may use.</param>
    public static GemmPlan Plan(in GemmArgs args, PtxArch arch, int multiprocessors, long workspaceBytes)
    {
        if (args.M <= 0 || args.N <= 0 || args.K <= 0) throw new ArgumentException($"A product of {args.M} x {args.N} x {args.K} has no elements.");
        GemmEpilogue epilogue = new(args.In, args.Out, args.Bias != 0, args.Addend != 0, false);
        if (FewRows(args, arch))
        {
            if (IsGemv(args))
                return new(new GemvSpec(arch, args.M, args.R > 0, epilogue).For(args.N, args.K, multiprocessors), null, args.M, args.N, 1, 0, 1);
            int blocks = args.N >= 16384 ? 2 : 1; // wide matrices: fewer blocks read x again
            return new(new GemmFewRowsSpec(arch, args.M > 8, blocks, args.R > 0, epilogue), null, args.M, 8 * blocks, 1, 0, 1);
        }
        GemmPlan best = default;
        double bestCost = double.PositiveInfinity;
        foreach (Candidate c in Candidates(args, arch))
        {
            int tiles = Ceil(args.M, c.TileM) * Ceil(args.N, c.TileN), kTiles = Ceil(args.K, c.TileK) + (args.R > 0 ? Ceil(args.R, c.TileK) : 0);
            for (int splits = 1; splits <= 64; splits++)
            {
                int per = Ceil(kTiles, splits);
                if (Ceil(kTiles, per) != splits) continue; // every range must have work
                long bytes = (long)splits * args.M * GemmPlan.PartialPitch(args.N) * 4;
                if (splits > 1 && (per < c.MinTiles || bytes > workspaceBytes)) break;
                int rounds = Ceil(tiles * splits, multiprocessors * c.BlocksPerMultiprocessor);
                double cost = rounds * (per * c.CyclesPerTile + c.FixedCycles) + (splits > 1 ? ReduceCycles + 2 * bytes / BytesPerCycle : 0);
                if (cost >= bestCost) continue;
                bestCost = cost;
                int group = Math.Clamp(16 * 256 / c.TileN, 1, 64);
                best = new(c.Build(epilogue with { Split = splits > 1, Single = splits == 1 && c.Single }), splits > 1 ? new GemmReduceSpec(arch, epilogue) : null, c.TileM, c.TileN, splits, per, group);
                if (tiles * splits >= multiprocessors * c.BlocksPerMultiprocessor) break; // the card is full: more ranges only add traffic
            }
        }
        return best;
    }

    private static bool IsGemv(in GemmArgs a) => a.M <= GemvSpec.MaxRows && a.R <= GemvSpec.MaxRank;

    private static bool FewRows(in GemmArgs a, PtxArch arch) =>
        (IsGemv(a) || (a.M <= GemmFewRowsSpec.MaxRows && (a.In != PtxType.BF16 || arch.IsAmpere()))) && a.Layout == GemmLayout.NT && !a.Strict && a.In != PtxType.F32 && ((a.K | a.R) & 7) == 0
        && TensorMap.Fits(a.A, a.Lda) && TensorMap.Fits(a.B, a.Ldb) && (a.R == 0 || (TensorMap.Fits(a.P, a.Ldp) && TensorMap.Fits(a.L, a.Ldl)));

    private static int Ceil(int a, int b) => (a + b - 1) / b;

    private static IEnumerable<Candidate> Candidates(GemmArgs a, PtxArch arch)
    {
        bool lowRank = a.R > 0;
        bool operands = Aligned(a.In, a.A, a.Lda) && Aligned(a.In, a.B, a.Ldb) && (!lowRank || (Aligned(a.In, a.P, a.Ldp) && Aligned(a.In, a.L, a.Ldl)));
        int pair = a.Out.Bytes() * 2;
        bool single = a.C % (ulong)pair != 0 || (a.Ldc & 1) != 0;
        bool takes = a.In switch { PtxType.F16 => true, PtxType.BF16 => arch.IsAmpere(), _ => a.Tf32 && arch.IsAmpere() };
        if (a.Strict || !takes || !operands)
        {
            yield return new(GemmSimtSpec.Tile, GemmSimtSpec.Tile, GemmSimtSpec.TileK, 1, 2400, 3000, 8, e => new GemmSimtSpec(arch, a.Layout, lowRank, e));
            yield break;
        }
        // The copy engine clips its writes at 16 bytes, so a ragged last column group would overwrite what lies between rows.
        bool staged = (a.N & 7) == 0 && TensorMap.Fits(a.C, a.Ldc) && (a.Addend == 0 || TensorMap.Fits(a.Addend, a.LdAddend));
        if (arch == PtxArch.Sm90a && a.In != PtxType.F32 && !(lowRank && a.Layout == GemmLayout.TN))
        {
            foreach ((int tile, double perTile, double fix) in ((int, double, double)[])[(256, 1080, 5400), (128, 610, 3500), (64, 530, 2500)])
                yield return new(GemmWgmmaSpec.TileM, tile, GemmWgmmaSpec.TileK, 1, perTile, fix, 4,
                    e => new GemmWgmmaSpec(a.Layout, tile, !lowRank ? 0 : e.Split || a.R > 32 ? 4 : a.R > 16 ? 2 : 1, staged, e), single);
            yield break;
        }
        // Register copies on sm_75 move whole 16-byte units; asynchronous ones cut them themselves.
        bool ragged = arch == PtxArch.Sm75 && (((a.K | a.R) & 7) != 0 || (a.Layout != GemmLayout.NT && (a.N & 7) != 0) || (a.Layout == GemmLayout.TN && (a.M & 7) != 0));
        // A k-tile of TF32 has half the depth and takes the same time: as many bytes, half the rate.
        int tileK = !arch.IsAmpere() || a.In == PtxType.F32 ? 32 : 64;
        double depth = arch.IsAmpere() ? 1 : 0.5;
        // Cycles are per block with two blocks sharing a multiprocessor.
        foreach ((int tm, int tn, double perTile, double fix) in ((int, int, double, double)[])[(128, 128, 2200, 5000), (64, 128, 1300, 4000), (64, 64, 900, 3500)])
            yield return new(tm, tn, tileK, 2, perTile * depth, fix, 4, e => new GemmMmaSpec(arch, a.Layout, tm, tn, lowRank, e, ragged), single);
    }

    /// <summary>Whether rows can be copied in units of 16 bytes.</summary>
    private static bool Aligned(PtxType type, ulong address, long ld) => (address & 15) == 0 && ld * type.Bytes() % 16 == 0;

    private readonly record struct Candidate(int TileM, int TileN, int TileK, int BlocksPerMultiprocessor, double CyclesPerTile, double FixedCycles, int MinTiles, Func<GemmEpilogue, IKernelSpec> Build, bool Single = false);
}
