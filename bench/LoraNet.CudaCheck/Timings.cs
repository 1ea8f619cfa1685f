using System.Diagnostics;
using System.Globalization;
using LoraNet.Cuda;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;

namespace LoraNet.CudaCheck;

/// <summary>Times every operation of the contract on the GPU and on the same machine's CPU, beside the limits of the card sampled in the
/// same run, and prints one Markdown table.</summary>
internal static class Timings
{
    private const int CpuFraction = 16;

    public static void Run()
    {
        Stopwatch total = Stopwatch.StartNew();
        using CudaBackend gpu = CudaBackend.Create(new CudaBackendOptions { ComputeType = DType.BF16 });
        (double bandwidth, double flops) = Limits(gpu);
        double[] gpuTimes, cpuTimes;
        IReadOnlyList<KernelCase> cases;
        using (KernelTable table = new(gpu, 1))
        {
            cases = table.Cases;
            gpuTimes = [.. cases.Select(c => MeasureGpu(gpu, c.Run))];
            TimeCrossEntropyGroups(gpu, cases);
        }
        using CpuBackend cpu = new();
        using (KernelTable table = new(cpu, CpuFraction))
            cpuTimes = [.. table.Cases.Select(c => MeasureCpu(c.Run) * c.Fraction)];
        Print(gpu, cpu, cases, gpuTimes, cpuTimes, bandwidth, flops);
        using Arena arena = new(gpu);
        TimeLaunch(gpu, arena);
        TimeUpload(gpu);
        Console.WriteLine($"All of this took {total.Elapsed.TotalSeconds:N0} s.");
    }

    private static void Print(CudaBackend gpu, CpuBackend cpu, IReadOnlyList<KernelCase> cases, double[] gpuTimes, double[] cpuTimes, double bandwidth, double flops)
    {
        Console.WriteLine(Invariant($"{gpu.Name} in BF16; sampled limits: copying {bandwidth:N0} GB/s, products of 4096³ {flops:N0} TFLOP/s. {cpu.Name} in F32, {Environment.ProcessorCount} threads."));
        Console.WriteLine($"CPU times are of 1/{CpuFraction} of the rows (attention 1/4 of the sequences; vectors and the optimizer whole), multiplied to the whole.");
        Console.WriteLine();
        Console.WriteLine("| kernel | shape | GPU us | rate | of the limit | CPU us | CPU/GPU |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        for (int i = 0; i < cases.Count; i++)
        {
            KernelCase c = cases[i];
            double us = gpuTimes[i];
            bool memory = c.Bytes > 0;
            double rate = memory ? c.Bytes / us / 1e3 : c.Flops / us / 1e6;
            Console.WriteLine(Invariant($"| {c.Kernel} | {c.Shape} | {us:N1} | {rate:N0} {(memory ? "GB/s" : "TFLOP/s")} | {rate / (memory ? bandwidth : flops):P0} | {cpuTimes[i]:N0} | {cpuTimes[i] / us:N0} |"));
        }
        Console.WriteLine();
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Bytes read and written by a large copy, GB/s; arithmetic of a large square product, TFLOP/s.</summary>
    private static (double Bandwidth, double Flops) Limits(CudaBackend b)
    {
        using Arena arena = new(b);
        Tensor from = arena.Rent(DType.BF16, 1 << 15, 1 << 13), to = arena.Rent(DType.BF16, 1 << 15, 1 << 13);
        b.Zero(from);
        double bandwidth = 2.0 * from.Bytes / MeasureGpu(b, () => b.Scale(from, 1, to)) / 1e3;
        const int N = 4096;
        Random random = new(3);
        float[] values = new float[N * N];
        for (int i = 0; i < values.Length; i++) values[i] = (float)(random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5);
        Tensor x = arena.Rent(DType.BF16, N, N), y = arena.Rent(DType.BF16, N, N);
        b.Upload(values, x);
        Weight w = new("square", HostTensor.Copy(values, N, N));
        b.Prepare(w);
        double flops = 2.0 * N * N * N / MeasureGpu(b, () => b.Linear(x, w, null, null, y)) / 1e6;
        b.Drop(w);
        return (bandwidth, flops);
    }

    /// <summary>Few large groups keep rows in the level-2 cache between the two passes; more and smaller ones hide each other's barriers.</summary>
    private static void TimeCrossEntropyGroups(CudaBackend b, IReadOnlyList<KernelCase> cases)
    {
        foreach (int group in (int[])[256, 512, 768, 1024])
        {
            b.CrossEntropyGroup = group;
            foreach (KernelCase c in cases.Where(c => c.Kernel.StartsWith("CrossEntropy", StringComparison.Ordinal)))
                Console.WriteLine(Invariant($"{c.Kernel}, groups of {group}: {MeasureGpu(b, c.Run):N1} us"));
        }
        b.CrossEntropyGroup = null;
    }

    private static void TimeLaunch(CudaBackend b, Arena arena)
    {
        Tensor small = arena.Rent(DType.BF16, 16, 64);
        b.Zero(small);
        for (int i = 0; i < 1000; i++) b.Add(small, small, small);
        b.Synchronize();
        const int Launches = 20000;
        long before = GC.GetAllocatedBytesForCurrentThread();
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < Launches; i++) b.Add(small, small, small);
        double host = watch.Elapsed.TotalMicroseconds / Launches;
        b.Synchronize();
        Console.WriteLine($"A launch: host {host:N2} us, with the device {watch.Elapsed.TotalMicroseconds / Launches:N2} us, {(GC.GetAllocatedBytesForCurrentThread() - before) / (double)Launches:N1} bytes of garbage");
    }

    private static void TimeUpload(CudaBackend b)
    {
        float[] values = new float[1 << 27];
        Weight f32 = new("w", HostTensor.Copy(values, 8192, 16384));
        foreach (string kind in (string[])["first", "second"])
        {
            b.Synchronize();
            Stopwatch watch = Stopwatch.StartNew();
            b.Prepare(f32);
            b.Synchronize();
            Console.WriteLine($"Prepare of 512 MiB F32 to BF16 ({kind}): {watch.Elapsed.TotalMilliseconds:N1} ms, {0.5368709 / watch.Elapsed.TotalSeconds:N1} GB/s");
            b.Drop(f32);
        }
        Tensor one = b.Create(DType.F32, 1);
        Stopwatch download = Stopwatch.StartNew();
        float[] target = new float[1];
        for (int i = 0; i < 100; i++) b.Download(one, target);
        Console.WriteLine($"Download of one number: {download.Elapsed.TotalMicroseconds / 100:N1} us");
    }

    /// <summary>Microseconds of one run among as many as fill some 20 ms, the best of three such series.</summary>
    public static double MeasureGpu(CudaBackend b, Action action)
    {
        action();
        b.Synchronize();
        double once = Series(b, action, 3), best = double.MaxValue;
        for (int round = 0; round < 3; round++) best = Math.Min(best, Series(b, action, (int)Math.Clamp(20_000 / once, 5, 2000)));
        return best;
    }

    private static double Series(CudaBackend b, Action action, int repeats)
    {
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < repeats; i++) action();
        b.Synchronize();
        return watch.Elapsed.TotalMicroseconds / repeats;
    }

    /// <summary>The best of up to ten runs in some 200 ms, after one that does not count.</summary>
    private static double MeasureCpu(Action action)
    {
        action();
        double best = double.MaxValue;
        Stopwatch all = Stopwatch.StartNew();
        for (int i = 0; i < 10 && (i < 2 || all.ElapsedMilliseconds < 200); i++)
        {
            Stopwatch watch = Stopwatch.StartNew();
            action();
            best = Math.Min(best, watch.Elapsed.TotalMicroseconds);
        }
        return best;
    }
}
