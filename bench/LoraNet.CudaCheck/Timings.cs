using System.Diagnostics;
using LoraNet.Cuda;
using LoraNet.Tensors;

namespace LoraNet.CudaCheck;

/// <summary>Times every memory-bound operation at the shapes of Llama-3.2-1B (8192 tokens, hidden 2048, intermediate 8192) and compares
/// the bytes it must move with the card's bandwidth.</summary>
internal static class Timings
{
    private const int Tokens = 8192, Hidden = 2048, Intermediate = 8192, Vocabulary = 128256, LogitRows = 1024;

    public static void Run()
    {
        using CudaBackend b = CudaBackend.Create(new CudaBackendOptions { ComputeType = DType.BF16 });
        Console.WriteLine($"--- {b.Name}: BF16, {Tokens} tokens, hidden {Hidden}, intermediate {Intermediate}");
        using Arena arena = new(b);
        Tensor Bf(int rows, int columns)
        {
            Tensor t = arena.Rent(DType.BF16, rows, columns);
            b.Zero(t);
            return t;
        }

        Tensor F(params ReadOnlySpan<int> shape)
        {
            Tensor t = arena.Rent(DType.F32, shape);
            b.Zero(t);
            return t;
        }

        Tensor x = Bf(Tokens, Hidden), y = Bf(Tokens, Hidden), z = Bf(Tokens, Hidden), w = F(Hidden), rstd = F(Tokens), mean = F(Tokens);
        Tensor gate = Bf(Tokens, Intermediate), up = Bf(Tokens, Intermediate), dGate = Bf(Tokens, Intermediate);
        Tensor logits = Bf(LogitRows, Vocabulary), loss = F(LogitRows);
        Tensor cos = F(Tokens, 32), positions = b.CreateIndex([.. Enumerable.Range(0, Tokens)]);
        Tensor targets = b.CreateIndex([.. Enumerable.Range(0, LogitRows)]), rows = b.CreateIndex([.. Enumerable.Range(0, Tokens).Select(i => Tokens - 1 - i)]);
        Tensor stats = F(3), one = F(1);
        b.Upload([1f, 1f, 1f], stats);
        DropoutKey key = DropoutKey.Create(1, "m", "default", 3);
        long element = (long)Tokens * Hidden, wide = (long)Tokens * Intermediate, vocabulary = (long)LogitRows * Vocabulary;

        Time(b, "RmsNorm", 4 * element, () => b.RmsNorm(x, w, 1e-5f, 0, y, rstd));
        Time(b, "RmsNormBackward", 6 * element, () => b.RmsNormBackward(y, x, w, 0, rstd, z, false, null));
        Time(b, "RmsNormBackward accumulate", 8 * element, () => b.RmsNormBackward(y, x, w, 0, rstd, z, true, null));
        Time(b, "LayerNorm", 4 * element, () => b.LayerNorm(x, w, w, 1e-5f, y, mean, rstd));
        Time(b, "LayerNormBackward", 6 * element, () => b.LayerNormBackward(y, x, w, mean, rstd, z, false, null, null));
        Time(b, "Rope", 4 * element, () => b.Rope(x, cos, cos, positions, 64, false, y));
        Time(b, "Rope in place", 4 * element, () => b.Rope(x, cos, cos, positions, 64, false, x));
        Time(b, "GatedActivate", 6 * wide, () => b.GatedActivate(Activation.Silu, gate, up, dGate));
        Time(b, "GatedActivateBackward", 10 * wide, () => b.GatedActivateBackward(Activation.Silu, dGate, gate, up, gate, up));
        Time(b, "Activate GELU", 4 * wide, () => b.Activate(Activation.Gelu, gate, up));
        Time(b, "Add", 6 * element, () => b.Add(x, y, z));
        Time(b, "Scale copy", 4 * element, () => b.Scale(x, 1, y));
        Time(b, "Scale accumulate", 6 * element, () => b.Scale(x, 2, y, true));
        Time(b, "Dropout", 4 * element, () => b.Dropout(x, 0.1f, key, 0, y));
        Time(b, "ColumnSum", 2 * element, () => b.ColumnSum(x, null, 1, w, false));
        Time(b, "CopyColumns", 4 * element / 4, () => b.CopyColumns(x, 512, y, 512, 512));
        Time(b, "GatherRows", 4 * element, () => b.GatherRows(x, rows, y));
        Time(b, "ScatterAddRows", 6 * element, () => b.ScatterAddRows(x, rows, y));
        Time(b, "CrossEntropy with gradient", 4 * vocabulary, () => b.CrossEntropy(logits, targets, 1, 0, loss, logits));
        Time(b, "CrossEntropy loss only", 2 * vocabulary, () => b.CrossEntropy(logits, targets, 1, 0, loss, null));
        Time(b, "Sum", 2 * element, () => b.Sum(x, one));
        Time(b, "Zero", 2 * element, () => b.Zero(x));
        TimeOptimizer(b, arena, stats, one);
        TimeProducts(b, arena);
        TimeAttention(b, arena);
        TimeLaunch(b, arena);
        TimeUpload(b);
    }

    private static void TimeOptimizer(CudaBackend b, Arena arena, Tensor stats, Tensor loss)
    {
        // Rank 16 on all seven linear layers of 16 blocks: 11.3 M parameters in 224 tensors.
        List<AdamWTensor> tensors = [];
        List<Tensor> gradients = [];
        long count = 0;
        for (int i = 0; i < 112; i++)
        {
            foreach (int columns in (int[])[2048, 4240])
            {
                Tensor p = arena.Rent(DType.F32, 16, columns), g = arena.Rent(DType.F32, 16, columns), m = arena.Rent(DType.F32, 16, columns), v = arena.Rent(DType.F32, 16, columns);
                foreach (Tensor t in (Tensor[])[p, g, m, v]) b.Zero(t);
                tensors.Add(new AdamWTensor(p, g, m, v, 1e-4f, 0.01f));
                gradients.Add(g);
                count += p.Count;
            }
        }
        Time(b, $"GradientNorm of {gradients.Count} tensors, {count / 1e6:N1} M", 4 * count, () => b.GradientNorm(gradients, 1, loss, stats));
        Time(b, $"AdamW of {gradients.Count} tensors", 28 * count, () => b.AdamW(tensors, new AdamWSettings(0.9f, 0.999f, 1e-8f, 3), stats));
    }

    private static void TimeProducts(CudaBackend b, Arena arena)
    {
        foreach ((int m, int n, int k, int r) in ((int, int, int, int)[])[(8192, 2048, 2048, 0), (8192, 2048, 2048, 16), (8192, 8192, 2048, 16), (512, 2048, 2048, 16)])
        {
            Tensor x = arena.Rent(DType.BF16, m, k), y = arena.Rent(DType.BF16, m, n), left = arena.Rent(DType.BF16, m, Math.Max(1, r)), right = arena.Rent(DType.F32, n, Math.Max(1, r));
            foreach (Tensor t in (Tensor[])[x, y, left, right]) b.Zero(t);
            float[] values = new float[n * k];
            Weight w = new("w", HostTensor.Copy(values, n, k));
            b.Prepare(w);
            LowRank? lowRank = r == 0 ? null : new LowRank(left, right);
            double us = Measure(b, () => b.Linear(x, w, null, lowRank, y));
            Console.WriteLine($"Linear {m} x {n} x {k} rank {r}: {us,9:N1} us, {2.0 * m * n * k / us / 1e6:N1} TFLOP/s");
            us = Measure(b, () => b.LinearBackwardInput(y, w, null, x));
            Console.WriteLine($"LinearBackwardInput {m} x {n} x {k}: {us,9:N1} us, {2.0 * m * n * k / us / 1e6:N1} TFLOP/s");
            b.Drop(w);
            foreach (Tensor t in (Tensor[])[x, y, left, right]) Arena.Release(t);
        }
        Tensor p = arena.Rent(DType.BF16, 8192, 16), tokens = arena.Rent(DType.BF16, 8192, 2048), da = arena.Rent(DType.F32, 16, 2048), a = arena.Rent(DType.F32, 16, 2048);
        foreach (Tensor t in (Tensor[])[p, tokens, da, a]) b.Zero(t);
        Time(b, "LoRA down x·Aᵀ 8192 x 16 x 2048", 2L * 8192 * 2048, () => b.MatMul(MatMulKind.NT, tokens, a, p));
        Time(b, "LoRA gradient pᵀ·x 16 x 2048 x 8192", 2L * 8192 * 2048, () => b.MatMul(MatMulKind.TN, p, tokens, da, 1, true));
    }

    private static void TimeAttention(CudaBackend b, Arena arena)
    {
        foreach ((int segments, int length) in ((int, int)[])[(1, 512), (4, 2048)])
        {
            const int Heads = 32, KeyValueHeads = 8, HeadSize = 64;
            int rows = segments * length;
            Tensor q = arena.Rent(DType.BF16, rows, Heads * HeadSize), k = arena.Rent(DType.BF16, rows, KeyValueHeads * HeadSize), v = arena.Rent(DType.BF16, rows, KeyValueHeads * HeadSize);
            Tensor o = arena.Rent(DType.BF16, rows, Heads * HeadSize), lse = arena.Rent(DType.F32, rows, Heads), dq = arena.Rent(DType.BF16, rows, Heads * HeadSize);
            Tensor dk = arena.Rent(DType.BF16, rows, KeyValueHeads * HeadSize), dv = arena.Rent(DType.BF16, rows, KeyValueHeads * HeadSize);
            foreach (Tensor t in (Tensor[])[q, k, v, o]) b.Zero(t);
            AttentionOperands operands = new(q, k, v, o, lse, AttentionLayout.Packed([.. Enumerable.Repeat(length, segments)], true), Heads, KeyValueHeads, 0.125f, 0);
            double us = Measure(b, () => b.Attention(operands), 5);
            Console.WriteLine($"Attention {segments} x {length}, 32/8 heads of 64: {us:N1} us, {2.0 * segments * length * (double)length * HeadSize * Heads / us / 1e6:N1} TFLOP/s");
            us = Measure(b, () => b.AttentionBackward(operands, o, dq, dk, dv), 5);
            Console.WriteLine($"AttentionBackward {segments} x {length}: {us:N1} us");
        }
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

    private static void Time(CudaBackend b, string name, long bytes, Action action)
    {
        double us = Measure(b, action);
        Console.WriteLine($"{name}: {us,8:N1} us, {bytes / us / 1e3:N0} GB/s");
    }

    private static double Measure(CudaBackend b, Action action, int repeats = 20)
    {
        action();
        b.Synchronize();
        double best = double.MaxValue;
        for (int round = 0; round < 3; round++)
        {
            Stopwatch watch = Stopwatch.StartNew();
            for (int i = 0; i < repeats; i++) action();
            b.Synchronize();
            best = Math.Min(best, watch.Elapsed.TotalMicroseconds / repeats);
        }
        return best;
    }
}
