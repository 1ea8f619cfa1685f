using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using LoraNet.Tensors.Operators;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// The kernel contract on the processor: hardware vectors of 512, 256 or 128 bits, an own pool of threads, binary32 arithmetic.
/// Frozen weights stay in their stored type, packed once for both directions. Results do not depend on the number of threads.
/// Operations may be called from several threads at once.
/// </summary>
public sealed unsafe partial class CpuBackend : HostBackend
{
    private readonly CpuKernels _kernels;
    private readonly WorkerPool _pool;
    private readonly string _name;

    /// <summary>Creates the backend and its threads.</summary>
    /// <param name="options">Settings, or null for the defaults.</param>
    /// <exception cref="LoraNetException">A setting makes no sense.</exception>
    public CpuBackend(CpuBackendOptions? options = null)
    {
        options ??= new CpuBackendOptions();
        if (options.Threads is < 0 or > 4096) throw new LoraNetException($"{options.Threads} threads were asked for.", "Use 0 for all cores, or a number from 1 to 4096.");
        if (options.SpinMicroseconds < 0) throw new LoraNetException($"A spin of {options.SpinMicroseconds} microseconds was asked for.", "Use 0 or more.");
        int bits = options.VectorBits;
        if (bits == 0) bits = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
        LowMemory = options.LowMemory;
        // Environment.ProcessorCount respects affinity and container limits.
        Threads = options.Threads == 0 ? Environment.ProcessorCount : options.Threads;
        _name = $"CPU ({RuntimeInformation.ProcessArchitecture}, {bits}-bit vectors, {Threads} thread{(Threads == 1 ? "" : "s")})";
        _pool = new WorkerPool(Threads, options.SpinMicroseconds);
        _kernels = bits switch
        {
            512 => new SimdKernels<Simd512, Vector512<float>>(_pool),
            256 => new SimdKernels<Simd256, Vector256<float>>(_pool),
            128 => new SimdKernels<Simd128, Vector128<float>>(_pool),
            _ => throw new LoraNetException($"Vectors of {bits} bits were asked for.", "Use 512, 256 or 128, or 0 for the widest that is fast."),
        };
    }

    /// <inheritdoc/>
    public override string Name => _name;

    /// <inheritdoc/>
    public override DType ComputeType => DType.F32;

    /// <summary>Threads that compute, the caller's included.</summary>
    public int Threads { get; }

    /// <summary>True when weights are read from the mapped files instead of packed copies.</summary>
    public bool LowMemory { get; }

    /// <summary>Samples what this machine can do at best with this backend's threads and vectors; takes some 100 ms and 192 MB.</summary>
    public Profiling.MachineLimits MeasureLimits() => new(_kernels.MultiplyAddRate() / 1e9, _kernels.CopyRate() / 1e9);

    /// <summary>For tests: 0 makes the backward of attention compute its scores in both passes, as it does for long sequences.</summary>
    internal long KeptSlopes
    {
        get => _kernels.KeptSlopes;
        set => _kernels.KeptSlopes = value;
    }

    /// <inheritdoc/>
    public override void Zero(Tensor x) => NativeMemory.Clear((void*)x.Address, (nuint)x.Bytes);

    /// <inheritdoc/>
    public override void Dispose()
    {
        _pool.Dispose();
        base.Dispose();
    }

    /// <summary>The elements as binary32: where they are, or converted into working memory.</summary>
    private static float* Read(Tensor tensor, Use use)
    {
        if (tensor.DType == DType.F32) return (float*)tensor.Address;
        float* copy = ThreadScratch.Floats(use, tensor.Count);
        for (long done = 0; done < tensor.Count;)
        {
            int part = (int)Math.Min(1 << 20, tensor.Count - done);
            HostConvert.ToSingle((byte*)tensor.Address + done * tensor.DType.Size(), tensor.DType, new Span<float>(copy + done, part));
            done += part;
        }
        return copy;
    }

    private static float* ReadOptional(Tensor? tensor, Use use) => tensor is null ? null : Read(tensor, use);

    /// <summary>Where to write binary32 elements of the tensor; <see cref="Finish"/> rounds them to another type. With
    /// <paramref name="load"/> the old elements are there.</summary>
    private static float* Write(Tensor tensor, Use use, bool load = false)
    {
        if (tensor.DType == DType.F32) return (float*)tensor.Address;
        return load ? Read(tensor, use) : ThreadScratch.Floats(use, tensor.Count);
    }

    private static void Finish(Tensor tensor, float* values)
    {
        if (tensor.DType == DType.F32) return;
        for (long done = 0; done < tensor.Count;)
        {
            int part = (int)Math.Min(1 << 20, tensor.Count - done);
            HostConvert.FromSingle(new ReadOnlySpan<float>(values + done, part), tensor.DType, (byte*)tensor.Address + done * tensor.DType.Size());
            done += part;
        }
    }

    private static int* Indices(Tensor tensor)
    {
        if (tensor.DType != DType.I32) throw new ArgumentException($"An I32 tensor was expected, not {tensor.DType}.");
        return (int*)tensor.Address;
    }
}
