using System.Collections.Concurrent;
using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Runtime;

namespace LoraNet.Cuda.Ptx;

/// <summary>
/// Kernels by specialisation, compiled by the driver at most once each. <see cref="Prefetch"/> compiles on background threads
/// (a first compile takes 60 to 800 ms, later processes 0 to 1 ms from the driver's cache), for instance while weights load.
/// Thread-safe.
/// </summary>
internal sealed class PtxModuleCache(CudaDevice device)
{
    private readonly ConcurrentDictionary<IKernelSpec, Lazy<CudaKernel>> _kernels = new();
    private readonly ConcurrentDictionary<IKernelSpec, Task> _begun = new();
    private volatile bool _closing;

    /// <summary>The card that the kernels are compiled for.</summary>
    public CudaDevice Device { get; } = device;

    /// <summary>The kernel of <paramref name="spec"/>, compiled now if nobody did before. The card's context must be current.</summary>
    public CudaKernel Get(IKernelSpec spec) => Entry(spec).Value;

    /// <summary>Compiles kernels in the background; an error appears at the first <see cref="Get"/>.</summary>
    /// <returns>A task that ends when all of them are tried.</returns>
    public Task Prefetch(params IEnumerable<IKernelSpec> specs) => Task.WhenAll(specs.Select(spec => _begun.GetOrAdd(spec, Begin)));

    /// <summary>Waits for compilations that have begun, which need the card's context, and skips those that have not.</summary>
    public void Finish()
    {
        _closing = true;
        Task.WaitAll(_begun.Values.Select(static t => t.ContinueWith(static _ => { }, TaskScheduler.Default)));
    }

    private Task Begin(IKernelSpec spec)
    {
        Lazy<CudaKernel> entry = Entry(spec);
        return Background.Run(() =>
        {
            if (_closing) return null;
            Device.MakeCurrent();
            return entry.Value;
        });
    }

    private Lazy<CudaKernel> Entry(IKernelSpec spec) => _kernels.GetOrAdd(spec, static s => new Lazy<CudaKernel>(() =>
    {
        PtxKernelText k = s.Build();
        return CudaKernel.Load(k.Text, k.Entry, k.Threads, k.SharedBytes);
    }));
}
