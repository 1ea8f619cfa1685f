using System.Reflection;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace LoraNet.Cuda.Runtime;

/// <summary>
/// Runs the kernels on ILGPU's CPU accelerator, which simulates groups with operating-system threads: slow, but the same
/// C# code with the same barriers and shuffles, so the kernels are tested where there is no GPU. Groups are two warps of
/// two threads: the smallest that reach every synchronisation path.
/// </summary>
internal sealed unsafe class CpuRuntime : DeviceRuntime
{
    private readonly Context _context;
    private readonly CPUAccelerator _accelerator;
    private List<Action>? _recorded;

    public CpuRuntime()
    {
        _context = Context.Create(b => b.CPU(new CPUDevice(2, 2, 1)).Optimize(OptimizationLevel.O2));
        _accelerator = _context.CreateCPUAccelerator(0);
    }

    public override string Name => "ILGPU CPU accelerator";

    public override int PreferredGroup => 4;

    public override int MaxGroup => 4;

    public override int Warp => 2;

    public override int ManyGroups => 2;

    public override int GemmSide => 2;

    public override nint Allocate(long bytes)
    {
        try
        {
            return (nint)NativeMemory.AlignedAlloc((nuint)bytes, 256);
        }
        catch (OutOfMemoryException e)
        {
            throw new LoraNetException($"Not enough memory: {bytes:N0} bytes were asked for.", "Use a smaller batch or sequence length.", e);
        }
    }

    public override void Free(nint address)
    {
        Synchronize();
        NativeMemory.AlignedFree((void*)address);
    }

    public override void Upload(ReadOnlySpan<byte> source, nint destination)
    {
        TouchHost("upload");
        Synchronize();
        source.CopyTo(new Span<byte>((void*)destination, source.Length));
    }

    public override void Download(nint source, Span<byte> destination)
    {
        TouchHost("read back");
        Synchronize();
        new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);
    }

    public override void Copy(nint source, nint destination, long bytes) => Queue(() =>
    {
        Synchronize();
        Buffer.MemoryCopy((void*)source, (void*)destination, bytes, bytes);
    });

    public override void Zero(nint address, long bytes) => Queue(() =>
    {
        Synchronize();
        NativeMemory.Clear((void*)address, (nuint)bytes);
    });

    public override RecordedLaunches Record(Action body)
    {
        List<Action> recorded = _recorded = [];
        try
        {
            In(QueueMode.Record, body);
        }
        finally
        {
            _recorded = null;
        }
        return new Recording(recorded);
    }

    private void Queue(Action work)
    {
        if (Mode == QueueMode.Run) work();
        else _recorded?.Add(work);
    }

    public override void Synchronize() => _accelerator.Synchronize();

    public override CompiledKernel<TArgs> Compile<TArgs>(MethodInfo method)
    {
        var kernel = _accelerator.LoadKernel(method);
        return new CpuKernel<TArgs>(this, _accelerator.DefaultStream, kernel.CreateLauncherDelegate<Action<AcceleratorStream, KernelConfig, TArgs>>());
    }

    public override void Dispose()
    {
        _accelerator.Dispose();
        _context.Dispose();
    }

    private sealed class CpuKernel<TArgs>(CpuRuntime runtime, AcceleratorStream stream, Action<AcceleratorStream, KernelConfig, TArgs> launcher) : CompiledKernel<TArgs>
        where TArgs : unmanaged
    {
        public override void Launch(int gridX, int gridY, int group, in TArgs args)
        {
            TArgs copy = args;
            runtime.Queue(() => launcher(stream, new KernelConfig(new Index3D(gridX, gridY, 1), new Index3D(group, 1, 1)), copy));
        }
    }

    private sealed class Recording(List<Action> work) : RecordedLaunches
    {
        public override void Launch()
        {
            foreach (Action action in work) action();
        }

        public override void Dispose() => work.Clear();
    }
}
