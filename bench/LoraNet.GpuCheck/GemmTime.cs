using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.GpuCheck;

/// <summary>TFLOP/s of the products that LoRA training is made of, with the plans that the planner chooses.</summary>
internal static class GemmTime
{
    private const long Workspace = 256 << 20;

    public static void Run()
    {
        using DeviceBuffer workspace = new(Workspace);
        (GemmLayout L, int M, int N, int K, int R)[] shapes = [
            (GemmLayout.NT, 8192, 2048, 2048, 0), (GemmLayout.NT, 8192, 8192, 2048, 0), (GemmLayout.NT, 8192, 2048, 8192, 0), (GemmLayout.NT, 4096, 4096, 4096, 0), (GemmLayout.NT, 2048, 4096, 14336, 0),
            (GemmLayout.NT, 1024, 128256, 2048, 0), (GemmLayout.NT, 8192, 2048, 2048, 16), (GemmLayout.NT, 8192, 8192, 2048, 16), (GemmLayout.NT, 8192, 8192, 2048, 64),
            (GemmLayout.NN, 8192, 2048, 2048, 0), (GemmLayout.NN, 8192, 2048, 8192, 0), (GemmLayout.NN, 4096, 4096, 4096, 0), (GemmLayout.NN, 8192, 2048, 8192, 16),
            (GemmLayout.TN, 4096, 4096, 4096, 0), (GemmLayout.TN, 2048, 8192, 8192, 0),
            (GemmLayout.NT, 8192, 16, 2048, 0), (GemmLayout.NT, 8192, 64, 2048, 0), (GemmLayout.NN, 8192, 16, 2048, 0), (GemmLayout.TN, 16, 2048, 8192, 0), (GemmLayout.TN, 2048, 16, 8192, 0), (GemmLayout.TN, 8192, 16, 8192, 0),
            (GemmLayout.NT, 512, 2048, 2048, 0), (GemmLayout.NT, 512, 512, 2048, 0), (GemmLayout.NT, 512, 8192, 2048, 0), (GemmLayout.NT, 512, 2048, 8192, 0), (GemmLayout.NT, 2048, 2048, 2048, 0), (GemmLayout.NT, 128, 2048, 2048, 0), (GemmLayout.NT, 16, 4096, 4096, 0)];
        GemmRunner runner = new(GpuRun.Cache);
        foreach ((GemmLayout layout, int m, int n, int k, int r) in shapes)
            GpuRun.Guard($"{layout} {m} {n} {k} r{r}", () =>
            {
                using Set set = new(layout, m, n, k, r, PtxType.BF16, layout == GemmLayout.TN && Math.Min(m, n) <= 64 ? PtxType.F32 : PtxType.BF16);
                GemmPlan plan = runner.Plan(set.Args(0), Workspace);
                double plain = GpuRun.Time(i => runner.Run(set.Args(i), plan, GpuRun.Stream, workspace.Pointer));
                double graph = GpuRun.TimeGraph(i => runner.Run(set.Args(i), plan, GpuRun.Stream, workspace.Pointer));
                double flop = 2.0 * m * n * k;
                Console.WriteLine($"{layout} {m,6} {n,6} {k,6} r{r,-3} {Name(plan),-34} {graph * 1e3,8:F1} us {flop / graph / 1e9,6:F0} TFLOP/s   (launched one by one {plain * 1e3:F1} us {flop / plain / 1e9:F0})");
            });
    }

    /// <summary>The kernels of other cards, timed on this one.</summary>
    public static void Portable()
    {
        using DeviceBuffer workspace = new(Workspace);
        foreach ((GemmLayout layout, int m, int n, int k) in ((GemmLayout, int, int, int)[])[(GemmLayout.NT, 4096, 4096, 4096), (GemmLayout.NN, 4096, 4096, 4096), (GemmLayout.TN, 4096, 4096, 4096)])
        {
            foreach ((int tm, int tn) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                foreach ((PtxArch arch, PtxType type) in ((PtxArch, PtxType)[])[(PtxArch.Sm80, PtxType.BF16), (PtxArch.Sm75, PtxType.F16)])
                    Fixed($"mma.sync {arch} {tm}x{tn}", layout, m, n, k, type, type, workspace, new GemmMmaSpec(arch, layout, tm, tn, false, new(type, type, false, false, false)), tm, tn);
            foreach ((int tm, int tn) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                Fixed($"tf32 mma.sync {tm}x{tn}", layout, m, n, k, PtxType.F32, PtxType.F32, workspace, new GemmMmaSpec(PtxArch.Sm80, layout, tm, tn, false, new(PtxType.F32, PtxType.F32, false, false, false)), tm, tn);
            Fixed("simt fp32", layout, m, n, k, PtxType.F32, PtxType.F32, workspace, new GemmSimtSpec(PtxArch.Sm80, layout, false, new(PtxType.F32, PtxType.F32, false, false, false)), 128, 128);
            Fixed("simt bf16", layout, m, n, k, PtxType.BF16, PtxType.BF16, workspace, new GemmSimtSpec(PtxArch.Sm80, layout, false, new(PtxType.BF16, PtxType.BF16, false, false, false)), 128, 128);
        }
    }

    /// <summary>GB/s of the decoding kernel.</summary>
    public static void Gemv()
    {
        GemmRunner runner = new(GpuRun.Cache);
        foreach (int rows in (int[])[1, 2, 4, 8, 16])
            foreach ((int n, int k) in ((int, int)[])[(2048, 2048), (8192, 2048), (2048, 8192), (14336, 4096), (128256, 2048)])
                GpuRun.Guard($"gemv {rows} {n} {k}", () =>
                {
                    // Enough copies of W that none is still in the cache when its turn comes again.
                    using Set set = new(GemmLayout.NT, rows, n, k, 0, PtxType.BF16, PtxType.BF16, Math.Max(3, (int)((200L << 20) / (2L * n * k))));
                    GemmPlan plan = runner.Plan(set.Args(0), 0);
                    double ms = GpuRun.TimeGraph(i => runner.Run(set.Args(i), plan, GpuRun.Stream, 0), 60);
                    Console.WriteLine($"gemv {rows} x {n} x {k}: {ms * 1e3:F1} us, {2.0 * n * k / ms / 1e6:F0} GB/s");
                });
    }

    private static string Name(GemmPlan plan) => $"{(plan.Kernel is GemmWgmmaSpec w ? $"wgmma 128x{w.TileN} lr{w.LowRank}" : plan.Kernel.GetType().Name + $" {plan.TileM}x{plan.TileN}")} splits {plan.Splits}";

    private static void Fixed(string name, GemmLayout layout, int m, int n, int k, PtxType type, PtxType output, DeviceBuffer workspace, IKernelSpec spec, int tm, int tn) => GpuRun.Guard(name, () =>
    {
        using Set set = new(layout, m, n, k, 0, type, output);
        GemmPlan plan = new(spec, null, tm, tn, 1, 1 << 20, 16);
        GemmRunner runner = new(GpuRun.Cache);
        double ms = GpuRun.Time(i => runner.Run(set.Args(i), plan, GpuRun.Stream, workspace.Pointer), 8, 3);
        Console.WriteLine($"{layout} {m,6} {n,6} {k,6} {name,-34} {ms * 1e3,8:F1} us {2.0 * m * n * k / ms / 1e9,6:F0} TFLOP/s");
    });

    /// <summary>Three rotating input sets of random data.</summary>
    internal sealed class Set : IDisposable
    {
        private static readonly Dictionary<PtxType, byte[]> s_random = [];
        private readonly List<DeviceBuffer> _buffers = [];
        private readonly GemmArgs[] _args;

        public Set(GemmLayout layout, int m, int n, int k, int r, PtxType type, PtxType output, int count = 3)
        {
            _args = new GemmArgs[count];
            for (int i = 0; i < count; i++)
                _args[i] = new GemmArgs
                {
                    Layout = layout,
                    M = m,
                    N = n,
                    K = k,
                    In = type,
                    Out = output,
                    R = r,
                    A = Random((long)m * k, type),
                    Lda = layout == GemmLayout.TN ? m : k,
                    B = Random((long)n * k, type),
                    Ldb = layout == GemmLayout.NT ? k : n,
                    C = Random((long)m * n, output),
                    Ldc = n,
                    P = r > 0 ? Random((long)m * r, type) : 0,
                    Ldp = r,
                    L = r > 0 ? Random((long)n * r, type) : 0,
                    Ldl = layout == GemmLayout.NT ? r : n,
                };
        }

        public GemmArgs Args(int i) => _args[i % _args.Length];

        public ulong Random(long n, PtxType type)
        {
            if (!s_random.TryGetValue(type, out byte[]? data)) s_random[type] = data = Host.Encode(Host.Normal(1 << 21, 77), type);
            DeviceBuffer b = new(n * type.Bytes());
            for (long at = 0; at < b.Bytes; at += data.Length)
            {
                int count = (int)Math.Min(data.Length, b.Bytes - at);
                unsafe
                {
                    fixed (byte* p = data) CudaError.Check(Native.cuMemcpyHtoD_v2(b.Pointer + (ulong)at, p, (nuint)count), "upload");
                }
            }
            _buffers.Add(b);
            return b.Pointer;
        }

        public void Dispose() => _buffers.ForEach(b => b.Dispose());
    }
}
