using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;

namespace LoraNet.Bench;

/// <summary>
/// `gemm [threads] [rounds] [T]`: rates of the four model shapes in both directions as parts of the multiply-add peak, which is sampled
/// between the products in the same rounds, so that a busy machine disturbs both alike. Prints medians and best rounds.
/// </summary>
internal static unsafe class GemmReport
{
    private static readonly (int K, int N)[] Shapes = [(576, 1536), (2048, 2048), (2048, 8192), (4096, 4096)];

    public static void Run(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0]) : Environment.ProcessorCount;
        int rounds = args.Length > 1 ? int.Parse(args[1]) : 9;
        int rows = args.Length > 2 ? int.Parse(args[2]) : 512;
        int bits = args.Length > 3 ? int.Parse(args[3]) : 0;
        using CpuBackend packed = new(new CpuBackendOptions { Threads = threads, VectorBits = bits });
        using CpuBackend mapped = new(new CpuBackendOptions { Threads = threads, VectorBits = bits, LowMemory = true });
        Console.WriteLine($"{packed.Name}; T = {rows}, {rounds} rounds; part of the peak sampled next to each product: median (best against best)");
        Console.WriteLine($"{"K,N",-10} {"weights",-12} {"NT GF/s",8} {"NT",14} {"NN GF/s",8} {"NN",14} {"peak GF/s",10}");
        foreach ((int k, int n) in Shapes)
        {
            foreach (string kind in (string[])["f32", "bf16", "bf16 mapped"])
            {
                CpuBackend backend = kind == "bf16 mapped" ? mapped : packed;
                Random random = new(1);
                float[] values = new float[(long)n * k];
                for (int i = 0; i < values.Length; i++) values[i] = BFloat16.ToSingle(BFloat16.FromSingle((float)random.NextDouble() - 0.5f));
                ushort[] narrow = GC.AllocateUninitializedArray<ushort>(values.Length, pinned: true);
                HostConvert.Narrow(values, narrow);
                HostTensor source = kind == "f32"
                    ? HostTensor.Copy(values, n, k)
                    : new HostTensor((nint)Unsafe.AsPointer(ref narrow[0]), DType.BF16, [n, k], narrow);
                Weight weight = new("w", source);
                backend.Prepare(weight);
                Tensor x = backend.Create(new float[rows * k], rows, k), y = backend.Create(new float[rows * n], rows, n);
                backend.Upload(values.AsSpan(0, rows * k), x);
                double flops = 2.0 * rows * n * k;
                List<double> peaks = [], forward = [], backward = [], forwardRatio = [], backwardRatio = [];
                for (int round = -2; round < rounds; round++)
                {
                    double before = Peak(threads, bits, 4e8 * threads);
                    double nt = Rate(flops, () => backend.Linear(x, weight, null, null, y));
                    double between = Peak(threads, bits, 4e8 * threads);
                    double nn = Rate(flops, () => backend.LinearBackwardInput(y, weight, null, x));
                    double after = Peak(threads, bits, 4e8 * threads);
                    backend.Upload(values.AsSpan(0, rows * k), x);
                    if (round < 0) continue;
                    peaks.AddRange([before, between, after]);
                    forward.Add(nt);
                    backward.Add(nn);
                    forwardRatio.Add(2 * nt / (before + between));
                    backwardRatio.Add(2 * nn / (between + after));
                }
                double best = peaks.Max();
                Console.WriteLine(
                    $"{k + "," + n,-10} {kind,-12} {Median(forward),8:F0} {Median(forwardRatio),6:F2} ({forward.Max() / best:F2}) " +
                    $"{Median(backward),8:F0} {Median(backwardRatio),6:F2} ({backward.Max() / best:F2}) {Median(peaks),8:F0} ({best:F0})");
                backend.Drop(weight);
                backend.Free(x);
                backend.Free(y);
            }
        }
    }

    private static double Rate(double flops, Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return flops / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9;
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    /// <summary>GF/s of multiply-adds on registers with all threads.</summary>
    private static double Peak(int threads, int bits, double flops)
    {
        int width = bits == 0 ? (Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128) : bits;
        long loops = (long)(flops / threads / (12 * 2 * width / 32));
        using Barrier barrier = new(threads);
        double[] seconds = new double[threads];
        Thread[] others = new Thread[threads - 1];
        for (int i = 0; i < others.Length; i++)
        {
            int index = i + 1;
            others[i] = new Thread(() => One(index));
            others[i].Start();
        }
        One(0);
        foreach (Thread thread in others) thread.Join();
        return flops / seconds.Max() / 1e9;

        void One(int index)
        {
            barrier.SignalAndWait();
            long start = Stopwatch.GetTimestamp();
            float sink = width switch { 512 => Chain512(loops), 256 => Chain256(loops), _ => Chain128(loops) };
            seconds[index] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (float.IsNaN(sink)) Console.Write(' ');
        }
    }

    // Twelve independent chains hide the latency; the result is used, or the loop would be removed.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    internal static float Chain512(long loops)
    {
        Vector512<float> a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11;
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = Vector512.Create((float)loops);
        Vector512<float> x = Vector512.Create(0.5f), y = Vector512.Create(1f);
        for (long i = 0; i < loops; i++)
        {
            a0 = Vector512.MultiplyAddEstimate(a0, x, y);
            a1 = Vector512.MultiplyAddEstimate(a1, x, y);
            a2 = Vector512.MultiplyAddEstimate(a2, x, y);
            a3 = Vector512.MultiplyAddEstimate(a3, x, y);
            a4 = Vector512.MultiplyAddEstimate(a4, x, y);
            a5 = Vector512.MultiplyAddEstimate(a5, x, y);
            a6 = Vector512.MultiplyAddEstimate(a6, x, y);
            a7 = Vector512.MultiplyAddEstimate(a7, x, y);
            a8 = Vector512.MultiplyAddEstimate(a8, x, y);
            a9 = Vector512.MultiplyAddEstimate(a9, x, y);
            a10 = Vector512.MultiplyAddEstimate(a10, x, y);
            a11 = Vector512.MultiplyAddEstimate(a11, x, y);
        }
        return Vector512.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chain256(long loops)
    {
        Vector256<float> a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11;
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = Vector256.Create((float)loops);
        Vector256<float> x = Vector256.Create(0.5f), y = Vector256.Create(1f);
        for (long i = 0; i < loops; i++)
        {
            a0 = Vector256.MultiplyAddEstimate(a0, x, y);
            a1 = Vector256.MultiplyAddEstimate(a1, x, y);
            a2 = Vector256.MultiplyAddEstimate(a2, x, y);
            a3 = Vector256.MultiplyAddEstimate(a3, x, y);
            a4 = Vector256.MultiplyAddEstimate(a4, x, y);
            a5 = Vector256.MultiplyAddEstimate(a5, x, y);
            a6 = Vector256.MultiplyAddEstimate(a6, x, y);
            a7 = Vector256.MultiplyAddEstimate(a7, x, y);
            a8 = Vector256.MultiplyAddEstimate(a8, x, y);
            a9 = Vector256.MultiplyAddEstimate(a9, x, y);
            a10 = Vector256.MultiplyAddEstimate(a10, x, y);
            a11 = Vector256.MultiplyAddEstimate(a11, x, y);
        }
        return Vector256.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chain128(long loops)
    {
        Vector128<float> a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11;
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = Vector128.Create((float)loops);
        Vector128<float> x = Vector128.Create(0.5f), y = Vector128.Create(1f);
        for (long i = 0; i < loops; i++)
        {
            a0 = Vector128.MultiplyAddEstimate(a0, x, y);
            a1 = Vector128.MultiplyAddEstimate(a1, x, y);
            a2 = Vector128.MultiplyAddEstimate(a2, x, y);
            a3 = Vector128.MultiplyAddEstimate(a3, x, y);
            a4 = Vector128.MultiplyAddEstimate(a4, x, y);
            a5 = Vector128.MultiplyAddEstimate(a5, x, y);
            a6 = Vector128.MultiplyAddEstimate(a6, x, y);
            a7 = Vector128.MultiplyAddEstimate(a7, x, y);
            a8 = Vector128.MultiplyAddEstimate(a8, x, y);
            a9 = Vector128.MultiplyAddEstimate(a9, x, y);
            a10 = Vector128.MultiplyAddEstimate(a10, x, y);
            a11 = Vector128.MultiplyAddEstimate(a11, x, y);
        }
        return Vector128.Sum(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    }
}
