namespace LoraNet.Cuda.Ptx;

/// <summary>The tensor-core step of 16 x 8 results over 32 bytes of k: 16 elements, with TF32 eight.</summary>
internal static class PtxMma
{
    /// <summary>d += a b with fp32 accumulation. On sm_75 it is two 16 x 8 x 8 steps: fragment halves a0,a1 with b0 are the lower eight k, a2,a3 with b1 the upper.</summary>
    /// <param name="k">The writer.</param>
    /// <param name="type">BF16, F16, or F32 for words already rounded to TF32.</param>
    /// <param name="d">Four accumulators.</param>
    /// <param name="a">Four registers of A.</param>
    /// <param name="b0">B, lower half of k.</param>
    /// <param name="b1">B, upper half.</param>
    /// <param name="c">Accumulator inputs when they are not <paramref name="d"/>.</param>
    public static void Mma(this PtxWriter k, PtxType type, ReadOnlySpan<string> d, ReadOnlySpan<string> a, string b0, string b1, string[]? c = null)
    {
        string to = PtxWriter.Vec(d.ToArray()), from = c is null ? to : PtxWriter.Vec(c);
        if (k.Arch.IsAmpere())
        {
            if (type == PtxType.F32)
            {
                k.L($"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {to}, {PtxWriter.Vec(a.ToArray())}, {{{b0},{b1}}}, {from};");
                return;
            }
            k.L($"mma.sync.aligned.m16n8k16.row.col.f32.{type.Name()}.{type.Name()}.f32 {to}, {PtxWriter.Vec(a.ToArray())}, {{{b0},{b1}}}, {from};");
            return;
        }
        if (type != PtxType.F16) throw new NotSupportedException("sm_75 tensor cores take fp16 only.");
        k.L($"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {to}, {{{a[0]},{a[1]}}}, {{{b0}}}, {from};");
        k.L($"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {to}, {{{a[2]},{a[3]}}}, {{{b1}}}, {to};");
    }
}
