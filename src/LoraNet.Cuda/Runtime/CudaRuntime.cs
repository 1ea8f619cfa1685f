using System.Collections.Concurrent;
using System.Reflection;
using System.Text;
using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Runtime;

/// <summary>Runs on an NVIDIA card through its driver: one context, one stream.</summary>
internal sealed unsafe class CudaRuntime : DeviceRuntime
{
    // The runtime, not its context: a later runtime may get the same context handle again after this one released it.
    [ThreadStatic]
    private static CudaRuntime? t_bound;

    private readonly ConcurrentBag<PtxCompiler> _compilers = [];
    private const int StagingBytes = 1 << 20;
    private readonly UploadRing _ring;
    private readonly ConcurrentBag<nint> _modules = [];
    private readonly List<Task> _compiling = [];
    private volatile bool _closing;
    private nint _staging;

    public CudaRuntime(int ordinal)
    {
        Device = CudaDevice.OpenPrimary(ordinal);
        t_bound = this;
        CudaError.Check(Native.cuStreamCreate(out nint stream, 1), "cuStreamCreate");
        Stream = stream;
        _ring = new UploadRing(stream);
    }

    /// <summary>The card.</summary>
    public CudaDevice Device { get; }

    /// <summary>The stream on which everything is queued.</summary>
    public nint Stream { get; }

    public override string Name => $"{Device.Name} (compute capability {Device.Major}.{Device.Minor})";

    public override int PreferredGroup => 256;

    public override int MaxGroup => 1024;

    public override int Warp => 32;

    public override int ManyGroups => Device.Multiprocessors * 32;

    public override int GemmSide => 16;

    /// <summary>Memory that nobody holds.</summary>
    public long FreeBytes
    {
        get
        {
            Bind();
            return CudaDevice.MemoryInfo().Free;
        }
    }

    /// <summary>Driver calls refer to the calling thread's context.</summary>
    public void Bind()
    {
        if (t_bound == this) return;
        Device.MakeCurrent();
        t_bound = this;
    }

    public override nint Allocate(long bytes)
    {
        Bind();
        int result = Native.cuMemAlloc_v2(out ulong address, (nuint)bytes);
        if (result == 2)
        {
            (long free, long total) = CudaDevice.MemoryInfo();
            throw new LoraNetException(
                $"Not enough memory on {Device.Name}: {Mebibytes(bytes)} more were asked for, {Mebibytes(free)} of {Mebibytes(total)} are free.",
                "Use a smaller batch or sequence length, or --activations recompute, or close other programs on the GPU.");
        }
        CudaError.Check(result, "cuMemAlloc");
        return (nint)address;

        static string Mebibytes(long n) => $"{n / 1048576.0:N1} MiB";
    }

    public override void Free(nint address)
    {
        Bind();
        CudaError.Check(Native.cuMemFree_v2((ulong)address), "cuMemFree");
    }

    public override void Upload(ReadOnlySpan<byte> source, nint destination)
    {
        TouchHost("upload");
        Bind();
        _ring.Upload(source, destination);
    }

    public override void Download(nint source, Span<byte> destination)
    {
        TouchHost("read back");
        Bind();
        if (destination.Length is > 0 and <= StagingBytes)
        {
            // Through page-locked memory: the driver would do the same for others, several times slower.
            if (_staging == 0) CudaError.Check(Native.cuMemAllocHost_v2(out _staging, StagingBytes), "page-locked host memory");
            CudaError.Check(Native.cuMemcpyDtoHAsync_v2((void*)_staging, (ulong)source, (nuint)destination.Length, Stream), "cuMemcpyDtoHAsync");
            CudaError.Check(Native.cuStreamSynchronize(Stream), "a queued kernel or copy");
            new ReadOnlySpan<byte>((void*)_staging, destination.Length).CopyTo(destination);
            return;
        }
        if (destination.Length > 0)
        {
            fixed (byte* p = destination)
                CudaError.Check(Native.cuMemcpyDtoHAsync_v2(p, (ulong)source, (nuint)destination.Length, Stream), "cuMemcpyDtoHAsync");
        }
        // Also where nothing is copied: a download promises that queued work is done. The span is pinned only above, but the copy
        // from pageable memory has returned by then, so it no longer touches the host.
        CudaError.Check(Native.cuStreamSynchronize(Stream), "a queued kernel or copy");
    }

    public override void Copy(nint source, nint destination, long bytes)
    {
        if (Mode == QueueMode.Rehearse) return;
        Bind();
        CudaError.Check(Native.cuMemcpyDtoDAsync_v2((ulong)destination, (ulong)source, (nuint)bytes, Stream), "cuMemcpyDtoDAsync");
    }

    public override void Zero(nint address, long bytes)
    {
        if (Mode == QueueMode.Rehearse) return;
        Bind();
        if (bytes > 0) CudaError.Check(Native.cuMemsetD8Async((ulong)address, 0, (nuint)bytes, Stream), "cuMemsetD8Async");
    }

    public override void Synchronize()
    {
        Bind();
        CudaError.Check(Native.cuStreamSynchronize(Stream), "a queued kernel or copy");
    }

    public override RecordedLaunches Record(Action body)
    {
        Bind();
        return new Recording(CudaGraph.Capture(Stream, () => In(QueueMode.Record, body)), this);
    }

    public override CompiledKernel<TArgs> Compile<TArgs>(MethodInfo method) => new CudaKernel<TArgs>(this, method);

    /// <summary>Translates and loads a kernel; called from several threads at once while rehearsing.</summary>
    private (nint Function, int MaxGroup) Load(MethodInfo method)
    {
        // A compiler serves one thread at a time; there are as many as threads ever asked at once.
        if (!_compilers.TryTake(out PtxCompiler? compiler)) compiler = new PtxCompiler(Device.Major >= 8);
        (string text, string entry) = compiler.Compile(method);
        _compilers.Add(compiler);
        Bind();
        byte[] image = Encoding.ASCII.GetBytes(text + '\0'), name = Encoding.ASCII.GetBytes(entry + '\0'), log = new byte[8192];
        fixed (byte* i = image, n = name, l = log)
        {
            int* options = stackalloc int[2] { 5, 6 }; // CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
            void** values = stackalloc void*[2] { l, (void*)(nint)log.Length };
            int result = Native.cuModuleLoadDataEx(out nint module, i, 2, options, values);
            if (result != 0)
            {
                int length = Math.Max(0, Array.IndexOf(log, (byte)0));
                throw new InvalidOperationException($"The driver refused kernel {method}: {CudaError.Describe(result)} {Encoding.ASCII.GetString(log, 0, length)}");
            }
            _modules.Add(module);
            CudaError.Check(Native.cuModuleGetFunction(out nint function, module, n), $"cuModuleGetFunction({entry})");
            CudaError.Check(Native.cuFuncGetAttribute(out int maxGroup, 0, function), "cuFuncGetAttribute"); // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
            return (function, maxGroup);
        }
    }

    public override void Dispose()
    {
        // A compiler that is at work needs the context; those that have not begun have nothing to do any more.
        _closing = true;
        Task.WaitAll(_compiling.Select(static t => t.ContinueWith(static _ => { }, TaskScheduler.Default)));
        Bind();
        _ = Native.cuStreamSynchronize(Stream);
        foreach (nint module in _modules) _ = Native.cuModuleUnload(module);
        _modules.Clear();
        _ring.Dispose();
        if (_staging != 0) _ = Native.cuMemFreeHost(_staging);
        _ = Native.cuStreamDestroy_v2(Stream);
        foreach (PtxCompiler compiler in _compilers) compiler.Dispose();
        t_bound = null;
        _ = Native.cuDevicePrimaryCtxRelease_v2(Device.Ordinal);
    }

    private sealed class CudaKernel<TArgs>(CudaRuntime runtime, MethodInfo method) : CompiledKernel<TArgs>
        where TArgs : unmanaged
    {
        private readonly Lazy<(nint Function, int MaxGroup)> _loaded = new(() => runtime.Load(method));
        private readonly string _name = $"{method.DeclaringType!.Name}.{method.Name}";
        private bool _begun;

        // A rehearsal must not wait for the compiler; the group it chooses is dropped with its launch.
        public override int MaxGroup => runtime.Mode == QueueMode.Rehearse ? base.MaxGroup : _loaded.Value.MaxGroup / 32 * 32;

        public override void Launch(int gridX, int gridY, int group, in TArgs args)
        {
            if (runtime.Mode == QueueMode.Rehearse)
            {
                if (!_begun) runtime._compiling.Add(Background.Run(() => runtime._closing ? default : _loaded.Value));
                _begun = true;
                return;
            }
            nint function = _loaded.Value.Function;
            runtime.Bind();
            fixed (TArgs* p = &args)
            {
                void* parameter = p;
                LaunchProfile? profile = LaunchProfile.Current;
                profile?.Begin(_name);
                int result = Native.cuLaunchKernel(function, (uint)gridX, (uint)gridY, 1, (uint)group, 1, 1, 0, runtime.Stream, &parameter, null);
                if (result != 0) CudaError.Check(result, _name);
                profile?.End();
            }
        }
    }

    private sealed class Recording(CudaGraph graph, CudaRuntime runtime) : RecordedLaunches
    {
        public override void Launch()
        {
            runtime.Bind();
            graph.Launch(runtime.Stream);
        }

        public override void Dispose() => graph.Dispose();
    }
}
