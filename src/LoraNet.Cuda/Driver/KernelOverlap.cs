using System.Text;

namespace LoraNet.Cuda.Driver;

/// <summary>
/// Programmatic dependent launch (CUDA programming guide; PTX ISA, griddepcontrol): a kernel may start while the one before it in the
/// stream still runs, and waits for that one's results itself. So the time between two kernels is spent on starting the next one, and a
/// kernel may fetch what nothing in the stream writes (weights) before it waits.
/// </summary>
internal static unsafe class KernelOverlap
{
    /// <summary>Lets the next kernel start as soon as every block of this one has.</summary>
    public const string Release = "griddepcontrol.launch_dependents;";

    /// <summary>Waits until all earlier kernels are complete and their results visible. Every kernel does, before it touches memory that a
    /// kernel may have written, so the order of the stream is kept. Memory that changes must not be read by <c>ld.global.nc</c> in such a kernel:
    /// those loads may be moved before the wait.</summary>
    public const string Wait = "griddepcontrol.wait;";

    [ThreadStatic]
    private static bool t_on;

    // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION.
    private const int AttributeId = 6;

    /// <summary>True where kernels may overlap: from Hopper on, with a driver that also records it into graphs (CUDA 12.3).</summary>
    public static bool Supported(int major, int driverVersion) => major >= 9 && driverVersion >= 12030;

    /// <summary>The text of a kernel made to overlap; one that waits where it wants stays as it is.</summary>
    public static string Add(string text)
    {
        if (text.Contains(Wait, StringComparison.Ordinal)) return text;
        int version = text.IndexOf(".version ", StringComparison.Ordinal), target = text.IndexOf(".target sm_", StringComparison.Ordinal);
        int entry = text.IndexOf(".entry ", StringComparison.Ordinal), body = entry < 0 ? -1 : text.IndexOf('{', entry);
        if (version < 0 || target < version || body < target) throw new InvalidOperationException("The text of a kernel has no version, target or body.");
        StringBuilder s = new(text, text.Length + 128);
        s.Insert(body + 1, $"\n\t{Release}\n\t{Wait}");
        if (!text.AsSpan(target).StartsWith(".target sm_90"))
        {
            s.Remove(target, LineEnd(target) - target).Insert(target, ".target sm_90");
            s.Remove(version, LineEnd(version) - version).Insert(version, ".version 8.0");
        }
        return s.Replace("ld.global.nc.", "ld.global.").ToString();

        int LineEnd(int from) => text.AsSpan(from).IndexOfAny('\r', '\n') is var length and >= 0 ? from + length : text.Length;
    }

    /// <summary>Runs <paramref name="body"/>, whose launches on this thread overlap if <paramref name="on"/>. Only for short kernels: long ones lose
    /// more by the next one's blocks waiting in their midst than they gain (docs/gpu-kernels.md).</summary>
    public static void While(bool on, Action body)
    {
        bool before = t_on;
        t_on = on;
        try
        {
            body();
        }
        finally
        {
            t_on = before;
        }
    }

    /// <summary>Queues a kernel; <paramref name="waits"/> when its text waits for earlier ones, so that it may overlap.</summary>
    public static int Launch(nint function, uint gridX, uint gridY, uint threads, uint sharedBytes, nint stream, void** parameters, bool waits)
    {
        if (!waits || !t_on) return Native.cuLaunchKernel(function, gridX, gridY, 1, threads, 1, 1, sharedBytes, stream, parameters, null);
        Native.LaunchAttribute attribute = new() { Id = AttributeId, Value = 1 };
        Native.LaunchConfig config = new()
        {
            GridX = gridX,
            GridY = gridY,
            GridZ = 1,
            BlockX = threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = sharedBytes,
            Stream = stream,
            Attributes = &attribute,
            AttributeCount = 1,
        };
        return Native.cuLaunchKernelEx(&config, function, parameters, null);
    }
}
