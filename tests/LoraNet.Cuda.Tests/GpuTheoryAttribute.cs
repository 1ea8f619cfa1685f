using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Tests;

/// <summary>A theory that needs an NVIDIA card and is reported as skipped, with the reason, without one.</summary>
internal sealed class GpuTheoryAttribute : TheoryAttribute
{
    public GpuTheoryAttribute() => Skip = CudaDevice.IsAvailable(out string reason) ? null : reason;
}
