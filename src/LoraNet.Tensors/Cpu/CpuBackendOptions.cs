namespace LoraNet.Tensors.Cpu;

/// <summary>Settings of a the CPU backend.</summary>
public sealed record CpuBackendOptions
{
    /// <summary>Threads that compute, the caller's included; 0 for as many as the process may use. Results do not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>True to compute straight from the mapped weight files: no packed copy of the base model is kept (half the memory or
    /// less), at roughly 5 % of the speed, more for short batches.</summary>
    public bool LowMemory { get; init; }

    /// <summary>How long an idle worker spins for the next operation before it sleeps, in microseconds.</summary>
    public int SpinMicroseconds { get; init; } = 100;

    /// <summary>Vector width in bits: 512, 256 or 128; 0 for the widest that the hardware accelerates. For tests and comparisons.</summary>
    public int VectorBits { get; init; }
}
