using System.Reflection;
using LoraNet.Cuda.Kernels;
using LoraNet.Tensors;

namespace LoraNet.Cuda.Runtime;

/// <summary>The specialisations of one generic kernel, each compiled when first used and found again by array index.</summary>
internal sealed class KernelFamily<TArgs>
    where TArgs : unmanaged
{
    private readonly DeviceRuntime _runtime;
    private readonly MethodInfo _method;
    private readonly CompiledKernel<TArgs>?[] _compiled;

    /// <summary>Wraps the kernel that <paramref name="example"/> (with any type arguments) points to.</summary>
    public KernelFamily(DeviceRuntime runtime, Action<TArgs> example)
    {
        _runtime = runtime;
        _method = example.Method.IsGenericMethod ? example.Method.GetGenericMethodDefinition() : example.Method;
        Type[] parameters = _method.IsGenericMethodDefinition ? _method.GetGenericArguments() : [];
        HasTypes = parameters.Length > 0;
        HasActivation = HasTypes && parameters[0].GetGenericParameterConstraints().Contains(typeof(IActivation));
        _compiled = new CompiledKernel<TArgs>?[!HasTypes ? 1 : HasActivation ? 512 : 64];
    }

    /// <summary>True when the kernel is generic.</summary>
    public bool HasTypes { get; }

    /// <summary>True when the first type parameter is a non-linearity.</summary>
    public bool HasActivation { get; }

    /// <summary>The kernel of an operation without type parameters.</summary>
    public CompiledKernel<TArgs> Get() => _compiled[0] ?? Compile(0, []);

    /// <summary>The specialisation for these element types.</summary>
    public CompiledKernel<TArgs> Get(DType a, DType b = DType.F32, DType c = DType.F32)
    {
        int index = StorageTypes.Kind(a) | StorageTypes.Kind(b) << 2 | StorageTypes.Kind(c) << 4;
        return _compiled[index] ?? Compile(index, [StorageTypes.Of(a), StorageTypes.Of(b), StorageTypes.Of(c)]);
    }

    /// <summary>The specialisation for a non-linearity and these element types.</summary>
    public CompiledKernel<TArgs> Get(Activation f, DType a, DType b, DType c = DType.F32)
    {
        int index = StorageTypes.Kind(a) | StorageTypes.Kind(b) << 2 | StorageTypes.Kind(c) << 4 | (int)f << 6;
        return _compiled[index] ?? Compile(index, [StorageTypes.Of(f), StorageTypes.Of(a), StorageTypes.Of(b), StorageTypes.Of(c)]);
    }

    private CompiledKernel<TArgs> Compile(int index, Type[] types)
    {
        int count = _method.IsGenericMethodDefinition ? _method.GetGenericArguments().Length : 0;
        MethodInfo closed = count == 0 ? _method : _method.MakeGenericMethod(types[..count]);
        return _compiled[index] = _runtime.Compile<TArgs>(closed);
    }
}

/// <summary>Maps run-time types to the kernels' type arguments.</summary>
internal static class StorageTypes
{
    /// <summary>The kernels' number of an element type.</summary>
    public static int Kind(DType dtype) => dtype switch
    {
        DType.F32 => Stored.F32,
        DType.BF16 => Stored.BF16,
        DType.F16 => Stored.F16,
        _ => throw new ArgumentException($"The GPU computes with F32, BF16 and F16, not {dtype}."),
    };

    public static Type Of(DType dtype) => Kind(dtype) switch
    {
        Stored.F32 => typeof(StoredF32),
        Stored.BF16 => typeof(StoredBF16),
        _ => typeof(StoredF16),
    };

    public static Type Of(Activation activation) => activation switch
    {
        Activation.Silu => typeof(SiluActivation),
        Activation.Gelu => typeof(GeluActivation),
        Activation.GeluTanh => typeof(GeluTanhActivation),
        Activation.Relu => typeof(ReluActivation),
        Activation.Tanh => typeof(TanhActivation),
        _ => throw new ArgumentOutOfRangeException(nameof(activation)),
    };
}
