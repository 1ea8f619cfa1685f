using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Cuda.Ptx.Gemm;
using LoraNet.Tensors;

namespace LoraNet.Cuda.Runtime;

/// <summary>The kernels written as PTX text (tensor cores, few-row products, flash attention) on one card. They take the common cases;
/// what they leave is for the plain C# kernels.</summary>
internal sealed class GeneratedKernels(CudaRuntime runtime)
{
    private readonly PtxModuleCache _cache = new(runtime.Device);
    private GemmRunner? _products;
    private AttentionRunner? _attention;

    /// <summary>Memory for partial sums that products may split into.</summary>
    public const long WorkspaceBytes = 32 << 20;

    public PtxArch Arch => _cache.Device.Arch;

    /// <summary>Waits for compilations before the card's context goes.</summary>
    public void Finish() => _cache.Finish();

    /// <summary>Launches a product.</summary>
    public void Multiply(in Ptx.Gemm.GemmArgs args, nint workspace)
    {
        _products ??= new GemmRunner(_cache);
        if (runtime.Mode == QueueMode.Rehearse)
        {
            _ = _cache.Prefetch(_products.Kernels(args, WorkspaceBytes));
            return;
        }
        runtime.Bind();
        _products.Run(args, runtime.Stream, (ulong)workspace, WorkspaceBytes);
    }

    /// <summary>Launches several products of the same A at once; false, with nothing done, when no kernel takes them together.</summary>
    public bool TryMultiplyTogether(ReadOnlySpan<Ptx.Gemm.GemmArgs> parts)
    {
        _products ??= new GemmRunner(_cache);
        if (_products.Together(parts, WorkspaceBytes) is not { } kernel) return false;
        if (runtime.Mode == QueueMode.Rehearse)
        {
            _ = _cache.Prefetch(kernel);
            return true;
        }
        runtime.Bind();
        _products.Run(parts, kernel, runtime.Stream);
        return true;
    }

    /// <summary>Launches one pass of attention.</summary>
    public void Attend(IKernelSpec kernel, in Ptx.Attention.AttentionArgs args, nint tiles, int count)
    {
        if (runtime.Mode == QueueMode.Rehearse)
        {
            _ = _cache.Prefetch(kernel);
            return;
        }
        runtime.Bind();
        (_attention ??= new AttentionRunner(_cache)).Run(kernel, args, (ulong)tiles, count, runtime.Stream);
    }

    public static PtxType Type(DType dtype) => dtype switch
    {
        DType.BF16 => PtxType.BF16,
        DType.F16 => PtxType.F16,
        DType.F32 => PtxType.F32,
        _ => throw new ArgumentException($"No GPU kernel computes with {dtype}."),
    };
}
