using LoraNet.Cuda;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Tests;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>
/// Checks and times the CUDA backend where there is a GPU but no SDK: publish self-contained, copy, run.
/// <c>arch=sm80</c> has the kernels of an older card run, for every mode; <c>tf32</c> has F32 multiplied in TF32, for conformance, golden and engine.
/// <c>LoraNet.CudaCheck golden FOLDER | golden-simulate FOLDER | engine | decode | [conformance [cases [filter]]] | shapes | float | [time] | [simulate [cases [filter]]]</c>; without arguments conformance and timings.
/// </summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        if (args.FirstOrDefault(a => a.StartsWith("arch=", StringComparison.Ordinal)) is { } arch)
        {
            s_arch = Enum.Parse<PtxArch>(arch[5..], ignoreCase: true);
            args = [.. args.Where(a => a != arch)];
        }
        s_tf32 = args.Contains("tf32");
        args = [.. args.Where(a => a != "tf32")];
        string mode = args.Length > 0 ? args[0] : "all";
        int cases = args.Length > 1 && !mode.StartsWith("golden", StringComparison.Ordinal) ? int.Parse(args[1]) : 40;
        string filter = args.Length > 2 ? args[2] : "";
        foreach (CudaDeviceInfo d in CudaBackend.Devices())
            Console.WriteLine($"GPU {d.Index}: {d.Name}, {d.MemoryBytes / 1048576.0:N0} MiB, compute capability {d.ComputeMajor}.{d.ComputeMinor}");
        int failures = 0;
        if (mode == "golden") return Math.Min(1, Golden.Run(args[1], Open, s_tf32 ? 2e-2 : 1e-3, s_tf32 ? [DType.F32] : s_arch == PtxArch.Sm75 ? [DType.F16] : s_arch is not null ? [DType.BF16] : [DType.F32, DType.BF16]));
        if (mode == "golden-simulate") return Math.Min(1, Golden.Run(args[1], CudaBackend.CreateOnCpuAccelerator, 1e-3, [DType.F32, DType.BF16]));
        if (mode == "simulate")
        {
            foreach (DType type in (DType[])[DType.F32, DType.BF16])
                failures += Conformance(CudaBackend.CreateOnCpuAccelerator(type), cases, filter);
            Engine.Compare(CudaBackend.CreateOnCpuAccelerator);
        }
        // Each part on its own: a failure in one must not hide the others, since GPU time is scarce.
        if (mode is "all" or "engine") failures += Try(() => Engine.Compare(Open));
        if (mode is "shapes") failures += Shapes.Run(Open);
        if (mode is "all" or "time") failures += Try(Timings.Run);
        if (mode is "all" or "time" or "float") failures += Try(() => FloatProducts.Run(s_arch));
        if (mode is "all" or "decode")
        {
            foreach (int prompt in (int[])[128, 2048])
            {
                failures += Try(() =>
                {
                    using CudaBackend backend = Open(DType.BF16);
                    Engine.Decode(backend, prompt);
                });
            }
        }
        if (mode is "all" or "engine")
        {
            foreach ((int rows, int length, int rank, bool all) in ((int, int, int, bool)[])[(4, 2048, 16, false), (4, 2048, 64, true), (8, 512, 16, true), (1, 512, 16, false)])
            {
                failures += Try(() =>
                {
                    using CudaBackend backend = Open(DType.BF16);
                    Engine.Time(backend, rows, length, rank, all, rows == 1 ? 60 : 16);
                });
            }
        }
        if (mode is "all" or "conformance")
        {
            foreach (DType type in s_tf32 ? (DType[])[DType.F32] : s_arch == PtxArch.Sm75 ? [DType.F16, DType.F32] : [DType.BF16, DType.F32, DType.F16]) failures += Conformance(Open(type), cases, filter);
        }
        return failures == 0 ? 0 : 1;
    }

    private static PtxArch? s_arch;
    private static bool s_tf32;

    private static CudaBackend Open(DType type) => CudaBackend.Create(new CudaBackendOptions { ComputeType = type, ForcedArch = s_arch, Tf32 = s_tf32 && type == DType.F32 });

    private static int Try(Action action)
    {
        try
        {
            action();
            return 0;
        }
        catch (Exception e)
        {
            Console.WriteLine($"FAILED: {e}");
            return 1;
        }
    }

    private static int Conformance(CudaBackend backend, int cases, string filter)
    {
        using (backend)
        {
            Console.WriteLine($"--- {backend.Name}, {backend.ComputeType}{(s_tf32 ? " (TF32)" : "")}, {cases} cases");
            int failures = 0, passed = 0;
            double milliseconds = 0;
            foreach (ConformanceResult result in ConformanceRunner.Run(backend, cases, filter, s_tf32))
            {
                milliseconds += result.Milliseconds;
                if (result.Error is null)
                {
                    passed++;
                    continue;
                }
                failures++;
                string error = result.Error.Replace("\n", " | ", StringComparison.Ordinal);
                Console.WriteLine($"FAILED {result.Name}: {error[..Math.Min(error.Length, 700)]}");
            }
            Console.WriteLine($"{passed} passed, {failures} failed, {milliseconds / 1000:N1} s, peak {backend.PeakBytes / 1048576.0:N1} MiB");
            return failures;
        }
    }
}
