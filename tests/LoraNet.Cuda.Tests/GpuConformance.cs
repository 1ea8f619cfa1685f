using LoraNet.Tensors;

namespace LoraNet.Cuda.Tests;

/// <summary>The whole suite on the card of this machine.</summary>
public class GpuConformance
{
    [GpuTheory]
    [InlineData(DType.F32)]
    [InlineData(DType.BF16)]
    [InlineData(DType.F16)]
    public void Every_operation_agrees_with_the_reference(DType computeType)
    {
        using CudaBackend backend = CudaBackend.Create(new CudaBackendOptions { ComputeType = computeType });
        string[] failures = [.. ConformanceRunner.Run(backend, 50).Where(r => r.Error is not null).Select(r => $"{r.Name}: {r.Error}")];
        Assert.True(failures.Length == 0, string.Join("\n\n", failures));
    }
}
