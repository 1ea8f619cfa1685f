using System.Collections.Concurrent;
using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Ptx;

/// <summary>
/// Kernels by specialisation, compiled by the driver at most once each. <see cref="Prefetch"/> compiles on background threads
/// (a first compile takes 60 to 800 ms, later processes 0 to 1 ms from the driver's cache), for instance while weights load.
/// Thread-safe.
/// </summary>
internal sealed class PtxModuleCache(CudaDevice device)
{
    private readonly ConcurrentDictionary<IKernelSpec, Lazy<CudaKernel>> _kernels = new();

    /// <summary>The card that the kernels are compiled for.</summary>
    public CudaDevice Device { get; } = device;

    /// <summary>The kernel of <paramref name="spec"/>, compiled now if nobody did before. The card's context must be current.</summary>
    public CudaKernel Get(IKernelSpec spec) => Entry(spec).Value;

    /// <summary>Compiles the kernels in the background; errors appear at the first <see cref="Get"/>.</summary>
    /// <returns>A task that ends when all of them are tried.</returns>
    public Task Prefetch(IEnumerable<IKernelSpec> specs) => Task.WhenAll(specs.Distinct().Select(spec => Task.Run(() =>
    {
        Device.MakeCurrent();
        try
        {
            _ = Entry(spec).Value;
        }
        catch (Exception e) when (e is InvalidOperationException or NotSupportedException or LoraNetException)
        {
            // Lazy keeps the exception and Get throws it to whoever needs the kernel.
        }
    })));

    private Lazy<CudaKernel> Entry(IKernelSpec spec) => _kernels.GetOrAdd(spec, static s => new Lazy<CudaKernel>(() =>
    {
        PtxKernelText k = s.Build();
        return CudaKernel.Load(k.Text, k.Entry, k.Threads, k.SharedBytes);
    }));
}
