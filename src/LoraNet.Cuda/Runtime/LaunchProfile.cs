using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Runtime;

/// <summary>Times every kernel between two events while it is on; costs two events a launch.</summary>
internal sealed class LaunchProfile(nint stream)
{
    private readonly List<(string Name, nint Start, nint End)> _launches = [];

    /// <summary>The profile of the running measurement, or null.</summary>
    public static LaunchProfile? Current { get; set; }

    /// <summary>Marks the start of a launch.</summary>
    public void Begin(string name)
    {
        CudaError.Check(Native.cuEventCreate(out nint start, 0), "cuEventCreate");
        CudaError.Check(Native.cuEventCreate(out nint end, 0), "cuEventCreate");
        CudaError.Check(Native.cuEventRecord(start, stream), "cuEventRecord");
        _launches.Add((name, start, end));
    }

    /// <summary>Marks the end of the launch begun last.</summary>
    public void End() => CudaError.Check(Native.cuEventRecord(_launches[^1].End, stream), "cuEventRecord");

    /// <summary>Waits and sums by name, the longest first.</summary>
    public IReadOnlyList<KernelTime> Finish()
    {
        CudaError.Check(Native.cuStreamSynchronize(stream), "a queued kernel or copy");
        Dictionary<string, KernelTime> sums = [];
        foreach ((string name, nint start, nint end) in _launches)
        {
            CudaError.Check(Native.cuEventElapsedTime(out float milliseconds, start, end), "cuEventElapsedTime");
            KernelTime before = sums.GetValueOrDefault(name, new KernelTime(name, 0, 0));
            sums[name] = before with { Launches = before.Launches + 1, Milliseconds = before.Milliseconds + milliseconds };
            _ = Native.cuEventDestroy_v2(start);
            _ = Native.cuEventDestroy_v2(end);
        }
        return [.. sums.Values.OrderByDescending(static k => k.Milliseconds)];
    }
}
