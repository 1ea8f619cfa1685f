using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.Cuda.Tests.Ptx;

public sealed class GemmPlannerTests
{
    private const long Workspace = 64 << 20;

    private static GemmArgs Args(int m, int n, int k, GemmLayout layout = GemmLayout.NT, PtxType type = PtxType.BF16, int r = 0, int padding = 0) => new()
    {
        Layout = layout,
        M = m,
        N = n,
        K = k,
        In = type,
        Out = type,
        A = 0x10000,
        Lda = (layout == GemmLayout.TN ? m : k) + padding,
        B = 0x20000,
        Ldb = (layout == GemmLayout.NT ? k : n) + padding,
        C = 0x30000,
        Ldc = n + padding,
        R = r,
        P = r > 0 ? 0x40000UL : 0,
        Ldp = r,
        L = r > 0 ? 0x50000UL : 0,
        Ldl = layout == GemmLayout.NT ? r : n,
    };

    [Theory]
    [InlineData(8192, 2048, 2048, 256, 1)]
    [InlineData(512, 2048, 2048, 64, 1)]
    [InlineData(8192, 64, 2048, 64, 1)]
    public void HopperTileFollowsTheShape(int m, int n, int k, int tile, int splits)
    {
        GemmPlan plan = GemmPlanner.Plan(Args(m, n, k), PtxArch.Sm90a, 132, Workspace);
        Assert.IsType<GemmWgmmaSpec>(plan.Kernel);
        Assert.Equal((tile, splits), (plan.TileN, plan.Splits));
    }

    [Fact]
    public void SkinnyProductsSplitTheSumWithinTheWorkspace()
    {
        GemmArgs args = Args(16, 2048, 8192, GemmLayout.TN);
        GemmPlan plan = GemmPlanner.Plan(args, PtxArch.Sm90a, 132, Workspace);
        Assert.True(plan.Splits > 1);
        Assert.NotNull(plan.Reduce);
        Assert.InRange(plan.WorkspaceBytes(args.M, args.N), 1, Workspace);
        Assert.Null(GemmPlanner.Plan(args, PtxArch.Sm90a, 132, 0).Reduce);
    }

    [Fact]
    public void EveryRangeOfASplitHasWork()
    {
        foreach (int k in (int[])[64, 100, 1000, 4096, 100000])
        {
            GemmPlan plan = GemmPlanner.Plan(Args(40, 64, k), PtxArch.Sm80, 108, Workspace);
            int tiles = (k + 63) / 64;
            Assert.True((plan.Splits - 1) * plan.TilesPerSplit < tiles && plan.Splits * plan.TilesPerSplit >= tiles);
        }
    }

    [Fact]
    public void TheFallbackTakesWhatTensorCoresCannot()
    {
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(Args(64, 64, 64, type: PtxType.F32), PtxArch.Sm90a, 132, 0).Kernel);
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(Args(64, 64, 64), PtxArch.Sm75, 40, 0).Kernel);
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(Args(64, 64, 60, padding: 3), PtxArch.Sm90a, 132, 0).Kernel);
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(Args(64, 64, 64) with { Strict = true }, PtxArch.Sm90a, 132, 0).Kernel);
        Assert.IsType<GemmMmaSpec>(GemmPlanner.Plan(Args(64, 64, 64, type: PtxType.F16), PtxArch.Sm75, 40, 0).Kernel);
    }

    [Fact]
    public void RaggedColumnsBypassTheCopyEngine()
    {
        GemmPlan plan = GemmPlanner.Plan(Args(256, 67, 64) with { Ldc = 72 }, PtxArch.Sm90a, 132, 0);
        Assert.False(Assert.IsType<GemmWgmmaSpec>(plan.Kernel).Staged);
    }

    [Fact]
    public void FewRowsReadTheWeightsOnce() => Assert.IsType<GemvSpec>(GemmPlanner.Plan(Args(1, 2048, 2048, r: 16), PtxArch.Sm90a, 132, Workspace).Kernel);

    [Fact]
    public void RanksBeyondALanesUnitGoToAKernelThatReadsThemWhole()
    {
        GemmArgs wide = Args(1, 2048, 2048, r: GemvSpec.MaxRank + 8);
        Assert.IsType<GemmFewRowsSpec>(GemmPlanner.Plan(wide, PtxArch.Sm90a, 132, Workspace).Kernel);
        // Turing's tensor cores have no bf16.
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(wide, PtxArch.Sm75, 40, Workspace).Kernel);
    }

    [Fact]
    public void Tf32NeedsToBeAskedForAndAnAmpereCard()
    {
        GemmArgs f32 = Args(512, 512, 512, type: PtxType.F32);
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(f32, PtxArch.Sm80, 108, Workspace).Kernel);
        Assert.IsType<GemmMmaSpec>(GemmPlanner.Plan(f32 with { Tf32 = true }, PtxArch.Sm80, 108, Workspace).Kernel);
        Assert.IsType<GemmSimtSpec>(GemmPlanner.Plan(f32 with { Tf32 = true }, PtxArch.Sm75, 40, Workspace).Kernel);
    }

    [Fact]
    public void RowsOfAnOddVocabularyAreStoredOneElementAtATime()
    {
        GemmPlan plan = GemmPlanner.Plan(Args(1024, 50257, 768), PtxArch.Sm90a, 132, 0);
        Assert.True(Assert.IsType<GemmWgmmaSpec>(plan.Kernel).Epilogue.Single);
    }

    [Fact]
    public void EmptyProductsAreRefused() => Assert.Throws<ArgumentException>(() => GemmPlanner.Plan(Args(0, 8, 8), PtxArch.Sm80, 108, 0));
}
