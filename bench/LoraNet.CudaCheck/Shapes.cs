using System.Globalization;
using LoraNet.Cuda;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>Products whose rows are no whole 16-byte units: vocabularies with a few added tokens, small ranks, classification heads. Each is
/// compared with F32 computation of the same values and timed beside a neighbour whose rows are.</summary>
internal static class Shapes
{
    public static int Run(Func<DType, CudaBackend> open)
    {
        using CudaBackend backend = open(DType.BF16), exact = open(DType.F32);
        int failures = 0;
        Console.WriteLine("| product | us | TFLOP/s | aligned neighbour | us | error |");
        Console.WriteLine("|---|---|---|---|---|---|");
        foreach ((MatMulKind kind, int m, int n, int k, int rank, DType result) in Cases())
        {
            try
            {
                using ShapeProduct product = new(backend, kind, m, n, k, rank, DType.BF16, result), reference = new(exact, kind, m, n, k, rank, DType.BF16, DType.F32);
                double time = Timings.MeasureGpu(backend, product.Run);
                reference.Run();
                double error = Error(reference.Result(), product.Result()), limit = result == DType.F32 ? 2e-5 : 3e-3;
                (int m2, int n2, int k2, int rank2) = (kind == MatMulKind.TN ? Up(m) : m, Up(n), Up(k), Up(rank));
                using ShapeProduct neighbour = new(backend, kind, m2, n2, k2, rank2, DType.BF16, result);
                double aligned = Timings.MeasureGpu(backend, neighbour.Run);
                bool good = error <= limit;
                failures += good ? 0 : 1;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"| {kind} {m} x {n} x {k}{(rank > 0 ? $" r{rank}" : "")} -> {result} | {time:N1} | {2.0 * m * n * k / time / 1e6:N0} | {m2} x {n2} x {k2}{(rank > 0 ? $" r{rank2}" : "")} | {aligned:N1} | {error:e1}{(good ? "" : " FAILED")} |"));
            }
            catch (Exception e)
            {
                failures++;
                Console.WriteLine($"FAILED {kind} {m} x {n} x {k} r{rank}: {e}");
            }
        }
        return failures;
    }

    /// <summary>Norm of the difference over the norm.</summary>
    public static double Error(float[] expected, float[] actual)
    {
        double difference = 0, norm = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double d = (double)actual[i] - expected[i];
            difference += d * d;
            norm += (double)expected[i] * expected[i];
        }
        return Math.Sqrt(difference / norm);
    }

    private static int Up(int n) => (n + 7) / 8 * 8;

    private static IEnumerable<(MatMulKind Kind, int M, int N, int K, int Rank, DType Result)> Cases()
    {
        foreach ((int vocabulary, int hidden) in ((int, int)[])[(50257, 768), (32001, 4096), (128257, 2048)])
        {
            yield return (MatMulKind.NT, 1024, vocabulary, hidden, 0, DType.BF16);
            yield return (MatMulKind.NN, 1024, hidden, vocabulary, 0, DType.BF16);
        }
        yield return (MatMulKind.TN, 50257, 768, 1024, 0, DType.F32);
        yield return (MatMulKind.NN, 100, 768, 50257, 0, DType.BF16);
        foreach (int rank in (int[])[1, 2, 4, 12])
        {
            yield return (MatMulKind.NT, 8192, 2048, 2048, rank, DType.BF16);
            yield return (MatMulKind.NN, 8192, 2048, 2048, rank, DType.BF16);
            yield return (MatMulKind.NT, 8192, rank, 2048, 0, DType.BF16);
            yield return (MatMulKind.NN, 8192, rank, 2048, 0, DType.BF16);
            yield return (MatMulKind.TN, rank, 2048, 8192, 0, DType.F32);
            yield return (MatMulKind.TN, 2048, rank, 8192, 0, DType.F32);
        }
        foreach (int rows in (int[])[1, 4, 16]) yield return (MatMulKind.NT, rows, 2048, 2048, 4, DType.BF16);
        foreach (int labels in (int[])[2, 3, 9])
        {
            yield return (MatMulKind.NT, 32, labels, 768, 0, DType.BF16);
            yield return (MatMulKind.NN, 32, 768, labels, 0, DType.BF16);
            yield return (MatMulKind.NT, 8192, labels, 768, 0, DType.BF16);
            yield return (MatMulKind.NN, 8192, 768, labels, 0, DType.BF16);
        }
    }
}
