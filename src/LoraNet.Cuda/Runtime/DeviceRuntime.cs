using System.Reflection;

namespace LoraNet.Cuda.Runtime;

/// <summary>
/// What the backend needs of a device: memory, copies in stream order, and compiled C# kernels. One implementation talks
/// to the NVIDIA driver, one to ILGPU's CPU accelerator; everything above is the same code for both.
/// </summary>
internal abstract class DeviceRuntime : IDisposable
{
    /// <summary>Name for people.</summary>
    public abstract string Name { get; }

    /// <summary>Threads of a group in pointwise kernels; every other group size is a multiple of <see cref="Warp"/> up to <see cref="MaxGroup"/>.</summary>
    public abstract int PreferredGroup { get; }

    /// <summary>Largest group.</summary>
    public abstract int MaxGroup { get; }

    /// <summary>Threads of a warp.</summary>
    public abstract int Warp { get; }

    /// <summary>Groups that fill the device several times over; walking kernels never start more.</summary>
    public abstract int ManyGroups { get; }

    /// <summary>Side of the square of threads of the plain matrix product.</summary>
    public abstract int GemmSide { get; }

    /// <summary>What happens to queued work.</summary>
    public QueueMode Mode { get; set; }

    /// <summary>Set by uploads and downloads: work that needs the host in between cannot be recorded.</summary>
    public bool HostTouched { get; set; }

    /// <summary>Takes memory aligned to 256 bytes.</summary>
    public abstract nint Allocate(long bytes);

    /// <summary>Gives memory back once queued work no longer uses it.</summary>
    public abstract void Free(nint address);

    /// <summary>Queues a copy from the host; the source may change as soon as this returns.</summary>
    public abstract void Upload(ReadOnlySpan<byte> source, nint destination);

    /// <summary>Copies to the host after all queued work.</summary>
    public abstract void Download(nint source, Span<byte> destination);

    /// <summary>Queues a copy inside the device.</summary>
    public abstract void Copy(nint source, nint destination, long bytes);

    /// <summary>Queues setting bytes to zero.</summary>
    public abstract void Zero(nint address, long bytes);

    /// <summary>Runs <paramref name="body"/> while queued work is kept instead of run.</summary>
    public abstract RecordedLaunches Record(Action body);

    /// <summary>Runs <paramref name="body"/> in a mode and returns to the one before.</summary>
    public void In(QueueMode mode, Action body)
    {
        QueueMode before = Mode;
        Mode = mode;
        try
        {
            body();
        }
        finally
        {
            Mode = before;
        }
    }

    /// <summary>Notes that the host takes part, which recorded work must not need.</summary>
    protected void TouchHost(string what)
    {
        HostTouched = true;
        if (Mode == QueueMode.Record) throw new InvalidOperationException($"Recorded work may not {what}.");
    }

    /// <summary>Waits for all queued work.</summary>
    public abstract void Synchronize();

    /// <summary>Compiles a kernel: a static method with one struct parameter.</summary>
    public abstract CompiledKernel<TArgs> Compile<TArgs>(MethodInfo method)
        where TArgs : unmanaged;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>A kernel that is ready to run on one device.</summary>
internal abstract class CompiledKernel<TArgs>
    where TArgs : unmanaged
{
    /// <summary>Largest group that the kernel's registers allow.</summary>
    public virtual int MaxGroup => 1024;

    /// <summary>Queues a launch; the arguments are copied before this returns.</summary>
    public abstract void Launch(int gridX, int gridY, int group, in TArgs args);
}

/// <summary>Launches, copies and clears that were kept for replays.</summary>
internal abstract class RecordedLaunches : IDisposable
{
    /// <summary>Queues them.</summary>
    public abstract void Launch();

    /// <inheritdoc/>
    public abstract void Dispose();
}
