using ILGPU;
using ILGPU.IR.Intrinsics;

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// Single instructions of the card that C# has no word for. The bodies here run on ILGPU's CPU accelerator;
/// <see cref="Runtime.HardwareCode"/> writes the instructions. Kernels in F32 use none of the approximate ones.
/// </summary>
internal static class Hardware
{
    /// <summary>2^x to about 2^-22; results below 2^-126 may become 0.</summary>
    [IntrinsicImplementation]
    public static float Exp2(float x) => MathF.Pow(2f, x);

    /// <summary>1 / x to one unit in the last place; subnormal numbers count as 0.</summary>
    [IntrinsicImplementation]
    public static float Reciprocal(float x) => 1f / x;

    /// <summary>Two numbers rounded to bfloat16, to nearest even; the first in the lower half. NaN stays NaN.</summary>
    [IntrinsicImplementation]
    public static uint NarrowBF16(float low, float high) => NarrowBF16Plainly(low, high);

    /// <summary><see cref="NarrowBF16"/> for cards older than the instruction.</summary>
    public static uint NarrowBF16Plainly(float low, float high) => StoredBF16.Narrow(low) | StoredBF16.Narrow(high) << 16;

    /// <summary>Two numbers rounded to binary16, to nearest even; the first in the lower half. Overflow gives infinity, NaN stays NaN.</summary>
    [IntrinsicImplementation]
    public static uint NarrowF16(float low, float high) => StoredF16.Narrow(low) | StoredF16.Narrow(high) << 16;

    /// <summary>The binary16 in the lower half, widened.</summary>
    [IntrinsicImplementation]
    public static float WidenLowF16(uint pair) => StoredF16.Widen(pair & 0xffff);

    /// <summary>The binary16 in the upper half, widened.</summary>
    [IntrinsicImplementation]
    public static float WidenHighF16(uint pair) => StoredF16.Widen(pair >> 16);
}
