using System.Globalization;
using LoraNet.Cuda;
using LoraNet.Cuda.Ptx;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>Products of F32 computation, plain and in TF32, of weights kept in F32 and in BF16; and how far TF32 is from plain F32.</summary>
internal static class FloatProducts
{
    public static void Run(PtxArch? arch)
    {
        Console.WriteLine("| product | weight | F32 us | TFLOP/s | TF32 us | TFLOP/s | TF32 error |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        foreach ((MatMulKind kind, int m, int n, int k, int rank) in ((MatMulKind, int, int, int, int)[])[
            (MatMulKind.NT, 4096, 4096, 4096, 0), (MatMulKind.NN, 4096, 4096, 4096, 0), (MatMulKind.TN, 4096, 4096, 4096, 0),
            (MatMulKind.NT, 8192, 2048, 2048, 16), (MatMulKind.NT, 8192, 8192, 2048, 0), (MatMulKind.NN, 8192, 2048, 8192, 16), (MatMulKind.NT, 512, 2048, 2048, 0),
            (MatMulKind.NT, 8192, 16, 2048, 0), (MatMulKind.TN, 16, 2048, 8192, 0), (MatMulKind.NT, 1024, 50257, 768, 0), (MatMulKind.NN, 1024, 768, 50257, 0)])
        {
            foreach (DType stored in kind == MatMulKind.TN ? (DType[])[DType.F32] : [DType.F32, DType.BF16])
            {
                (double plain, float[] expected) = Time(arch, false, kind, m, n, k, rank, stored);
                (double tf32, float[] actual) = Time(arch, true, kind, m, n, k, rank, stored);
                double flops = 2.0 * m * n * k;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"| {kind} {m} x {n} x {k}{(rank > 0 ? $" r{rank}" : "")} | {stored} | {plain:N1} | {flops / plain / 1e6:N0} | {tf32:N1} | {flops / tf32 / 1e6:N0} | {Shapes.Error(expected, actual):e1} |"));
            }
        }
    }

    private static (double Microseconds, float[] Result) Time(PtxArch? arch, bool tf32, MatMulKind kind, int m, int n, int k, int rank, DType stored)
    {
        using CudaBackend backend = CudaBackend.Create(new CudaBackendOptions { ComputeType = DType.F32, Tf32 = tf32, ForcedArch = arch });
        using ShapeProduct product = new(backend, kind, m, n, k, rank, stored, DType.F32);
        double time = Timings.MeasureGpu(backend, product.Run);
        return (time, product.Result());
    }
}
