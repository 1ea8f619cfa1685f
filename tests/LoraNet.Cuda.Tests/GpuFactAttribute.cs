using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Tests;

/// <summary>A fact that needs an NVIDIA card and is reported as skipped, with the reason, without one.</summary>
internal sealed class GpuFactAttribute : FactAttribute
{
    private static readonly string? s_reason = CudaDevice.IsAvailable(out string reason) ? null : reason;

    public GpuFactAttribute() => Skip = s_reason;
}
