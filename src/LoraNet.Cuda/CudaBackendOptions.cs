using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <summary>What <see cref="CudaBackend.Create"/> needs to know.</summary>
public sealed record CudaBackendOptions
{
    /// <summary>Number of the card, from 0, as the driver counts (CUDA_VISIBLE_DEVICES applies).</summary>
    public int DeviceIndex { get; init; }

    /// <summary>Element type of activations: BF16, F16 or F32; null takes BF16 where the card multiplies it in hardware
    /// (compute capability 8.0 and newer), else F16.</summary>
    public DType? ComputeType { get; init; }

    /// <summary>Whether products of F32 matrices may run on tensor cores (compute capability 8.0 and newer), which round their operands to TF32:
    /// 10 bits of fraction, so that each factor errs by up to 2⁻¹¹ of itself; sums stay binary32. Activations, attention and everything else
    /// stay F32. Implies <see cref="ComputeType"/> F32 and goes with no other.</summary>
    public bool Tf32 { get; init; }

    /// <summary>For checks: generated kernels of an older target than the card's own.</summary>
    internal Ptx.PtxArch? ForcedArch { get; init; }
}

/// <summary>An NVIDIA card that the driver shows.</summary>
/// <param name="Index">Number for <see cref="CudaBackendOptions.DeviceIndex"/>.</param>
/// <param name="Name">The driver's name for it.</param>
/// <param name="MemoryBytes">Device memory in bytes.</param>
/// <param name="ComputeMajor">Compute capability, major part.</param>
/// <param name="ComputeMinor">Compute capability, minor part.</param>
public sealed record CudaDeviceInfo(int Index, string Name, long MemoryBytes, int ComputeMajor, int ComputeMinor);
