namespace LoraNet.Cuda.Ptx;

/// <summary>The targets that kernels are written for.</summary>
internal enum PtxArch
{
    /// <summary>Turing (T4): fp16 tensor cores, no bf16, no asynchronous copies.</summary>
    Sm75,

    /// <summary>Ampere (A100).</summary>
    Sm80,

    /// <summary>Ampere (A10, RTX 30).</summary>
    Sm86,

    /// <summary>Ada (L4, RTX 40).</summary>
    Sm89,

    /// <summary>Hopper (H100, H200) with warpgroup instructions and the tensor copy engine.</summary>
    Sm90a,
}

/// <summary>Facts about a <see cref="PtxArch"/> (CUDA programming guide, technical specifications per compute capability).</summary>
internal static class PtxArchs
{
    /// <summary>The target for a compute capability; later cards run the portable sm_80 text, compiled by their driver.</summary>
    public static PtxArch For(int major, int minor) => (major, minor) switch
    {
        (7, >= 5) => PtxArch.Sm75,
        (8, < 6) => PtxArch.Sm80,
        (8, < 9) => PtxArch.Sm86,
        (8, _) => PtxArch.Sm89,
        (9, 0) => PtxArch.Sm90a,
        ( > 9, _) => PtxArch.Sm80,
        _ => throw new NotSupportedException($"Compute capability {major}.{minor} is older than 7.5."),
    };

    /// <summary>The text after <c>.target</c>.</summary>
    public static string Target(this PtxArch arch) => arch switch
    {
        PtxArch.Sm75 => "sm_75",
        PtxArch.Sm80 => "sm_80",
        PtxArch.Sm86 => "sm_86",
        PtxArch.Sm89 => "sm_89",
        _ => "sm_90a",
    };

    /// <summary>The PTX language version: as low as the instructions allow, so that older drivers accept the text.</summary>
    public static string IsaVersion(this PtxArch arch) => arch == PtxArch.Sm90a ? "8.0" : "7.8";

    /// <summary>Most dynamic shared memory of one block, bytes.</summary>
    public static int SharedBytes(this PtxArch arch) => arch switch
    {
        PtxArch.Sm75 => 64 * 1024,
        PtxArch.Sm80 => 163 * 1024,
        PtxArch.Sm86 or PtxArch.Sm89 => 99 * 1024,
        _ => 227 * 1024,
    };

    /// <summary>Whether the tensor cores take bf16 and copies to shared memory may be asynchronous.</summary>
    public static bool IsAmpere(this PtxArch arch) => arch >= PtxArch.Sm80;
}
