using System.Runtime.InteropServices;
using System.Text;

namespace LoraNet.Cuda.Driver;

/// <summary>What the kernels need to know of one card, and the driver context that is current for it.</summary>
internal sealed record CudaDevice
{
    // Ids from the CUdevice_attribute table of the driver API manual.
    private const int AttributeMultiprocessors = 16, AttributeMajor = 75, AttributeMinor = 76, AttributeSharedOptIn = 97, AttributeL2 = 38;

    /// <summary>The card's ordinal among the driver's devices.</summary>
    public required int Ordinal { get; init; }

    /// <summary>The card's name, as the driver gives it.</summary>
    public required string Name { get; init; }

    /// <summary>Compute capability, major part.</summary>
    public required int Major { get; init; }

    /// <summary>Compute capability, minor part.</summary>
    public required int Minor { get; init; }

    /// <summary>Number of multiprocessors.</summary>
    public required int Multiprocessors { get; init; }

    /// <summary>Most dynamic shared memory of one block, bytes.</summary>
    public required int SharedBytesPerBlock { get; init; }

    /// <summary>Size of the level-2 cache, bytes.</summary>
    public required int L2Bytes { get; init; }

    /// <summary>Device memory, bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>The driver's CUDA version as 1000*major + 10*minor (12040 = 12.4).</summary>
    public required int DriverVersion { get; init; }

    /// <summary>The driver context in which modules are loaded and kernels are launched.</summary>
    public required nint Context { get; init; }

    /// <summary>The PTX target that this card's kernels are written for: its own, unless an older one is forced for a check.</summary>
    public Ptx.PtxArch Arch => ForcedArch ?? Ptx.PtxArchs.For(Major, Minor);

    /// <summary>Has kernels of an older card run on this one, so that they are checked where that card is missing.</summary>
    public Ptx.PtxArch? ForcedArch { get; set; }

    /// <summary>True when a driver is installed and shows at least one card that these kernels run on; never throws.</summary>
    public static bool IsAvailable(out string reason)
    {
        try
        {
            Initialise();
            CudaError.Check(Native.cuDeviceGetCount(out int count), "cuDeviceGetCount");
            reason = count > 0 ? "" : "the NVIDIA driver shows no GPU";
            return count > 0;
        }
        catch (Exception e) when (e is LoraNetException or InvalidOperationException or DllNotFoundException or EntryPointNotFoundException)
        {
            reason = e.Message;
            return false;
        }
    }

    /// <summary>Describes the card whose context is current on this thread (the one ILGPU's accelerator has bound).</summary>
    public static CudaDevice FromCurrentContext()
    {
        CheckDriver(Initialise());
        CudaError.Check(Native.cuCtxGetCurrent(out nint context), "cuCtxGetCurrent");
        if (context == 0) throw new InvalidOperationException("No GPU context is current on this thread.");
        CudaError.Check(Native.cuCtxGetDevice(out int device), "cuCtxGetDevice");
        return Describe(device, device, context);
    }

    /// <summary>Makes the primary context of card <paramref name="ordinal"/> current on this thread (tests and tools without ILGPU).</summary>
    public static CudaDevice OpenPrimary(int ordinal = 0)
    {
        CheckDriver(Initialise());
        CudaError.Check(Native.cuDeviceGetCount(out int count), "cuDeviceGetCount");
        if (ordinal >= count) throw new LoraNetException($"GPU {ordinal} was asked for, but the driver shows {count}.", "Choose a smaller device number.");
        CudaError.Check(Native.cuDeviceGet(out int device, ordinal), "cuDeviceGet");
        CudaError.Check(Native.cuDevicePrimaryCtxRetain(out nint context, device), "cuDevicePrimaryCtxRetain");
        CudaError.Check(Native.cuCtxSetCurrent(context), "cuCtxSetCurrent");
        return Describe(device, ordinal, context);
    }

    /// <summary>Makes this card's context current on the calling thread; needed once on every thread that loads modules.</summary>
    public void MakeCurrent() => CudaError.Check(Native.cuCtxSetCurrent(Context), "cuCtxSetCurrent");

    /// <summary>Free and total device memory, bytes.</summary>
    public static (long Free, long Total) MemoryInfo()
    {
        CudaError.Check(Native.cuMemGetInfo_v2(out nuint free, out nuint total), "cuMemGetInfo");
        return ((long)free, (long)total);
    }

    /// <summary>The error for a card or driver that cannot run these kernels, or null. Separate from the driver so that it can be tested.</summary>
    public static LoraNetException? Unsupported(string name, int major, int minor, int driverVersion)
    {
        if (major * 10 + minor < 75)
            return new($"{name} has compute capability {major}.{minor}; the GPU kernels need 7.5 (Turing, for example a T4) or newer.", "Run on the CPU (--device cpu) or on a newer card.");
        // PTX 7.8 came with CUDA 11.8 (driver 520), PTX 8.0 with wgmma with CUDA 12.0 (driver 525).
        (int need, string driver) = major == 9 && minor == 0 ? (12000, "525") : (11080, "520");
        return driverVersion < need
            ? new($"The NVIDIA driver supports CUDA {driverVersion / 1000}.{driverVersion % 1000 / 10}, but {name} needs {need / 1000}.{need % 1000 / 10}.", $"Install driver {driver} or newer; no CUDA toolkit is needed.")
            : null;
    }

    private static int Initialise()
    {
        if (!Native.TryLoad(out _))
            throw new LoraNetException("No NVIDIA driver was found (libcuda.so.1 or nvcuda.dll).", "Install the NVIDIA display driver, or run on the CPU (--device cpu).");
        int result = Native.cuInit(0);
        if (result != 0)
            throw new LoraNetException($"The NVIDIA driver could not be started: {CudaError.Describe(result)}.", "Check that nvidia-smi works, or run on the CPU (--device cpu).");
        CudaError.Check(Native.cuDriverGetVersion(out int version), "cuDriverGetVersion");
        return version;
    }

    private static void CheckDriver(int version)
    {
        if (version < 11080)
            throw new LoraNetException($"The NVIDIA driver supports CUDA {version / 1000}.{version % 1000 / 10}, but 11.8 is needed.", "Install driver 520 or newer; no CUDA toolkit is needed.");
    }

    private static unsafe CudaDevice Describe(int device, int ordinal, nint context)
    {
        int Get(int attribute)
        {
            CudaError.Check(Native.cuDeviceGetAttribute(out int value, attribute, device), "cuDeviceGetAttribute");
            return value;
        }

        byte* text = stackalloc byte[256];
        CudaError.Check(Native.cuDeviceGetName(text, 256, device), "cuDeviceGetName");
        CudaError.Check(Native.cuDeviceTotalMem_v2(out nuint bytes, device), "cuDeviceTotalMem");
        CudaError.Check(Native.cuDriverGetVersion(out int version), "cuDriverGetVersion");
        CudaDevice d = new()
        {
            Ordinal = ordinal,
            Name = Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text)),
            Major = Get(AttributeMajor),
            Minor = Get(AttributeMinor),
            Multiprocessors = Get(AttributeMultiprocessors),
            SharedBytesPerBlock = Get(AttributeSharedOptIn),
            L2Bytes = Get(AttributeL2),
            MemoryBytes = (long)bytes,
            DriverVersion = version,
            Context = context,
        };
        return Unsupported(d.Name, d.Major, d.Minor, version) is { } error ? throw error : d;
    }
}
