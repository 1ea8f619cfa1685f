using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;

namespace LoraNet.Bench;

/// <summary>
/// `gemm [threads] [rounds] [T] [bits]`: rates of the four model shapes in both directions as parts of the multiply-add peak, which is
/// sampled between the products in the same rounds, so that a busy machine disturbs both alike. Times are the process's processor time
/// divided by the threads, which leaves out what other processes took but counts waiting for each other (and is coarse for products of a
/// few milliseconds on several threads); the wall clock stands beside it. Quote numbers of a quiet machine only.
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
        Console.WriteLine($"{packed.Name}; T = {rows}, {rounds} rounds; part of the peak by processor time: median (best round), then by the wall clock");
        Console.WriteLine($"{"K,N",-10} {"weights",-12} {"NT GF/s",8} {"NT",20} {"NN GF/s",8} {"NN",20} {"peak GF/s",10}");
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
                List<double> peaks = [], forward = [], backward = [], forwardRatio = [], backwardRatio = [], forwardWall = [], backwardWall = [];
                for (int round = -2; round < rounds; round++)
                {
                    Sample before = Peak(threads, bits, 2e9 * threads);
                    Sample nt = Rate(threads, flops, () => backend.Linear(x, weight, null, null, y));
                    Sample between = Peak(threads, bits, 2e9 * threads);
                    Sample nn = Rate(threads, flops, () => backend.LinearBackwardInput(y, weight, null, x));
                    Sample after = Peak(threads, bits, 2e9 * threads);
                    backend.Upload(values.AsSpan(0, rows * k), x);
                    if (round < 0) continue;
                    peaks.AddRange([before.Processor, between.Processor, after.Processor]);
                    forward.Add(nt.Processor);
                    backward.Add(nn.Processor);
                    forwardRatio.Add(nt.Processor / Math.Max(before.Processor, between.Processor));
                    backwardRatio.Add(nn.Processor / Math.Max(between.Processor, after.Processor));
                    forwardWall.Add(nt.Wall / Math.Max(before.Wall, between.Wall));
                    backwardWall.Add(nn.Wall / Math.Max(between.Wall, after.Wall));
                }
                Console.WriteLine(
                    $"{k + "," + n,-10} {kind,-12} {Median(forward),8:F0} {Median(forwardRatio),6:F2} ({forwardRatio.Max():F2}) {Median(forwardWall),6:F2} " +
                    $"{Median(backward),8:F0} {Median(backwardRatio),6:F2} ({backwardRatio.Max():F2}) {Median(backwardWall),6:F2} {Median(peaks),10:F0}");
                backend.Drop(weight);
                backend.Free(x);
                backend.Free(y);
            }
        }
    }

    /// <summary>GF/s by processor time and by the wall clock.</summary>
    private readonly record struct Sample(double Processor, double Wall);

    private static Sample Rate(int threads, double flops, Action action)
    {
        TimeSpan processor = Environment.CpuUsage.TotalTime;
        long start = Stopwatch.GetTimestamp();
        action();
        double wall = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new Sample(flops * threads / (Environment.CpuUsage.TotalTime - processor).TotalSeconds / 1e9, flops / wall / 1e9);
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    /// <summary>GF/s of multiply-adds on registers with all threads.</summary>
    private static Sample Peak(int threads, int bits, double flops)
    {
        int width = bits == 0 ? (Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128) : bits;
        long loops = (long)(flops / threads / (12 * 2 * width / 32));
        return Rate(threads, flops, () =>
        {
            Thread[] others = new Thread[threads - 1];
            for (int i = 0; i < others.Length; i++)
            {
                others[i] = new Thread(One);
                others[i].Start();
            }
            One();
            foreach (Thread thread in others) thread.Join();
        });

        void One()
        {
            float sink = width switch { 512 => Chain512(loops), 256 => Chain256(loops), _ => Chain128(loops) };
            if (float.IsNaN(sink)) Console.Write(' ');
        }
    }

    // Twelve independent chains hide the latency; the result is used, or the loop would be removed.
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chain512(long loops)
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
