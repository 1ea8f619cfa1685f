namespace LoraNet.Tensors.Cpu;

/// <summary>
/// The form that the CPU backend reads of a frozen weight: panels of consecutive output features, [N / width][K][width], padded
/// with zeros, in the stored 2- or 4-byte type; or, with low memory, just the mapped original.
/// </summary>
internal sealed unsafe class PackedWeight(CpuBackend owner, nint address, DType type, bool panels)
{
    public CpuBackend Owner { get; } = owner;

    /// <summary>The panels, or the mapped elements.</summary>
    public nint Address { get; } = address;

    public DType Type { get; } = type;

    /// <summary>False when the elements are read where the file is mapped.</summary>
    public bool Panels { get; } = panels;
}
