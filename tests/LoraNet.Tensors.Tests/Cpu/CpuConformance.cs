using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>The CPU backend with the widest vectors of this machine against the reference.</summary>
public sealed class CpuConformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 3 });

    public void Dispose() => Backend.Dispose();
}

/// <summary>Weights read from where they are stored.</summary>
public sealed class CpuLowMemoryConformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 2, LowMemory = true });

    public void Dispose() => Backend.Dispose();
}

/// <summary>512-bit kernels; emulated where the hardware has none.</summary>
public sealed class Cpu512Conformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 1, VectorBits = 512 });

    public void Dispose() => Backend.Dispose();
}

/// <summary>256-bit kernels.</summary>
public sealed class Cpu256Conformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 2, VectorBits = 256 });

    public void Dispose() => Backend.Dispose();
}

/// <summary>128-bit kernels.</summary>
public sealed class Cpu128Conformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 2, VectorBits = 128 });

    public void Dispose() => Backend.Dispose();
}

/// <summary>The backward of attention for long sequences, which keeps nothing between its passes.</summary>
public sealed class CpuLongAttentionConformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 2 }) { KeptSlopes = 0 };

    public void Dispose() => Backend.Dispose();
}
