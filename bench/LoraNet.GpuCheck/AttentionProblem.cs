using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;

namespace LoraNet.GpuCheck;

/// <summary>A random attention problem in one fused QKV buffer, with a double-precision reference.</summary>
internal sealed class AttentionProblem : IDisposable
{
    private readonly float[] _qkv, _gradient;
    private readonly DeviceBuffer _dQkv, _dGradient, _dO, _dLse, _dDelta, _dOut;

    public AttentionProblem(int[] offsets, int heads, int kvHeads, int d, PtxType type, int window = 0, float cap = 0, float qScale = 1, int seed = 1)
    {
        (Offsets, Heads, KvHeads, D, Type, Window, Cap) = (offsets, heads, kvHeads, d, type, window, cap);
        Rows = offsets[^1];
        Ld = (heads + 2 * kvHeads) * d;
        _qkv = Host.Normal((long)Rows * Ld, seed);
        for (int r = 0; r < Rows; r++)
            for (int i = 0; i < heads * d; i++) _qkv[(long)r * Ld + i] *= qScale;
        _gradient = Host.Normal((long)Rows * heads * d, seed + 1);
        _dQkv = DeviceBuffer.From<byte>(Host.Encode(_qkv, type));
        _dGradient = DeviceBuffer.From<byte>(Host.Encode(_gradient, type));
        _dO = new((long)Rows * heads * d * 2);
        _dLse = new((long)Rows * heads * 4);
        _dDelta = new((long)Rows * heads * 4);
        _dOut = new((long)Rows * Ld * 2);
        ulong q = _dQkv.Pointer, o = _dOut.Pointer, kAt = (ulong)(heads * d * 2), vAt = (ulong)((heads + kvHeads) * d * 2);
        Args = new AttentionArgs
        {
            Type = type,
            D = d,
            Heads = heads,
            KvHeads = kvHeads,
            Rows = Rows,
            KeyRows = Rows,
            Scale = 1 / MathF.Sqrt(d),
            Window = window,
            SoftCap = cap,
            Q = q,
            Ldq = Ld,
            K = q + kAt,
            Ldk = Ld,
            V = q + vAt,
            Ldv = Ld,
            O = _dO.Pointer,
            Ldo = heads * d,
            Lse = _dLse.Pointer,
            Delta = _dDelta.Pointer,
            LsePitch = Rows,
            DO = _dGradient.Pointer,
            Lddo = heads * d,
            DQ = o,
            Lddq = Ld,
            DK = o + kAt,
            Lddk = Ld,
            DV = o + vAt,
            Lddv = Ld,
        };
    }

    public int[] Offsets { get; }

    public int Heads { get; }

    public int KvHeads { get; }

    public int D { get; }

    public PtxType Type { get; }

    public int Window { get; }

    public float Cap { get; }

    public int Rows { get; }

    public int Ld { get; }

    public AttentionArgs Args { get; }

    public void Poison()
    {
        foreach (DeviceBuffer b in (DeviceBuffer[])[_dO, _dLse, _dDelta, _dOut]) b.Fill(0xff, GpuRun.Stream);
    }

    /// <summary>O, lse, dQ, dK, dV as the device has them.</summary>
    public float[][] Results()
    {
        float[] o = Host.Download(_dO, (long)Rows * Heads * D, Type), lse = _dLse.Download<float>((long)Rows * Heads), all = Host.Download(_dOut, (long)Rows * Ld, Type);
        float[] Slice(int from, int count)
        {
            float[] x = new float[(long)Rows * count];
            for (int r = 0; r < Rows; r++) Array.Copy(all, (long)r * Ld + from, x, (long)r * count, count);
            return x;
        }

        return [o, lse, Slice(0, Heads * D), Slice(Heads * D, KvHeads * D), Slice((Heads + KvHeads) * D, KvHeads * D)];
    }

    public double[][] Reference()
    {
        int group = Heads / KvHeads, d = D;
        double scale = Args.Scale;
        double[] o = new double[(long)Rows * Heads * d], lse = new double[(long)Rows * Heads], dq = new double[(long)Rows * Heads * d], dk = new double[(long)Rows * KvHeads * d], dv = new double[(long)Rows * KvHeads * d];
        object gate = new();
        Parallel.For(0, Heads, h =>
        {
            int kh = h / group;
            double[] pk = new double[(long)Rows * d], pv = new double[(long)Rows * d];
            for (int s = 0; s + 1 < Offsets.Length; s++)
                for (int i = Offsets[s]; i < Offsets[s + 1]; i++)
                {
                    int from = Window > 0 ? Math.Max(Offsets[s], i - Window + 1) : Offsets[s], n = i - from + 1;
                    double[] z = new double[n], slope = new double[n];
                    double max = double.NegativeInfinity, sum = 0, delta = 0;
                    ReadOnlySpan<float> q = _qkv.AsSpan(i * Ld + h * d, d), g = _gradient.AsSpan((i * Heads + h) * d, d);
                    for (int j = 0; j < n; j++)
                    {
                        double x = Dot(q, Key(from + j, kh)) * scale, t = Cap > 0 ? Math.Tanh(x / Cap) : 0;
                        z[j] = Cap > 0 ? Cap * t : x;
                        slope[j] = 1 - t * t;
                        max = Math.Max(max, z[j]);
                    }
                    for (int j = 0; j < n; j++) sum += z[j] = Math.Exp(z[j] - max);
                    lse[(long)h * Rows + i] = max + Math.Log(sum);
                    Span<double> oi = o.AsSpan((i * Heads + h) * d, d), qi = dq.AsSpan((i * Heads + h) * d, d);
                    for (int j = 0; j < n; j++)
                    {
                        z[j] /= sum;
                        Add(oi, z[j], Value(from + j, kh));
                        Add(pv.AsSpan((from + j) * d, d), z[j], g);
                    }
                    for (int e = 0; e < d; e++) delta += oi[e] * g[e];
                    for (int j = 0; j < n; j++)
                    {
                        double ds = z[j] * (Dot(g, Value(from + j, kh)) - delta) * slope[j] * scale;
                        Add(qi, ds, Key(from + j, kh));
                        Add(pk.AsSpan((from + j) * d, d), ds, q);
                    }
                }
            lock (gate)
                for (int r = 0; r < Rows; r++)
                    for (int e = 0; e < d; e++)
                    {
                        dk[((long)r * KvHeads + kh) * d + e] += pk[(long)r * d + e];
                        dv[((long)r * KvHeads + kh) * d + e] += pv[(long)r * d + e];
                    }
        });
        return [o, lse, dq, dk, dv];

        ReadOnlySpan<float> Key(int row, int head) => _qkv.AsSpan(row * Ld + (Heads + head) * d, d);
        ReadOnlySpan<float> Value(int row, int head) => _qkv.AsSpan(row * Ld + (Heads + KvHeads + head) * d, d);
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double s = 0;
        for (int i = 0; i < a.Length; i++) s += (double)a[i] * b[i];
        return s;
    }

    private static void Add(Span<double> to, double factor, ReadOnlySpan<float> x)
    {
        for (int i = 0; i < x.Length; i++) to[i] += factor * x[i];
    }

    public void Dispose()
    {
        foreach (DeviceBuffer b in (DeviceBuffer[])[_dQkv, _dGradient, _dO, _dLse, _dDelta, _dOut]) b.Dispose();
    }
}
