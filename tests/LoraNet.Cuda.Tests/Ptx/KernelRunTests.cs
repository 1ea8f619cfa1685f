using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Cuda.Ptx.Gemm;

namespace LoraNet.Cuda.Tests.Ptx;

/// <summary>The kernels that the runners choose on this machine's card, against double precision. bench/LoraNet.GpuCheck runs many more cases.</summary>
public sealed class KernelRunTests
{
    private static float[] Random(int n, int seed)
    {
        Random r = new(seed);
        // multiples of 1/8 in [-2, 2): exact in fp16 and bf16
        return [.. Enumerable.Range(0, n).Select(_ => (r.Next(32) - 16) / 8f)];
    }

    private static DeviceBuffer Half(float[] x) => DeviceBuffer.From<ushort>(x.Select(v => BitConverter.HalfToUInt16Bits((System.Half)v)).ToArray());

    private static double Error(IEnumerable<double> expected, IEnumerable<double> actual)
    {
        (double e, double n) = expected.Zip(actual).Aggregate((0.0, 0.0), (s, p) => (s.Item1 + (p.First - p.Second) * (p.First - p.Second), s.Item2 + p.First * p.First));
        return Math.Sqrt(e / n);
    }

    [GpuFact]
    public void ProductsMatchDoublePrecision()
    {
        PtxModuleCache cache = new(CudaDevice.OpenPrimary());
        using DeviceBuffer workspace = new(16 << 20);
        foreach ((int m, int n, int k) in ((int, int, int)[])[(1, 136, 200), (9, 72, 1000), (200, 136, 264), (96, 16, 3000)])
        {
            float[] a = Random(m * k, 1), b = Random(n * k, 2), bias = Random(n, 3);
            using DeviceBuffer da = Half(a), db = Half(b), dbias = Half(bias), dc = new(m * n * 4);
            GemmArgs args = new()
            {
                Layout = GemmLayout.NT,
                M = m,
                N = n,
                K = k,
                In = PtxType.F16,
                Out = PtxType.F32,
                A = da.Pointer,
                Lda = k,
                B = db.Pointer,
                Ldb = k,
                C = dc.Pointer,
                Ldc = n,
                Bias = dbias.Pointer,
            };
            dc.Fill(0xff);
            new GemmRunner(cache).Run(args, 0, workspace.Pointer, workspace.Bytes);
            double[] expected = [.. Enumerable.Range(0, m * n).Select(i => Enumerable.Range(0, k).Sum(j => (double)a[i / n * k + j] * b[i % n * k + j]) + bias[i % n])];
            Assert.InRange(Error(expected, dc.Download<float>(m * n).Select(x => (double)x)), 0, 1e-5);
        }
    }

    [GpuFact]
    public void AttentionMatchesDoublePrecision()
    {
        const int D = 64, Heads = 2, Rows = 200;
        int[] offsets = [0, 70, 71, 200];
        PtxModuleCache cache = new(CudaDevice.OpenPrimary());
        float[] q = Random(Rows * Heads * D, 1), k = Random(Rows * D, 2), v = Random(Rows * D, 3);
        using DeviceBuffer dq = Half(q), dk = Half(k), dv = Half(v), o = new(Rows * Heads * D * 2), lse = new(Rows * Heads * 4);
        AttentionArgs args = new()
        {
            Type = PtxType.F16,
            D = D,
            Heads = Heads,
            KvHeads = 1,
            Rows = Rows,
            KeyRows = Rows,
            Scale = 0.125f,
            Q = dq.Pointer,
            Ldq = Heads * D,
            K = dk.Pointer,
            Ldk = D,
            V = dv.Pointer,
            Ldv = D,
            O = o.Pointer,
            Ldo = Heads * D,
            Lse = lse.Pointer,
            LsePitch = Rows,
        };
        o.Fill(0xff);
        IKernelSpec spec = AttentionRunner.Choose(cache.Device.Arch, AttentionPass.Forward, args)!;
        AttentionTiles.Tile[] tiles = AttentionTiles.Packed(offsets, AttentionRunner.TileRows(spec), AttentionPass.Forward);
        using DeviceBuffer list = DeviceBuffer.From<AttentionTiles.Tile>(tiles);
        new AttentionRunner(cache).Run(spec, args, list.Pointer, tiles.Length, 0);
        double[] expected = new double[Rows * Heads * D];
        for (int i = 0; i < Rows; i++)
            for (int h = 0; h < Heads; h++)
            {
                int from = offsets.Last(s => s <= i);
                double[] p = [.. Enumerable.Range(from, i - from + 1).Select(j => Math.Exp(0.125 * Enumerable.Range(0, D).Sum(e => (double)q[(i * Heads + h) * D + e] * k[j * D + e])))];
                double sum = p.Sum();
                for (int j = from; j <= i; j++)
                    for (int e = 0; e < D; e++) expected[(i * Heads + h) * D + e] += p[j - from] / sum * v[j * D + e];
            }
        Assert.InRange(Error(expected, o.Download<ushort>(expected.Length).Select(x => (double)BitConverter.UInt16BitsToHalf(x))), 0, 1e-3);
    }
}
