namespace LoraNet.Cuda.Driver;

/// <summary>A captured sequence of launches that is replayed with one call. Buffers used inside must not move.</summary>
internal sealed class CudaGraph : IDisposable
{
    private nint _exec;

    private CudaGraph(nint exec) => _exec = exec;

    /// <summary>Runs <paramref name="body"/> while <paramref name="stream"/> (not the default stream) records, and instantiates the graph.</summary>
    public static CudaGraph Capture(nint stream, Action body)
    {
        // Mode 1 (thread local): other threads may go on loading modules and allocating while this one records.
        CudaError.Check(Native.cuStreamBeginCapture_v2(stream, 1), "cuStreamBeginCapture");
        nint graph;
        try
        {
            body();
        }
        finally
        {
            int end = Native.cuStreamEndCapture(stream, out graph);
            if (end != 0) graph = 0;
        }
        if (graph == 0) throw new InvalidOperationException("The launches could not be captured into a graph (a call inside synchronised or allocated).");
        try
        {
            CudaError.Check(Native.cuGraphInstantiateWithFlags(out nint exec, graph, 0), "cuGraphInstantiate");
            return new CudaGraph(exec);
        }
        finally
        {
            _ = Native.cuGraphDestroy(graph);
        }
    }

    /// <summary>Replays the graph on <paramref name="stream"/>.</summary>
    public void Launch(nint stream)
    {
        ObjectDisposedException.ThrowIf(_exec == 0, this);
        CudaError.Check(Native.cuGraphLaunch(_exec, stream), "cuGraphLaunch");
    }

    /// <summary>Frees the graph.</summary>
    public void Dispose()
    {
        if (_exec != 0) _ = Native.cuGraphExecDestroy(_exec);
        _exec = 0;
    }
}
