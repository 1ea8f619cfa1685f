using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.GpuCheck;

/// <summary>Every GEMM family against double precision on the host: ragged sizes, pitches larger than rows, all epilogues, poisoned outputs, bitwise equal reruns.</summary>
internal static class GemmCheck
{
    private const long Workspace = 256 << 20;

    public sealed record Case(GemmLayout Layout, int M, int N, int K, PtxType In, PtxType Out, bool Bias = false, bool Addend = false, bool InPlace = false, int R = 0, float Alpha = 1, int Pad = 8, bool Single = false)
    {
        public override string ToString() => $"{Layout} {M}x{N}x{K} {In}->{Out}{(Bias ? " bias" : "")}{(Addend ? InPlace ? " +=" : " add" : "")}{(R > 0 ? $" r{R}" : "")}{(Alpha != 1 ? $" a{Alpha}" : "")} pad{Pad}{(Single ? " odd rows" : "")}";
    }

    /// <param name="only">Beginning of the kernel names to run, or empty for all.</param>
    public static void Run(string only)
    {
        using DeviceBuffer workspace = new(Workspace);
        List<(Case C, Func<GemmEpilogue, IKernelSpec> Spec, int TileM, int TileN, int TileK, int Splits, string Name)> runs = [];
        PtxType bf = PtxType.BF16, hf = PtxType.F16, f = PtxType.F32;
        foreach (GemmLayout layout in Enum.GetValues<GemmLayout>())
        {
            Case[] cases = [
                new(layout, 256, 256, 256, bf, bf), new(layout, 200, 328, 136, bf, bf, Bias: true, Addend: true, R: 16, Alpha: 0.5f),
                new(layout, 129, 67, 333, bf, bf, Bias: true, R: 24, Pad: 3 * 8), new(layout, 300, 264, 520, bf, f, Addend: true, InPlace: true), new(layout, 77, 131, 1000, bf, f, Bias: true, Alpha: 2f),
                new(layout, 136, 264, 192, hf, hf, Bias: true, Addend: true, InPlace: true, R: 40), new(layout, 5, 16, 4096, bf, bf, Addend: true, R: 8), new(layout, 200, 72, 448, bf, bf, R: 8), new(layout, 1000, 1304, 1992, bf, bf, R: 64),
                new(layout, 1, 37, 2048, bf, bf, Bias: true, Addend: true, R: 16), new(layout, 8, 1022, 5000, hf, f, R: 40), new(layout, 3, 128, 136, bf, bf, Alpha: 3f), new(layout, 13, 88, 2056, bf, bf, Bias: true, Addend: true, R: 16)];
            foreach (Case c0 in cases)
            {
                Case c = layout == GemmLayout.TN ? c0 with { R = 0 } : c0;
                foreach (int tile in (int[])[256, 128, 64])
                    foreach (int splits in (int[])[1, 3])
                    {
                        if (splits > 1 && tile != 64 || (tile == 128 && c.M < 200)) continue;
                        runs.Add((c, e => new GemmWgmmaSpec(layout, tile, c.R == 0 ? 0 : e.Split || c.R > 32 ? 4 : c.R > 16 ? 2 : 1, c.N % 8 == 0, e), 128, tile, 64, splits, $"wgmma{tile} s{splits}"));
                    }
                foreach ((int tm, int tn) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                    runs.Add((c0, e => new GemmMmaSpec(PtxArch.Sm80, layout, tm, tn, c0.R > 0, e), tm, tn, 64, tn == 64 ? 3 : 1, $"mma80 {tm}x{tn}"));
                if (layout == GemmLayout.NT && c0.M is > 2 and <= 16)
                    foreach (int blocks in (int[])[1, 2])
                        runs.Add((c0, e => new GemmFewRowsSpec(PtxArch.Sm80, c0.M > 8, blocks, c0.R > 0, e), c0.M, 8 * blocks, 1 << 20, 1, $"few {blocks}"));
                if (layout == GemmLayout.NT && c0.M <= 2)
                    runs.Add((c0, e => new GemvSpec(PtxArch.Sm80, c0.M, c0.R > 0, e).For(c0.N, c0.K, 132), c0.M, c0.N, 1 << 20, 1, "gemv"));
                if (c0.In == hf && c0.N % 8 == 0)
                    foreach ((int tm, int tn) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                        runs.Add((c0, e => new GemmMmaSpec(PtxArch.Sm75, layout, tm, tn, c0.R > 0, e), tm, tn, 32, tn == 64 ? 3 : 1, $"mma75 {tm}x{tn}"));
                Case odd = c0 with { Pad = 3 };
                runs.Add((odd, e => new GemmSimtSpec(PtxArch.Sm75, layout, odd.R > 0, e), 128, 128, 16, 1, "simt"));
                Case fraction = c0 with { In = f, Out = f };
                foreach ((int tm, int tn) in ((int, int)[])[(128, 128), (64, 128), (64, 64)])
                    runs.Add((fraction, e => new GemmMmaSpec(PtxArch.Sm80, layout, tm, tn, fraction.R > 0, e), tm, tn, 32, tn == 64 ? 3 : 1, $"tf32 {tm}x{tn}"));
                if (c0.In == hf)
                    runs.Add((c0 with { K = c0.K - 3, N = c0.N - 3, M = c0.M + 1 }, e => new GemmMmaSpec(PtxArch.Sm75, layout, 128, 128, c0.R > 0, e, true), 128, 128, 32, 1, "mma75 ragged"));
                Case unpaired = c0 with { Single = true };
                runs.Add((unpaired, e => new GemmMmaSpec(PtxArch.Sm80, layout, 64, 128, c0.R > 0, e with { Single = true }), 64, 128, 64, 1, "mma80 single"));
                if (c0.R == 0) runs.Add((unpaired, e => new GemmWgmmaSpec(layout, 128, 0, false, e with { Single = true }), 128, 128, 64, 1, "wgmma128 single"));
                Case strict = c0 with { In = f, Out = f, Pad = 1 };
                runs.Add((strict, e => new GemmSimtSpec(PtxArch.Sm80, layout, strict.R > 0, e), 128, 128, 16, c0.K > 500 ? 2 : 1, "simt"));
            }
        }
        runs.RemoveAll(r => !r.Name.StartsWith(only, StringComparison.Ordinal));
        // All kernels compile on the machine's other cores first.
        List<IKernelSpec> specs = [];
        foreach ((Case c, Func<GemmEpilogue, IKernelSpec> spec, int _, int _, int _, int splits, string _) in runs)
        {
            GemmEpilogue e = new(c.In, c.Out, c.Bias, c.Addend, false);
            specs.Add(spec(e with { Split = splits > 1 }));
            if (splits > 1) specs.Add(new GemmReduceSpec(PtxArch.Sm80, e));
        }
        GpuRun.Cache.Prefetch(specs).Wait();
        Console.WriteLine($"{specs.Distinct().Count()} kernels compiled");
        foreach (IGrouping<Case, (Case C, Func<GemmEpilogue, IKernelSpec> Spec, int TileM, int TileN, int TileK, int Splits, string Name)> g in runs.GroupBy(r => r.C))
            One(g.Key, workspace, g.Select(r =>
            {
                GemmEpilogue e = new(r.C.In, r.C.Out, r.C.Bias, r.C.Addend, false);
                int kTiles = (r.C.K + r.TileK - 1) / r.TileK + (r.C.R + r.TileK - 1) / r.TileK, splits = Math.Min(r.Splits, kTiles), per = (kTiles + splits - 1) / splits;
                splits = (kTiles + per - 1) / per;
                return (r.Name, new GemmPlan(r.Spec(e with { Split = splits > 1 }), splits > 1 ? new GemmReduceSpec(PtxArch.Sm80, e) : null, r.TileM, r.TileN, splits, per, 3));
            }));
    }

    /// <summary>Random products through the planner.</summary>
    public static void Fuzz(int count)
    {
        using DeviceBuffer workspace = new(Workspace);
        Random rng = new(20);
        int Size() => rng.Next(4) switch { 0 => rng.Next(1, 20), 1 => 8 * rng.Next(1, 60), 2 => rng.Next(1, 700), _ => 64 * rng.Next(1, 30) };
        for (int i = 0; i < count; i++)
        {
            PtxType type = rng.Next(4) == 0 ? PtxType.F16 : PtxType.BF16, output = rng.Next(4) == 0 ? PtxType.F32 : type;
            bool addend = rng.Next(2) == 0;
            Case c = new((GemmLayout)rng.Next(3), Size(), Size(), Size(), type, output, rng.Next(3) == 0, addend, addend && rng.Next(2) == 0, rng.Next(3) == 0 ? rng.Next(1, 80) : 0, rng.Next(2) == 0 ? 1 : 0.75f, rng.Next(6) == 0 ? 3 : 8);
            GpuRun.Guard($"{c}", () => One(c, workspace, []));
        }
    }

    private static void One(Case c, DeviceBuffer workspace, IEnumerable<(string Name, GemmPlan Plan)> plans)
    {
        int aRows = c.Layout == GemmLayout.TN ? c.K : c.M, aCols = c.Layout == GemmLayout.TN ? c.M : c.K, bRows = c.Layout == GemmLayout.NT ? c.N : c.K, bCols = c.Layout == GemmLayout.NT ? c.K : c.N;
        int pRows = c.Layout == GemmLayout.TN ? c.R : c.M, pCols = c.Layout == GemmLayout.TN ? c.M : c.R, lRows = c.Layout == GemmLayout.NT ? c.N : c.R, lCols = c.Layout == GemmLayout.NT ? c.R : c.N;
        int Ld(int cols) => (cols + c.Pad - 1) / c.Pad * c.Pad + c.Pad;
        int LdC(int cols) => Ld(cols) + (c.Single ? 1 : 0);
        float[] a = Host.Normal((long)aRows * Ld(aCols), 1), b = Host.Normal((long)bRows * Ld(bCols), 2), p = Host.Normal((long)pRows * Ld(pCols), 3), l = Host.Normal((long)lRows * Ld(lCols), 4), bias = Host.Normal(c.N, 5), add = Host.Normal((long)c.M * LdC(c.N), 6);
        // what lies between rows must never be read into a result
        Poison(a, aRows, aCols, Ld(aCols));
        Poison(b, bRows, bCols, Ld(bCols));
        Poison(p, pRows, pCols, Ld(pCols));
        Poison(l, lRows, lCols, Ld(lCols));
        using DeviceBuffer da = DeviceBuffer.From<byte>(Host.Encode(a, c.In)), db = DeviceBuffer.From<byte>(Host.Encode(b, c.In)), dp = DeviceBuffer.From<byte>(Host.Encode(p, c.In)), dl = DeviceBuffer.From<byte>(Host.Encode(l, c.In)), dbias = DeviceBuffer.From<byte>(Host.Encode(bias, c.In));
        byte[] addBytes = Host.Encode(add, c.Out);
        using DeviceBuffer dadd = DeviceBuffer.From<byte>(addBytes), dc = new((long)c.M * LdC(c.N) * c.Out.Bytes());
        GemmArgs args = new()
        {
            Layout = c.Layout,
            M = c.M,
            N = c.N,
            K = c.K,
            In = c.In,
            Out = c.Out,
            A = da.Pointer,
            Lda = Ld(aCols),
            B = db.Pointer,
            Ldb = Ld(bCols),
            C = dc.Pointer,
            Ldc = LdC(c.N),
            Alpha = c.Alpha,
            Bias = c.Bias ? dbias.Pointer : 0,
            Addend = c.Addend ? c.InPlace ? dc.Pointer : dadd.Pointer : 0,
            LdAddend = LdC(c.N),
            P = c.R > 0 ? dp.Pointer : 0,
            Ldp = Ld(pCols),
            L = c.R > 0 ? dl.Pointer : 0,
            Ldl = Ld(lCols),
            R = c.R,
        };
        Random rng = new(9);
        (int M, int N)[] samples = [.. Enumerable.Range(0, 3000).Select(_ => (rng.Next(c.M), rng.Next(c.N))), (0, 0), (c.M - 1, c.N - 1), (0, c.N - 1), (c.M - 1, 0)];
        double[] reference = new double[samples.Length];
        Parallel.For(0, samples.Length, i =>
        {
            (int m, int n) = samples[i];
            double s = 0;
            for (int k = 0; k < c.K; k++)
                s += (double)(c.Layout == GemmLayout.TN ? a[(long)k * Ld(aCols) + m] : a[(long)m * Ld(aCols) + k]) * (c.Layout == GemmLayout.NT ? b[(long)n * Ld(bCols) + k] : b[(long)k * Ld(bCols) + n]);
            for (int k = 0; k < c.R; k++)
                s += (double)(c.Layout == GemmLayout.TN ? p[(long)k * Ld(pCols) + m] : p[(long)m * Ld(pCols) + k]) * (c.Layout == GemmLayout.NT ? l[(long)n * Ld(lCols) + k] : l[(long)k * Ld(lCols) + n]);
            reference[i] = s * c.Alpha + (c.Bias ? bias[n] : 0) + (c.Addend ? add[(long)m * LdC(c.N) + n] : 0);
        });
        double norm = Math.Sqrt(reference.Sum(x => x * x));
        if (!plans.Any())
        {
            GemmPlan chosen = new GemmRunner(GpuRun.Cache).Plan(args, Workspace);
            plans = [($"{chosen.Kernel.GetType().Name} {chosen.TileM}x{chosen.TileN} s{chosen.Splits}", chosen)];
        }
        foreach ((string name, GemmPlan plan) in plans)
            GpuRun.Guard($"{name} {c}", () =>
            {
                byte[]? first = null;
                bool equal = true;
                for (int run = 0; run < 2; run++)
                {
                    dc.Fill(0xff, GpuRun.Stream);
                    workspace.Fill(0xff, GpuRun.Stream);
                    GpuRun.Sync();
                    if (c.InPlace) dc.Upload<byte>(addBytes);
                    new GemmRunner(GpuRun.Cache).Run(args, plan, GpuRun.Stream, workspace.Pointer);
                    GpuRun.Sync();
                    byte[] now = dc.Download<byte>(dc.Bytes);
                    first ??= now;
                    equal &= now.AsSpan().SequenceEqual(first);
                }
                float[] y = Host.Download(dc, (long)c.M * LdC(c.N), c.Out);
                double e = 0, max = 0;
                for (int i = 0; i < samples.Length; i++)
                {
                    double d = y[(long)samples[i].M * LdC(c.N) + samples[i].N] - reference[i];
                    e += d * d;
                    max = Math.Max(max, Math.Abs(d));
                }
                int holes = 0, spill = 0;
                for (int m = 0; m < c.M; m++)
                    for (int n = 0; n < LdC(c.N); n++)
                    {
                        bool nan = float.IsNaN(y[(long)m * LdC(c.N) + n]);
                        if (n < c.N && nan) holes++;
                        if (n >= c.N && !nan && !c.InPlace) spill++;
                    }
                e = Math.Sqrt(e) / norm;
                double limit = name.StartsWith("tf32", StringComparison.Ordinal) ? 6e-4 : c.Out == PtxType.F32 ? c.In == PtxType.F32 ? 2e-6 : 2e-5 : c.Out == PtxType.F16 ? 4e-4 : 2.5e-3;
                GpuRun.Report($"{name} {c}", e < limit && holes == 0 && spill == 0 && equal, $"err {e:E2}{(holes > 0 ? $" NaN {holes}" : "")}{(spill > 0 ? $" written past {spill}" : "")}{(equal ? "" : " UNEQUAL RERUN")}");
            });
    }

    private static void Poison(float[] x, int rows, int cols, int ld)
    {
        for (int r = 0; r < rows; r++)
            for (int i = cols; i < ld; i++) x[(long)r * ld + i] = float.NaN;
    }
}
