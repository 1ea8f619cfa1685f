namespace LoraNet.Cli.Planning;

/// <summary>A device to plan for.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Bytes">Usable memory.</param>
/// <param name="Flops">Floating-point operations per second of matrix products in training, an estimate; 0 when not known.</param>
/// <param name="ActivationBytes">Bytes of an activation.</param>
/// <param name="IsHost">True for a CPU.</param>
internal sealed record PlanDevice(string Name, long Bytes, double Flops, int ActivationBytes, bool IsHost = false)
{
    // Makers' memory sizes less what the driver keeps, and dense tensor-core peaks (fp16 on T4, bf16 else) times a share that training reaches.
    private static readonly Dictionary<string, PlanDevice> _gpus = new()
    {
        ["t4"] = new("NVIDIA T4 (16 GB)", (long)(14.6 * (1L << 30)), 65e12 * 0.35, 2),
        ["l4"] = new("NVIDIA L4 (24 GB)", (long)(22.0 * (1L << 30)), 121e12 * 0.4, 2),
        ["a100"] = new("NVIDIA A100 (80 GB)", (long)(79.1 * (1L << 30)), 312e12 * 0.5, 2),
        ["h100"] = new("NVIDIA H100 (80 GB)", (long)(79.1 * (1L << 30)), 989e12 * 0.4, 2),
    };

    /// <summary>The GPU of a preset.</summary>
    public static PlanDevice OfPreset(string preset) => _gpus[preset];

    /// <summary>The device of a backend: a GPU by its name, the processor by a measurement.</summary>
    public static PlanDevice Of(Tensors.Backend backend)
    {
        if (backend.IsHost) return Cpu(backend);
        string preset = Settings.Preset.ForDevice(backend.Name, BackendFactory.DeviceBytes(backend)).Name;
        return OfPreset(preset) with { Name = backend.Name, Bytes = BackendFactory.DeviceBytes(backend), ActivationBytes = Tensors.DTypes.Size(backend.ComputeType) };
    }

    /// <summary>This machine's processor, its speed measured with one product.</summary>
    private static PlanDevice Cpu(Tensors.Backend backend)
    {
        const int Size = 384;
        using Tensors.Arena arena = new(backend);
        Tensors.Tensor a = arena.Rent(backend.ComputeType, Size, Size), b = arena.Rent(backend.ComputeType, Size, Size), c = arena.Rent(backend.ComputeType, Size, Size);
        backend.Zero(a);
        backend.Zero(b);
        double best = double.MaxValue;
        for (int i = 0; i < 4; i++)
        {
            System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
            backend.MatMul(Tensors.MatMulKind.NT, a, b, c);
            backend.Synchronize();
            best = Math.Min(best, watch.Elapsed.TotalSeconds);
        }
        foreach (Tensors.Tensor t in new[] { a, b, c }) Tensors.Arena.Release(t);
        return new PlanDevice(backend.Name, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, 2.0 * Size * Size * Size / best * 0.7, 4, IsHost: true);
    }
}
