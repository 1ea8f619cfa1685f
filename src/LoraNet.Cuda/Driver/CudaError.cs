using System.Runtime.InteropServices;

namespace LoraNet.Cuda.Driver;

/// <summary>Turns a driver result code into an exception that names the call and the driver's own words.</summary>
internal static class CudaError
{
    private const int OutOfMemory = 2;

    /// <summary>Throws unless <paramref name="result"/> is 0. Out of memory is a <see cref="LoraNetException"/>: the user can act on it.</summary>
    public static void Check(int result, string call)
    {
        if (result == 0) return;
        string text = Describe(result);
        if (result == OutOfMemory)
            throw new LoraNetException($"The GPU has too little free memory for {call}.", "Use a smaller batch or sequence length, or close other programs on the GPU.");
        throw new InvalidOperationException($"{call} failed on the GPU: {text}");
    }

    /// <summary>The driver's name and sentence for a result code.</summary>
    public static string Describe(int result)
    {
        _ = Native.cuGetErrorName(result, out nint name);
        _ = Native.cuGetErrorString(result, out nint text);
        return $"{(name == 0 ? "error" : Marshal.PtrToStringAnsi(name))} ({result}){(text == 0 ? "" : ": " + Marshal.PtrToStringAnsi(text))}";
    }
}
