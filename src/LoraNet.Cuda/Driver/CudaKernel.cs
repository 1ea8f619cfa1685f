using System.Text;

namespace LoraNet.Cuda.Driver;

/// <summary>One loaded kernel and its fixed launch shape.</summary>
internal sealed unsafe class CudaKernel
{
    private readonly nint _function;
    private readonly string _name;

    private CudaKernel(nint function, string name, int threads, int sharedBytes)
    {
        _function = function;
        _name = name;
        Threads = threads;
        SharedBytes = sharedBytes;
    }

    /// <summary>Threads of a block.</summary>
    public int Threads { get; }

    /// <summary>Dynamic shared memory of a block, bytes.</summary>
    public int SharedBytes { get; }

    /// <summary>Compiles PTX text in the current context. A failure carries the driver compiler's own log.</summary>
    public static CudaKernel Load(string text, string entry, int threads, int sharedBytes)
    {
        byte[] image = Encoding.ASCII.GetBytes(text + '\0'), name = Encoding.ASCII.GetBytes(entry + '\0'), log = new byte[8192];
        fixed (byte* i = image, n = name, l = log)
        {
            int* options = stackalloc int[2] { 5, 6 }; // CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES
            void** values = stackalloc void*[2] { l, (void*)(nint)log.Length };
            int result = Native.cuModuleLoadDataEx(out nint module, i, 2, options, values);
            if (result != 0)
            {
                int length = Array.IndexOf(log, (byte)0);
                throw new InvalidOperationException($"The driver refused kernel {entry}: {CudaError.Describe(result)} {Encoding.ASCII.GetString(log, 0, Math.Max(0, length))}");
            }
            CudaError.Check(Native.cuModuleGetFunction(out nint function, module, n), $"cuModuleGetFunction({entry})");
            if (sharedBytes > 48 * 1024)
                CudaError.Check(Native.cuFuncSetAttribute(function, Native.FuncMaxDynamicSharedBytes, sharedBytes), $"cuFuncSetAttribute({entry}, {sharedBytes} bytes)");
            return new CudaKernel(function, entry, threads, sharedBytes);
        }
    }

    /// <summary>Launches the kernel; the arguments are copied before this returns.</summary>
    public void Launch(nint stream, long gridX, int gridY, ref KernelArgs args)
    {
        fixed (byte* data = args.Bytes)
        {
            void** pointers = stackalloc void*[args.Count];
            for (int i = 0; i < args.Count; i++) pointers[i] = data + args.OffsetOf(i);
            Runtime.LaunchProfile? profile = Runtime.LaunchProfile.Current;
            profile?.Begin(_name);
            CudaError.Check(Native.cuLaunchKernel(_function, checked((uint)gridX), (uint)gridY, 1, (uint)Threads, 1, 1, (uint)SharedBytes, stream, pointers, null), "cuLaunchKernel");
            profile?.End();
        }
    }
}
