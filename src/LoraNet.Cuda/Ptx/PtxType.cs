namespace LoraNet.Cuda.Ptx;

/// <summary>Element types that the kernels read and write.</summary>
internal enum PtxType
{
    /// <summary>32-bit float.</summary>
    F32,

    /// <summary>bfloat16: the upper half of a 32-bit float.</summary>
    BF16,

    /// <summary>IEEE half.</summary>
    F16,
}

/// <summary>Facts about a <see cref="PtxType"/>.</summary>
internal static class PtxTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Bytes(this PtxType type) => type == PtxType.F32 ? 4 : 2;

    /// <summary>The type's name inside an mma instruction.</summary>
    public static string Name(this PtxType type) => type switch { PtxType.BF16 => "bf16", PtxType.F16 => "f16", _ => "f32" };
}
