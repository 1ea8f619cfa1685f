using LoraNet.Cuda;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;

namespace LoraNet.Paper.Running;

/// <summary>A process's device. Jobs share it, so that kernels are compiled once; a measurement of memory takes a fresh one.</summary>
internal sealed class BackendHolder(bool cuda) : IDisposable
{
    private Backend? _current;

    /// <summary>The device.</summary>
    public Backend Current => _current ??= cuda ? CudaBackend.Create() : new CpuBackend();

    /// <summary>Closes the device and opens it again.</summary>
    public Backend Renew()
    {
        Dispose();
        return Current;
    }

    public void Dispose()
    {
        _current?.Dispose();
        _current = null;
    }
}
