namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// GEMM with ordinary fp32 FMAs: strict fp32 mode, and the fallback for any type, size and alignment (every access is one element).
/// Tile 128 x 128 x 16, 256 threads of 8 x 8, two shared-memory stages with the next tile prefetched into registers.
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="Layout">Operand layout.</param>
/// <param name="LowRank">Whether a second product P L is added.</param>
/// <param name="Epilogue">What happens to the sums; In may be F32.</param>
internal sealed record GemmSimtSpec(PtxArch Arch, GemmLayout Layout, bool LowRank, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Edge of the square tile.</summary>
    public const int Tile = 128;

    /// <summary>Depth of one k-tile.</summary>
    public const int TileK = 16;

    private const int Threads = 256, Pitch = (Tile + 4) * 4, OperandBytes = TileK * Pitch, Stage = 2 * OperandBytes;

    private bool AlongK(bool a) => a ? Layout != GemmLayout.TN : Layout == GemmLayout.NT;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(Arch, $"gemm_simt_{Layout.ToString().ToLowerInvariant()}{(LowRank ? "_lr" : "")}_{Epilogue.Tag}", Threads, 2);
        k.Param("u64", "A B P L");
        k.Param("u32", "lda ldb ldp ldl");
        GemmEpilogue.Parameters(k);
        k.LoadParameters();
        k.Reg("b32", "tid sb split kt1 kend kt lt so so2 x y t tx ty abase bbase row col");
        k.Reg("pred", "more");
        k.L("mov.u32 tid, %tid.x; mov.u32 sb, smem; mov.u32 split, %ctaid.y; mov.u32 t, %ctaid.x;");
        GemmRaster.Count(k, Tile, Tile);
        GemmRaster.Decode(k, Tile, Tile);
        k.L($"add.u32 kt1, K, {TileK - 1}; shr.u32 kt1, kt1, 4; mov.u32 kend, kt1;");
        if (LowRank) k.L($"add.u32 x, R, {TileK - 1}; shr.u32 x, x, 4; add.u32 kend, kend, x;");
        k.L("mul.lo.u32 kt, split, ktps; add.u32 x, kt, ktps; min.u32 kend, kend, x;");
        CopySetup(k, true);
        CopySetup(k, false);
        string[] acc = k.Regs("f32", "acc", 64);
        foreach (string c in acc) k.L($"mov.f32 {c}, 0f00000000;");
        k.L($"and.b32 tx, tid, 15; shr.u32 ty, tid, 4; mad.lo.u32 abase, ty, 16, sb; mad.lo.u32 bbase, tx, 16, sb; add.u32 bbase, bbase, {OperandBytes}; mov.u32 so, 0; mov.u32 lt, kt;");
        Load(k);
        Store(k, "so");
        k.L($"LOOP: bar.sync 0; add.u32 lt, kt, 1; setp.lt.u32 more, lt, kend; sub.u32 so2, {Stage}, so; @!more bra NOLOAD;");
        Load(k);
        k.L("NOLOAD: add.u32 x, abase, so; add.u32 y, bbase, so;");
        string[] fa = k.Regs("f32", "fa", 8), fb = k.Regs("f32", "fb", 8);
        for (int kk = 0; kk < TileK; kk++)
        {
            foreach ((string[] f, string address) in ((string[], string)[])[(fa, "x"), (fb, "y")])
                for (int half = 0; half < 2; half++)
                    k.L($"ld.shared.v4.f32 {PtxWriter.Vec(f.AsSpan(4 * half, 4).ToArray())}, [{address}+{kk * Pitch + half * 256}];");
            for (int i = 0; i < 8; i++)
                for (int j = 0; j < 8; j++) k.L($"fma.rn.f32 {acc[8 * i + j]}, {fa[i]}, {fb[j]}, {acc[8 * i + j]};");
        }
        k.L("@!more bra NOSTORE;");
        Store(k, "so2");
        k.L("NOSTORE: mov.u32 so, so2; mov.u32 kt, lt; @more bra LOOP;");
        StoreOut(k, acc);
        return k.Build(2 * Stage);
    }

    /// <summary>Along K a thread keeps one k and walks the rows in steps of 16; across K it keeps one column and walks k in steps of 2. Both read coalesced.</summary>
    private void CopySetup(PtxWriter k, bool a)
    {
        string o = a ? "a" : "b", origin = a ? "m0" : "n0", extent = a ? "M" : "N";
        k.Reg("b32", $"{o}k {o}x {o}d");
        if (AlongK(a)) k.L($"and.b32 {o}k, tid, 15; shr.u32 {o}x, tid, 4; mul.lo.u32 {o}d, {o}k, {Pitch}; mad.lo.u32 {o}d, {o}x, 4, {o}d; add.u32 {o}x, {o}x, {origin};");
        else k.L($"and.b32 {o}x, tid, 127; shr.u32 {o}k, tid, 7; mul.lo.u32 {o}d, {o}k, {Pitch}; mad.lo.u32 {o}d, {o}x, 4, {o}d; add.u32 {o}x, {o}x, {origin}; sub.u32 x, {extent}, 1; min.u32 {o}x, {o}x, x;");
        k.L($"add.u32 {o}d, {o}d, sb;");
        if (!a) k.L($"add.u32 {o}d, {o}d, {OperandBytes};");
    }

    private void Load(PtxWriter k)
    {
        PtxType type = Epilogue.In;
        k.Reg("b64", "ldA ldB ldx ldy");
        k.Reg("b32", "ldla ldlb ldlim ldk ldr");
        k.Reg("pred", "ldp_");
        if (LowRank) k.L("setp.ge.u32 ldp_, lt, kt1; selp.b64 ldA, P, A, ldp_; selp.b64 ldB, L, B, ldp_; selp.b32 ldla, ldp, lda, ldp_; selp.b32 ldlb, ldl, ldb, ldp_; selp.b32 ldlim, R, K, ldp_; sub.u32 ldk, lt, kt1; selp.b32 ldk, ldk, lt, ldp_; shl.b32 ldk, ldk, 4;");
        else k.L("mov.b64 ldA, A; mov.b64 ldB, B; mov.b32 ldla, lda; mov.b32 ldlb, ldb; mov.b32 ldlim, K; shl.b32 ldk, lt, 4;");
        foreach (bool a in (bool[])[true, false])
        {
            string o = a ? "a" : "b", from = a ? "ldA" : "ldB", ld = a ? "ldla" : "ldlb", extent = a ? "M" : "N";
            string[] v = k.Regs("f32", $"v{o}", 8);
            if (AlongK(a)) k.L($"add.u32 ldr, ldk, {o}k; setp.lt.u32 ldp_, ldr, ldlim; mad.wide.u32 ldx, ldr, {type.Bytes()}, {from};");
            else k.L($"mad.wide.u32 ldx, {o}x, {type.Bytes()}, {from};");
            for (int i = 0; i < 8; i++)
            {
                if (AlongK(a)) k.L($"add.u32 ldr, {o}x, {16 * i}; sub.u32 x, {extent}, 1; min.u32 ldr, ldr, x;");
                else k.L($"add.u32 ldr, ldk, {o}k; add.u32 ldr, ldr, {2 * i}; setp.lt.u32 ldp_, ldr, ldlim;");
                k.L($"mul.wide.u32 ldy, ldr, {ld}; mad.lo.u64 ldy, ldy, {type.Bytes()}, ldx;");
                k.LoadElement(type, v[i], "ldy", "ldp_");
            }
        }
    }

    private void Store(PtxWriter k, string stage)
    {
        foreach (bool a in (bool[])[true, false])
        {
            string o = a ? "a" : "b";
            k.L($"add.u32 x, {o}d, {stage};");
            for (int i = 0; i < 8; i++) k.L($"st.shared.f32 [x+{(AlongK(a) ? 64 * i : 2 * i * Pitch)}], v{o}{i};");
        }
    }

    /// <summary>A thread owns rows 4 ty + 0..3 and 64 + those, columns 4 tx + 0..3 and 64 + those.</summary>
    private void StoreOut(PtxWriter k, string[] acc)
    {
        GemmEpilogue e = Epilogue;
        int size = e.Stored.Bytes();
        k.Reg("b64", "oc oa ocol ob");
        k.Reg("pred", "orow opair");
        k.Reg("f32", "ox oy");
        k.Reg("b32", "orw oleft");
        k.L("mad.lo.u32 row, ty, 4, m0; mad.lo.u32 col, tx, 4, n0; sub.s32 oleft, N, col; cvt.u64.u32 ocol, col;");
        if (e.Split) k.L("mul.wide.u32 oc, M, ldc; cvt.u64.u32 oa, split; mul.lo.u64 oc, oc, oa; shl.b64 oc, oc, 2; add.u64 C, C, oc;");
        bool bias = e.Bias && !e.Split, addend = e.Addend && !e.Split;
        if (bias) k.L($"mad.wide.u32 ob, col, {e.In.Bytes()}, bias;");
        for (int i = 0; i < 8; i++)
        {
            k.L($"add.u32 orw, row, {(i < 4 ? i : 60 + i)}; setp.lt.u32 orow, orw, M; mul.wide.u32 oc, orw, ldc; add.u64 oc, oc, ocol; mad.lo.u64 oc, oc, {size}, C;");
            if (addend) k.L($"mul.wide.u32 oa, orw, ldadd; add.u64 oa, oa, ocol; mad.lo.u64 oa, oa, {size}, add;");
            for (int j = 0; j < 8; j++)
            {
                int c = j < 4 ? j : 60 + j;
                k.L($"setp.gt.and.s32 opair, oleft, {c}, orow;");
                k.L(e.Split ? $"mov.f32 ox, {acc[8 * i + j]};" : $"mul.f32 ox, {acc[8 * i + j]}, alpha;");
                if (bias)
                {
                    k.LoadElement(e.In, "oy", $"ob+{c * e.In.Bytes()}", "opair");
                    k.L("add.f32 ox, ox, oy;");
                }
                if (addend)
                {
                    k.LoadElement(e.Out, "oy", $"oa+{c * size}", "opair", "");
                    k.L("add.f32 ox, ox, oy;");
                }
                k.StoreElement(e.Stored, $"oc+{c * size}", "ox", "opair");
            }
        }
    }
}
