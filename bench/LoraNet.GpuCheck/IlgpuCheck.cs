using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Gemm;
using CudaDevice = LoraNet.Cuda.Driver.CudaDevice;

namespace LoraNet.GpuCheck;

/// <summary>Generated kernels on ILGPU's context, buffers and stream, with background compilation: what the backend does.</summary>
internal static class IlgpuCheck
{
    public static void Run()
    {
        using Context context = Context.Create(b => b.Cuda());
        using CudaAccelerator accelerator = context.CreateCudaAccelerator(0);
        accelerator.Bind();
        CudaDevice device = CudaDevice.FromCurrentContext();
        PtxModuleCache cache = new(device);
        GemmRunner runner = new(cache);
        const int M = 300, N = 200, K = 520;
        float[] a = Host.Normal(M * K, 1), b = Host.Normal(N * K, 2);
        using MemoryBuffer1D<byte, Stride1D.Dense> da = accelerator.Allocate1D(Host.Encode(a, PtxType.BF16)), db = accelerator.Allocate1D(Host.Encode(b, PtxType.BF16));
        using MemoryBuffer1D<float, Stride1D.Dense> dc = accelerator.Allocate1D<float>(M * N);
        using MemoryBuffer1D<float, Stride1D.Dense> workspace = accelerator.Allocate1D<float>(4 << 20);
        GemmArgs args = new()
        {
            Layout = GemmLayout.NT,
            M = M,
            N = N,
            K = K,
            In = PtxType.BF16,
            Out = PtxType.F32,
            A = (ulong)da.NativePtr,
            Lda = K,
            B = (ulong)db.NativePtr,
            Ldb = K,
            C = (ulong)dc.NativePtr,
            Ldc = N,
        };
        cache.Prefetch(runner.Kernels(args, workspace.LengthInBytes)).Wait();
        runner.Run(args, ((CudaStream)accelerator.DefaultStream).StreamPtr, (ulong)workspace.NativePtr, workspace.LengthInBytes);
        accelerator.DefaultStream.Synchronize();
        float[] y = dc.GetAsArray1D();
        double e = 0, n = 0;
        for (int i = 0; i < M * N; i++)
        {
            double r = 0;
            for (int k = 0; k < K; k++) r += (double)a[i / N * K + k] * b[i % N * K + k];
            e += (y[i] - r) * (y[i] - r);
            n += r * r;
        }
        e = Math.Sqrt(e / n);
        GpuRun.Report("product on ILGPU's context, buffers and stream", e < 2e-5, $"err {e:E2}; free memory {CudaDevice.MemoryInfo().Free >> 20} MiB");
    }
}
