using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace LoraNet.Cli.Planning;

/// <summary>Asks the display driver which GPUs there are, through a few functions of its library (CUDA driver API, cuInit to cuDeviceTotalMem).</summary>
internal static unsafe class NvidiaDriver
{
    private const int MajorAttribute = 75, MinorAttribute = 76;

    /// <summary>One GPU.</summary>
    public sealed record Gpu(int Index, string Name, long Bytes, string Capability);

    /// <summary>The GPUs; <paramref name="driver"/> says what was found.</summary>
    public static IReadOnlyList<Gpu> Gpus(out string driver)
    {
        nint library = 0;
        if (!(OperatingSystem.IsWindows() ? NativeLibrary.TryLoad("nvcuda.dll", out library) : NativeLibrary.TryLoad("libcuda.so.1", out library)))
        {
            driver = "none found";
            return [];
        }
        try
        {
            var init = (delegate* unmanaged<uint, int>)NativeLibrary.GetExport(library, "cuInit");
            var version = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(library, "cuDriverGetVersion");
            int error = init(0), number = 0;
            if (error != 0)
            {
                driver = $"present, but it reports error {error} (no device, or no permission)";
                return [];
            }
            version(&number);
            driver = string.Create(CultureInfo.InvariantCulture, $"CUDA {number / 1000}.{number % 1000 / 10}");
            return Read(library);
        }
        catch (EntryPointNotFoundException)
        {
            driver = "present, but its library lacks the CUDA driver functions";
            return [];
        }
    }

    private static List<Gpu> Read(nint library)
    {
        var count = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(library, "cuDeviceGetCount");
        var get = (delegate* unmanaged<int*, int, int>)NativeLibrary.GetExport(library, "cuDeviceGet");
        var getName = (delegate* unmanaged<byte*, int, int, int>)NativeLibrary.GetExport(library, "cuDeviceGetName");
        var memory = (delegate* unmanaged<nuint*, int, int>)NativeLibrary.GetExport(library, "cuDeviceTotalMem_v2");
        var attribute = (delegate* unmanaged<int*, int, int, int>)NativeLibrary.GetExport(library, "cuDeviceGetAttribute");
        List<Gpu> gpus = [];
        int devices = 0;
        if (count(&devices) != 0) return gpus;
        byte[] name = new byte[256];
        for (int i = 0; i < devices; i++)
        {
            int device, major = 0, minor = 0;
            nuint bytes = 0;
            if (get(&device, i) != 0) continue;
            fixed (byte* p = name) getName(p, name.Length, device);
            memory(&bytes, device);
            attribute(&major, MajorAttribute, device);
            attribute(&minor, MinorAttribute, device);
            gpus.Add(new Gpu(i, Encoding.UTF8.GetString(name).TrimEnd('\0').Split('\0')[0], (long)bytes, $"{major}.{minor}"));
        }
        return gpus;
    }
}
