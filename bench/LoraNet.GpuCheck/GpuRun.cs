using System.Diagnostics;
using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;

namespace LoraNet.GpuCheck;

/// <summary>Runs the named parts on the first card; a failing kernel is reported and the rest goes on.</summary>
internal static class GpuRun
{
    private static CudaDevice s_device = null!;

    public static PtxModuleCache Cache { get; private set; } = null!;

    public static nint Stream { get; private set; }

    public static int Failures { get; set; }

    public static int Run(string[] parts)
    {
        s_device = CudaDevice.OpenPrimary();
        Cache = new PtxModuleCache(s_device);
        CudaError.Check(Native.cuStreamCreate(out nint stream, 1), "cuStreamCreate");
        Stream = stream;
        Console.WriteLine($"{s_device.Name}, compute {s_device.Major}.{s_device.Minor}, {s_device.Multiprocessors} SMs, driver CUDA {s_device.DriverVersion / 1000}.{s_device.DriverVersion % 1000 / 10}, {s_device.SharedBytesPerBlock} B shared");
        foreach (string part in parts)
        {
            Stopwatch w = Stopwatch.StartNew();
            try
            {
                switch (part)
                {
                    case "gemm-check": GemmCheck.Run(""); break;
                    case "few-check": GemmCheck.Run("few"); break;
                    case "mma80-check": GemmCheck.Run("mma80"); break;
                    case "tf32-check": GemmCheck.Run("tf32"); break;
                    case "single-check": GemmCheck.Run("mma80 single"); GemmCheck.Run("wgmma128 single"); GemmCheck.Run("mma75 ragged"); break;
                    case "gemv-check": GemmCheck.Run("gemv"); break;
                    case "split-check": GemmCheck.Run("wgmma64"); break;
                    case "gemm-fuzz": GemmCheck.Fuzz(40); break;
                    case "gemm-time": GemmTime.Run(); break;
                    case "portable-time": GemmTime.Portable(); break;
                    case "gemv-time": GemmTime.Gemv(); break;
                    case "ilgpu-check": IlgpuCheck.Run(); break;
                    case "attention-check": AttentionCheck.Run(); break;
                    case "attention-time": AttentionTime.Run(); break;
                    default: throw new ArgumentException($"unknown part {part}");
                }
            }
            catch (Exception e)
            {
                Failures++;
                Console.WriteLine($"FAIL {part}: {e.Message}");
            }
            MakeCurrent();
            Console.WriteLine($"[{part} {w.Elapsed.TotalSeconds:F1} s]");
        }
        Console.WriteLine(Failures == 0 ? "all checks passed" : $"{Failures} checks FAILED");
        return Failures == 0 ? 0 : 1;
    }

    /// <summary>Makes this program's own context current again.</summary>
    public static void MakeCurrent() => s_device.MakeCurrent();

    /// <summary>Waits for the device and turns launch errors into exceptions.</summary>
    public static void Sync() => CudaError.Check(Native.cuStreamSynchronize(Stream), "kernel");

    /// <summary>Reports one check.</summary>
    public static void Report(string name, bool ok, string detail)
    {
        if (!ok) Failures++;
        Console.WriteLine($"{(ok ? "ok  " : "BAD ")} {name}: {detail}");
    }

    /// <summary>Runs a check; an exception is a failure of that check only. False when the device is lost.</summary>
    public static void Guard(string name, Action body)
    {
        try
        {
            body();
        }
        catch (Exception e)
        {
            Failures++;
            Console.WriteLine($"BAD  {name}: {e.GetType().Name} {e.Message.ReplaceLineEndings(" ")}");
            if (Native.cuStreamSynchronize(Stream) != 0) throw new InvalidOperationException($"the device is lost after {name}");
        }
    }

    /// <summary>Median milliseconds of one launch, from windows of about <paramref name="windowMs"/>.</summary>
    public static double Time(Action<int> launch, double windowMs = 8, int windows = 7)
    {
        using CudaTimer timer = new();
        for (int i = 0; i < 3; i++) launch(i);
        timer.Start(Stream);
        for (int i = 0; i < 5; i++) launch(i);
        double one = timer.Stop(Stream) / 5;
        int reps = Math.Clamp((int)(windowMs / one), 2, 2000);
        List<double> times = [];
        for (int w = 0; w < windows; w++)
        {
            timer.Start(Stream);
            for (int i = 0; i < reps; i++) launch(i);
            times.Add(timer.Stop(Stream) / reps);
        }
        return Host.Median(times);
    }

    /// <summary>Median milliseconds of one launch inside a graph of <paramref name="count"/>.</summary>
    public static double TimeGraph(Action<int> launch, int count = 40)
    {
        launch(0);
        Sync();
        using CudaGraph graph = CudaGraph.Capture(Stream, () =>
        {
            for (int i = 0; i < count; i++) launch(i);
        });
        return Time(_ => graph.Launch(Stream), 8, 5) / count;
    }
}
