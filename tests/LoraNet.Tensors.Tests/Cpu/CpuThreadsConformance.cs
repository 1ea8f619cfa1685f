using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>Five threads against one, to the bit: partial sums belong to chunks of the data, never to threads.</summary>
public sealed class CpuThreadsConformance : BackendConformance, IDisposable
{
    private readonly CpuBackend _single = new(new CpuBackendOptions { Threads = 1 });

    protected override Backend Backend { get; } = new CpuBackend(new CpuBackendOptions { Threads = 5 });

    protected override Backend CreateReference() => _single;

    protected override double Tolerance(DType output) => 0;

    public void Dispose()
    {
        Backend.Dispose();
        _single.Dispose();
    }
}
