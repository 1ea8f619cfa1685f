using LoraNet.Cuda;
using LoraNet.Cuda.Tests;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>
/// Checks and times the CUDA backend where there is a GPU but no SDK: publish self-contained, copy, run.
/// <c>LoraNet.CudaCheck [conformance [cases [filter]]] | [time] | [simulate [cases [filter]]]</c>; without arguments conformance and timings.
/// </summary>
internal static class Program
{
    private static int Main(string[] args)
    {
        string mode = args.Length > 0 ? args[0] : "all";
        int cases = args.Length > 1 ? int.Parse(args[1]) : 40;
        string filter = args.Length > 2 ? args[2] : "";
        foreach (CudaDeviceInfo d in CudaBackend.Devices())
            Console.WriteLine($"GPU {d.Index}: {d.Name}, {d.MemoryBytes / 1048576.0:N0} MiB, compute capability {d.ComputeMajor}.{d.ComputeMinor}");
        int failures = 0;
        if (mode == "simulate")
        {
            foreach (DType type in (DType[])[DType.F32, DType.BF16])
                failures += Conformance(CudaBackend.CreateOnCpuAccelerator(type), cases, filter);
        }
        if (mode is "all" or "conformance")
        {
            foreach (DType type in (DType[])[DType.F32, DType.BF16, DType.F16])
                failures += Conformance(CudaBackend.Create(new CudaBackendOptions { ComputeType = type }), cases, filter);
        }
        if (mode is "all" or "time") Timings.Run();
        return failures == 0 ? 0 : 1;
    }

    private static int Conformance(CudaBackend backend, int cases, string filter)
    {
        using (backend)
        {
            Console.WriteLine($"--- {backend.Name}, {backend.ComputeType}, {cases} cases");
            int failures = 0, passed = 0;
            double milliseconds = 0;
            foreach (ConformanceResult result in ConformanceRunner.Run(backend, cases, filter))
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
