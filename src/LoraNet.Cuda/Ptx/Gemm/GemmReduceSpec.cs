namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>Sums the partial products of a split GEMM in the order of their K ranges (so that reruns are bitwise equal) and applies the epilogue. One thread an element.</summary>
/// <param name="Arch">Target.</param>
/// <param name="Epilogue">The epilogue, with Split false.</param>
internal sealed record GemmReduceSpec(PtxArch Arch, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Threads of a block.</summary>
    public const int Threads = 256;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(Arch, $"gemm_reduce_{Epilogue.Tag}", Threads);
        k.Param("u64", "part C bias add");
        k.Param("u32", "ldpart ldc ldadd M N splits");
        k.Param("f32", "alpha");
        k.LoadParameters();
        k.Reg("b32", "i row col x total s");
        k.Reg("b64", "at stride");
        k.Reg("f32", "sum v");
        k.Reg("pred", "p yes");
        k.L($"""
            mov.u32 i, %ctaid.x; mov.u32 x, %tid.x; mad.lo.u32 i, i, {Threads}, x; mul.lo.u32 total, M, N; setp.ge.u32 p, i, total; @p ret;
            div.u32 row, i, N; mul.lo.u32 x, row, N; sub.u32 col, i, x; mul.wide.u32 at, row, ldpart; cvt.u64.u32 stride, col; add.u64 at, at, stride; mad.lo.u64 at, at, 4, part; mul.wide.u32 stride, M, ldpart; shl.b64 stride, stride, 2; mov.f32 sum, 0f00000000; mov.u32 s, 0; setp.eq.u32 yes, 0, 0;
            NEXT: ld.global.nc.f32 v, [at]; add.f32 sum, sum, v; add.u64 at, at, stride; add.u32 s, s, 1; setp.lt.u32 p, s, splits; @p bra NEXT;
            """);
        Epilogue.StoreElement(k, "sum", "row", "col", "yes");
        return k.Build(0);
    }
}
