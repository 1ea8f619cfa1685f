using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;

namespace LoraNet.GpuCheck;

/// <summary>Attention kernels against double precision on packed segments: outputs poisoned before each run, reruns bitwise equal.</summary>
internal static class AttentionCheck
{
    private static readonly string[] s_names = ["o", "lse", "dq", "dk", "dv"];

    public static void Run()
    {
        int[] mixed = [0, 300, 301, 338, 850, 1000], single = [0, 700], tiny = [0, 1, 6, 69, 133, 198, 326, 455];
        List<(string Name, AttentionProblem Problem, IKernelSpec[][] Sets)> cases = [];
        void Case(int[] offsets, int heads, int kv, int d, PtxType type, int window = 0, float cap = 0, float q = 1)
        {
            AttentionProblem p = new(offsets, heads, kv, d, type, window, cap, q);
            List<IKernelSpec[]> sets = [];
            IKernelSpec?[] chosen = [.. Enum.GetValues<AttentionPass>().Select(pass => AttentionRunner.Choose(GpuRun.Cache.Device.Arch, pass, p.Args))];
            if (chosen[0] is not AttentionMmaSpec) sets.Add(chosen!);
            foreach (PtxArch arch in (PtxArch[])[PtxArch.Sm75, PtxArch.Sm80, PtxArch.Sm86])
            {
                AttentionMmaSpec[] specs = [.. Enum.GetValues<AttentionPass>().Select(pass => new AttentionMmaSpec(arch, pass, type, d, window > 0, cap > 0))];
                if (specs.All(s => s.Supported)) sets.Add(specs);
            }
            cases.Add(($"{type} d{d} {heads}/{kv} segments {string.Join(',', offsets.Skip(1))}{(window > 0 ? $" window {window}" : "")}{(cap > 0 ? $" cap {cap}" : "")}{(q != 1 ? $" q*{q}" : "")}", p, [.. sets]));
        }

        Case(mixed, 8, 2, 64, PtxType.BF16);
        Case(mixed, 4, 1, 128, PtxType.BF16);
        Case(tiny, 4, 4, 64, PtxType.F16);
        Case(tiny, 6, 2, 128, PtxType.BF16);
        Case(single, 4, 2, 64, PtxType.BF16, q: 8);
        Case(single, 4, 2, 128, PtxType.F16);
        Case(mixed, 4, 2, 96, PtxType.BF16, window: 100);
        Case(mixed, 4, 2, 64, PtxType.F16, window: 37, cap: 3);
        Case(mixed, 4, 2, 128, PtxType.BF16, cap: 5, q: 4);
        Case(tiny, 2, 1, 80, PtxType.F16);
        Case(mixed, 2, 1, 256, PtxType.BF16, window: 200, cap: 30);
        Case(tiny, 2, 1, 240, PtxType.F16);
        Case(tiny, 2, 1, 16, PtxType.BF16);
        GpuRun.Cache.Prefetch(cases.SelectMany(c => c.Sets).SelectMany(s => s)).Wait();
        AttentionRunner runner = new(GpuRun.Cache);
        foreach ((string name, AttentionProblem problem, IKernelSpec[][] sets) in cases)
        {
            double[][] reference = problem.Reference();
            foreach (IKernelSpec[] set in sets)
            {
                string kernel = set[0] is AttentionMmaSpec mma ? "mma " + mma.Arch : "wgmma";
                GpuRun.Guard($"{kernel} {name}", () => One($"{kernel} {name}", runner, problem, set, reference));
            }
            if (problem.Offsets.Length == 2) GpuRun.Guard($"cached {name}", () => Cached(name, runner, problem, reference[0]));
            problem.Dispose();
        }
    }

    /// <summary>The last 200 rows as new queries over the rest as cached keys.</summary>
    private static void Cached(string name, AttentionRunner runner, AttentionProblem problem, double[] reference)
    {
        int first = problem.Rows - 200, width = problem.Heads * problem.D;
        using DeviceBuffer o = new(200L * width * 2);
        o.Fill(0xff, GpuRun.Stream);
        AttentionArgs args = problem.Args with { Rows = 200, Q = problem.Args.Q + (ulong)(2L * first * problem.Ld), O = o.Pointer, Lse = 0 };
        IKernelSpec spec = AttentionRunner.Choose(GpuRun.Cache.Device.Arch, AttentionPass.Forward, args, shifted: true)!;
        AttentionTiles.Tile[] tiles = AttentionTiles.Cached(0, 200, 0, first, AttentionRunner.TileRows(spec));
        using DeviceBuffer list = DeviceBuffer.From<AttentionTiles.Tile>(tiles);
        runner.Run(spec, args, list.Pointer, tiles.Length, GpuRun.Stream);
        GpuRun.Sync();
        float[] y = Host.Download(o, 200L * width, problem.Type);
        double e = 0, n = 0;
        for (int i = 0; i < y.Length; i++)
        {
            double r = reference[(long)first * width + i];
            e += (y[i] - r) * (y[i] - r);
            n += r * r;
        }
        e = Math.Sqrt(e / n);
        GpuRun.Report($"cached {name}", e < 3e-3, $"o {e:E1}");
    }

    private static void One(string name, AttentionRunner runner, AttentionProblem problem, IKernelSpec[] set, double[][] reference)
    {
        float[][]? first = null;
        bool equal = true;
        DeviceBuffer[] lists = new DeviceBuffer[3];
        int[] counts = new int[3];
        for (int i = 0; i < 3; i++)
        {
            AttentionTiles.Tile[] tiles = AttentionTiles.Packed(problem.Offsets, AttentionRunner.TileRows(set[i]), (AttentionPass)i);
            tiles = AttentionTiles.Pad(tiles, tiles.Length + 5); // as a captured graph would have them
            lists[i] = DeviceBuffer.From<AttentionTiles.Tile>(tiles);
            counts[i] = tiles.Length;
        }
        for (int run = 0; run < 3; run++)
        {
            problem.Poison();
            for (int i = 0; i < 3; i++) runner.Run(set[i], problem.Args, lists[i].Pointer, counts[i], GpuRun.Stream);
            GpuRun.Sync();
            float[][] now = problem.Results();
            first ??= now;
            for (int i = 0; i < now.Length; i++) equal &= now[i].AsSpan().SequenceEqual(first[i]);
        }
        List<string> parts = [];
        bool ok = equal;
        double limit = problem.Type == PtxType.F16 ? 1.5e-3 : 7e-3;
        for (int i = 0; i < s_names.Length; i++)
        {
            double e = 0, n = 0;
            int nan = 0;
            for (int j = 0; j < first![i].Length; j++)
            {
                double d = first[i][j] - reference[i][j];
                if (double.IsNaN(d)) nan++;
                else e += d * d;
                n += reference[i][j] * reference[i][j];
            }
            e = Math.Sqrt(e / n);
            ok &= nan == 0 && e < (i == 1 ? 2e-5 : limit);
            parts.Add($"{s_names[i]} {e:E1}{(nan > 0 ? $" NaN {nan}" : "")}");
        }
        GpuRun.Report(name, ok, string.Join("  ", parts) + (equal ? "" : "  UNEQUAL RERUN"));
        foreach (DeviceBuffer b in lists) b.Dispose();
    }
}
