using System.Runtime.InteropServices;
using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <summary>
/// The kernel contract on NVIDIA GPUs. The memory-bound operations are C# kernels that ILGPU translates to PTX; only the
/// display driver is needed. All work is queued on one stream and the host waits only in
/// <see cref="DownloadBytes"/> and <see cref="Synchronize"/>. Results are the same bits in every run: sums have a fixed order and
/// no floating-point atomics are used. Not thread-safe: one loop uses a backend at a time.
/// </summary>
public sealed partial class CudaBackend : Backend
{
    private readonly DeviceRuntime _device;
    private readonly KernelSet _kernels;
    private readonly Dictionary<nint, long> _allocations = [];
    private readonly DType _computeType;
    private const long SmallBytes = 1 << 20;
    private readonly Dictionary<long, Stack<nint>> _small = [];
    private long _allocatedBytes, _peakBytes;
    private nint _scratch;
    private long _scratchBytes;
    private bool _disposed;

    private CudaBackend(DeviceRuntime device, DType computeType, bool tf32 = false)
    {
        _device = device;
        _computeType = computeType;
        _tf32 = tf32;
        _kernels = new KernelSet(device);
        _generated = device is CudaRuntime runtime ? new GeneratedKernels(runtime) : null;
        _normTable = new ChunkTable(this);
        _updateTable = new ChunkTable(this);
        _zeroTable = new ChunkTable(this);
    }

    /// <summary>Opens a card.</summary>
    /// <exception cref="LoraNetException">No driver, a driver or card too old, no such card, a type the card cannot compute with, or TF32 with another type than F32.
    /// Nothing falls back to the CPU by itself.</exception>
    public static CudaBackend Create(CudaBackendOptions? options = null)
    {
        options ??= new CudaBackendOptions();
        if (options.ComputeType is { } asked) CheckComputeType(asked);
        if (options.Tf32 && options.ComputeType is not (null or DType.F32))
            throw new LoraNetException($"TF32 is a way to multiply F32 matrices; the compute type is {options.ComputeType}.", "Leave TF32 out, or compute in F32.");
        ArgumentOutOfRangeException.ThrowIfNegative(options.DeviceIndex);
        CudaRuntime runtime = new(options.DeviceIndex);
        runtime.Device.ForcedArch = options.ForcedArch;
        if (options.Tf32 && !runtime.Device.Arch.IsAmpere())
        {
            string card = $"{runtime.Device.Name} has compute capability {runtime.Device.Major}.{runtime.Device.Minor}";
            runtime.Dispose();
            throw new LoraNetException($"{card}; TF32 needs 8.0 (Ampere, for example an A100) or newer.", "Leave TF32 out: F32 runs without tensor cores, F16 on them.");
        }
        DType computeType = options.ComputeType ?? (options.Tf32 ? DType.F32 : runtime.Device.Major >= 8 ? DType.BF16 : DType.F16);
        return new CudaBackend(runtime, computeType, options.Tf32);
    }

    /// <summary>Runs the C# kernels on ILGPU's CPU accelerator, very slowly: for tests on machines without a GPU.</summary>
    /// <param name="computeType">Element type of activations: F32, BF16 or F16.</param>
    public static CudaBackend CreateOnCpuAccelerator(DType computeType = DType.F32)
    {
        CheckComputeType(computeType);
        return new CudaBackend(new CpuRuntime(), computeType);
    }

    /// <summary>The cards that the driver shows, including ones too old to use; empty without a driver. Never throws.</summary>
    public static unsafe IReadOnlyList<CudaDeviceInfo> Devices()
    {
        List<CudaDeviceInfo> devices = [];
        try
        {
            if (!Native.TryLoad(out _) || Native.cuInit(0) != 0 || Native.cuDeviceGetCount(out int count) != 0) return devices;
            byte* name = stackalloc byte[256];
            for (int i = 0; i < count; i++)
            {
                if (Native.cuDeviceGet(out int device, i) != 0 || Native.cuDeviceGetName(name, 256, device) != 0) continue;
                if (Native.cuDeviceTotalMem_v2(out nuint bytes, device) != 0) continue;
                if (Native.cuDeviceGetAttribute(out int major, 75, device) != 0 || Native.cuDeviceGetAttribute(out int minor, 76, device) != 0) continue;
                devices.Add(new CudaDeviceInfo(i, Marshal.PtrToStringUTF8((nint)name) ?? "", (long)bytes, major, minor));
            }
        }
        catch (EntryPointNotFoundException)
        {
            // A library of that name that is not the driver shows no cards.
        }
        return devices;
    }

    /// <inheritdoc/>
    public override string Name => _device.Name;

    /// <inheritdoc/>
    public override bool IsHost => false;

    /// <inheritdoc/>
    public override DType ComputeType => _computeType;

    /// <inheritdoc/>
    public override long PeakBytes => _peakBytes;

    /// <inheritdoc/>
    public override long AvailableBytes => _device is CudaRuntime runtime ? runtime.FreeBytes + _allocatedBytes : base.AvailableBytes;

    /// <inheritdoc/>
    public override nint AllocateMemory(long bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        bytes = Math.Max(bytes, 1);
        nint address = 0;
        lock (_allocations)
        {
            if (_small.TryGetValue(Pooled(bytes), out Stack<nint>? free) && free.Count > 0) address = free.Pop();
        }
        if (address == 0) address = _device.Allocate(Pooled(bytes));
        lock (_allocations)
        {
            _allocations.Add(address, bytes);
            _allocatedBytes += bytes;
            _peakBytes = Math.Max(_peakBytes, _allocatedBytes);
        }
        return address;
    }

    /// <inheritdoc/>
    public override void FreeMemory(nint address)
    {
        lock (_allocations)
        {
            // After Dispose everything is already given back.
            if (!_allocations.Remove(address, out long bytes)) return;
            _allocatedBytes -= bytes;
            DropCopies(address, bytes);
            if (bytes <= SmallBytes)
            {
                // Freeing on the device waits for it; small blocks (a batch's ids and positions) are kept instead. Stream order
                // makes their next use come after the last one.
                if (!_small.TryGetValue(Pooled(bytes), out Stack<nint>? free)) _small[Pooled(bytes)] = free = new Stack<nint>();
                free.Push(address);
                return;
            }
        }
        _device.Free(address);
    }

    // Small blocks come in powers of two, so that they fit each other's place.
    private static long Pooled(long bytes) => bytes <= SmallBytes ? (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)Math.Max(bytes, 256)) : bytes;

    /// <inheritdoc/>
    public override void UploadBytes(ReadOnlySpan<byte> source, Tensor destination)
    {
        if (source.Length != destination.Bytes) throw new ArgumentException($"{source.Length} bytes for {destination.ShapeText} of {destination.DType}.");
        if (source.Length == 0) return;
        _device.Upload(source, destination.Address);
        RefreshCopy(destination.Address);
    }

    /// <inheritdoc/>
    public override void DownloadBytes(Tensor source, Span<byte> destination)
    {
        if (destination.Length != source.Bytes) throw new ArgumentException($"{source.ShapeText} of {source.DType} into {destination.Length} bytes.");
        _device.Download(source.Address, destination);
    }

    /// <summary>Starts timing every kernel launched by any backend of this process, until <see cref="StopProfile"/>; real cards only.</summary>
    public void StartProfile() => LaunchProfile.Current = _device is CudaRuntime runtime ? new LaunchProfile(runtime.Stream) : null;

    /// <summary>Ends the timing; kernels by total time, the longest first.</summary>
    public IReadOnlyList<KernelTime> StopProfile()
    {
        LaunchProfile? profile = LaunchProfile.Current;
        LaunchProfile.Current = null;
        return profile?.Finish() ?? [];
    }

    /// <inheritdoc/>
    public override void Synchronize() => _device.Synchronize();

    /// <inheritdoc/>
    public override void Zero(Tensor x)
    {
        if (x.Bytes == 0) return;
        _device.Zero(x.Address, x.Bytes);
        RefreshCopy(x.Address);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _generated?.Finish();
        _device.Synchronize();
        foreach (nint address in _allocations.Keys) _device.Free(address);
        foreach (nint address in _small.Values.SelectMany(static s => s)) _device.Free(address);
        _allocations.Clear();
        _small.Clear();
        _device.Dispose();
    }

    /// <summary>Memory for partial results of one operation; the next operation may overwrite it, which stream order makes safe.</summary>
    private nint Scratch(long bytes)
    {
        if (bytes <= _scratchBytes) return _scratch;
        if (_scratch != 0)
        {
            if (IsRecording) throw new InvalidOperationException("Recorded work needs more scratch memory than its rehearsal.");
            FreeMemory(_scratch);
            _scratchMoves++;
        }
        _scratchBytes = Math.Max(bytes, 1 << 20);
        _scratch = 0;
        return _scratch = AllocateMemory(_scratchBytes);
    }

    private static void CheckComputeType(DType type)
    {
        if (type is not (DType.F32 or DType.BF16 or DType.F16))
            throw new LoraNetException($"{type} is not a compute type of the GPU.", "Choose BF16, F16 or F32.");
    }
}
