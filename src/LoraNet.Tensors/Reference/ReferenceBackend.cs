namespace LoraNet.Tensors.Reference;

/// <summary>
/// The executable specification of the kernel contract: every operation is plain scalar loops. Operands are read to
/// double, all arithmetic is in double, and each output element is rounded once to its type. All inputs are read before
/// any output is written, so aliasing never matters. Slow on purpose; meant for tests, and with F64 for finite differences.
/// </summary>
public sealed partial class ReferenceBackend : HostBackend
{
    /// <summary>Creates the backend.</summary>
    /// <param name="computeType">Element type of activations: F32, BF16 or F16 to check another backend's rounding, F64 for finite differences.</param>
    public ReferenceBackend(DType computeType = DType.F32)
    {
        if (!computeType.IsFloat()) throw new ArgumentOutOfRangeException(nameof(computeType), computeType, "not a floating-point type");
        ComputeType = computeType;
    }

    /// <inheritdoc/>
    public override string Name => $"Reference (scalar double, {ComputeType})";

    /// <inheritdoc/>
    public override DType ComputeType { get; }

    /// <inheritdoc/>
    public override unsafe void Zero(Tensor x) => System.Runtime.InteropServices.NativeMemory.Clear((void*)x.Address, (nuint)x.Bytes);
}
