using System.Runtime.InteropServices;

namespace LoraNet.Cuda.Driver;

/// <summary>Page-locked host memory and copies queued on a stream.</summary>
internal static unsafe partial class Native
{
    [LibraryImport(Library)] public static partial int cuMemAllocHost_v2(out nint pointer, nuint bytes);
    [LibraryImport(Library)] public static partial int cuMemFreeHost(nint pointer);
    [LibraryImport(Library)] public static partial int cuMemcpyHtoDAsync_v2(ulong destination, void* source, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuMemcpyDtoHAsync_v2(void* destination, ulong source, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuMemcpyDtoDAsync_v2(ulong destination, ulong source, nuint bytes, nint stream);
}
