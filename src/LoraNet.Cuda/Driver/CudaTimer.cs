namespace LoraNet.Cuda.Driver;

/// <summary>Times device work between two events on a stream.</summary>
internal sealed class CudaTimer : IDisposable
{
    private readonly nint _start, _end;

    /// <summary>Creates the two events.</summary>
    public CudaTimer()
    {
        CudaError.Check(Native.cuEventCreate(out _start, 0), "cuEventCreate");
        CudaError.Check(Native.cuEventCreate(out _end, 0), "cuEventCreate");
    }

    /// <summary>Marks the start.</summary>
    public void Start(nint stream) => CudaError.Check(Native.cuEventRecord(_start, stream), "cuEventRecord");

    /// <summary>Marks the end, waits for it and returns the milliseconds in between.</summary>
    public float Stop(nint stream)
    {
        CudaError.Check(Native.cuEventRecord(_end, stream), "cuEventRecord");
        CudaError.Check(Native.cuEventSynchronize(_end), "cuEventSynchronize");
        CudaError.Check(Native.cuEventElapsedTime(out float ms, _start, _end), "cuEventElapsedTime");
        return ms;
    }

    /// <summary>Frees the events.</summary>
    public void Dispose()
    {
        _ = Native.cuEventDestroy_v2(_start);
        _ = Native.cuEventDestroy_v2(_end);
    }
}
