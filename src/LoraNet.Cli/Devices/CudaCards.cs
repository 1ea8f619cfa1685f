using LoraNet.Cuda;
using LoraNet.Tensors;

namespace LoraNet.Cli.Devices;

/// <summary>The cards through <see cref="CudaBackend"/>.</summary>
internal sealed class CudaCards : ICardSupport
{
    public string? Missing => null;

    public IReadOnlyList<CudaCard> Cards() => [.. CudaBackend.Devices().Select(static d => new CudaCard(d.Index, d.Name, d.MemoryBytes, d.ComputeMajor, d.ComputeMinor))];

    public Backend Open(int index, DType? type, bool tf32) => CudaBackend.Create(new CudaBackendOptions { DeviceIndex = index, ComputeType = type, Tf32 = tf32 });

    public ICardProfile? Profile(Backend backend) => backend is CudaBackend cuda ? new KernelProfile(cuda) : null;

    private sealed class KernelProfile(CudaBackend cuda) : ICardProfile
    {
        public void Begin() => cuda.StartProfile();

        public IReadOnlyList<CardKernel> End() => [.. cuda.StopProfile().Select(static t => new CardKernel(t.Name, t.Launches, t.Milliseconds))];
    }
}
