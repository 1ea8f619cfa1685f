namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// dK and dV of a key tile, summed over the group's query heads. Scores are transposed (keys are rows): Sᵀ = K Qᵀ, dPᵀ = V dOᵀ, dV += Pᵀ dO, dK += dSᵀ Q.
/// A second producer warp brings the rows' statistics, -log2(e) lse and delta, with ordinary loads.
/// </summary>
internal static class AttentionWgmmaKeyGradient
{
    /// <summary>Writes the kernel.</summary>
    public static PtxKernelText Write(PtxWriter k, AttentionWgmma w, AttentionWgmmaSpec spec)
    {
        int d = spec.D, blocks = spec.Loop / 8, outBlocks = d / 8, half = spec.TileRows * d * 2, loop = spec.Loop * d * 2, stage = 2 * loop, stats = 8 * spec.Loop;
        bool shareFragments = d == 128; // P and dS then use the same registers: with separate ones the compiler serialises the products
        k.Param("map", "mapQ mapG mapK mapV");
        k.Param("u64", "X Y lse delta list");
        k.Param("u32", "ldx ldy lseld group heads tiles");
        k.Param("f32", "scale");
        int kAt = w.Allocate(half), vAt = w.Allocate(half), qAt = w.Allocate(stage * spec.Stages), statsAt = w.Allocate(stats * spec.Stages);
        w.Barriers("kFull", 1, 1);
        w.Barriers("kFree", 1, spec.Consumers);
        w.Barriers("qFull", spec.Stages, 33); // the copy engine's announcement and the 32 lanes of the statistics warp
        w.Barriers("qFree", spec.Stages, spec.Consumers);
        w.Start();
        k.Reg("b32", "qs qp previous kp zero qc kc base hq hend qv n col to");
        k.Reg("b64", "stat");
        k.Reg("f32", "nl dl");
        k.Reg("pred", "inside first release");
        k.L("mov.u32 qs, 0; mov.u32 qp, 0; mov.u32 kp, 0; mov.u32 zero, 0;");

        w.Producer();
        k.L("setp.eq.u32 p, warp, 1; @p bra SITEM; setp.ne.u32 p, tid, 0; @p bra DONE;");
        w.Next("PITEM", "DONE");
        k.L($"mul.lo.u32 hq, head, group; add.u32 hend, hq, group; mul.lo.u32 kc, head, {d};");
        w.WaitFree("kFree", "zero", "kp");
        w.Expect("kFull", "zero", 2 * half);
        k.L($"add.u32 base, sb, {kAt};");
        w.LoadOwn("mapK", "base", "kc");
        k.L($"add.u32 base, sb, {vAt};");
        w.LoadOwn("mapV", "base", "kc");
        k.L($"xor.b32 kp, kp, 1;\nPHEAD: mov.u32 qv, row0; mul.lo.u32 qc, hq, {d};\nPLOOP:");
        w.WaitFree("qFree", "qs", "qp");
        w.Expect("qFull", "qs", stage);
        k.L($"mad.lo.u32 base, qs, {stage}, sb; add.u32 base, base, {qAt};");
        w.LoadLoop("mapQ", "base", "qc", "qv");
        k.L($"add.u32 base, base, {loop};");
        w.LoadLoop("mapG", "base", "qc", "qv");
        Hopper.Advance(k, "qs", "qp", spec.Stages);
        k.L($"add.u32 qv, qv, {spec.Loop}; setp.lt.u32 p, qv, rend; @p bra PLOOP; add.u32 hq, hq, 1; setp.lt.u32 p, hq, hend; @p bra PHEAD; bra PITEM;");

        w.Next("SITEM", "DONE");
        k.L("mul.lo.u32 hq, head, group; add.u32 hend, hq, group;\nSHEAD: mov.u32 qv, row0;\nSLOOP:");
        w.WaitFree("qFree", "qs", "qp");
        k.L($"mad.lo.u32 to, qs, {stats}, sb; mad.lo.u32 to, lane, 4, to;");
        for (int i = 0; i < spec.Loop / 32; i++)
            k.L($"""
                add.u32 col, qv, lane; add.u32 col, col, {32 * i}; setp.lt.u32 inside, col, rend; mul.wide.u32 stat, hq, lseld; cvt.u64.u32 at, col; add.u64 at, at, stat; shl.b64 at, at, 2; mov.f32 nl, 0f7F800000; mov.f32 dl, 0f00000000;
                add.u64 stat, at, lse; @inside ld.global.f32 nl, [stat]; add.u64 stat, at, delta; @inside ld.global.f32 dl, [stat]; mul.f32 nl, nl, {AttentionMath.Log2E}; neg.f32 nl, nl; st.shared.f32 [to+{statsAt + 128 * i}], nl; st.shared.f32 [to+{statsAt + 4 * spec.Loop + 128 * i}], dl;
                """);
        w.Arrive("qFull", "qs", "");
        Hopper.Advance(k, "qs", "qp", spec.Stages);
        k.L($"add.u32 qv, qv, {spec.Loop}; setp.lt.u32 p, qv, rend; @p bra SLOOP; add.u32 hq, hq, 1; setp.lt.u32 p, hq, hend; @p bra SHEAD; bra SITEM;");

        w.Consumer();
        string[] s = k.Regs("f32", "s", blocks * 4), z = k.Regs("f32", "z", blocks * 4), dk = k.Regs("f32", "dk", outBlocks * 4), dv = k.Regs("f32", "dv", outBlocks * 4), pf = k.Regs("b32", "pf", blocks * 2);
        string[] ds = shareFragments ? pf : k.Regs("b32", "ds", blocks * 2);
        k.Reg("f32", "c");
        k.Reg("b32", "wlast statAt ldxBytes ldyBytes");
        k.Reg("b64", "eV eG eGT");
        k.L($"mul.f32 c, scale, {AttentionMath.Log2E}; shl.b32 ldxBytes, ldx, 1; shl.b32 ldyBytes, ldy, 1;");
        w.OwnDescriptor("eK", kAt);
        k.L($"add.u64 eV, eK, {(vAt - kAt) >> 4};");
        w.LoopDescriptor("eQ0", qAt, true);
        w.LoopDescriptor("eT0", qAt, false);
        w.Next("CITEM", "DONE");
        string[] row = w.Rows(false);
        k.L($"sub.u32 n, rend, row0; add.u32 n, n, {spec.Loop - 1}; shr.u32 n, n, {spec.LoopShift}; max.u32 n, n, 1; mul.lo.u32 n, n, group; mov.u32 qv, row0; add.u32 wlast, wrow, 63; setp.eq.u32 first, 0, 0;");
        foreach (string r in dk.Concat(dv)) k.L($"mov.f32 {r}, 0f00000000;");
        w.Wait("kFull", "zero", "kp");
        k.L("xor.b32 kp, kp, 1;\nCLOOP:");
        w.Wait("qFull", "qs", "qp");
        // queries wholly before this warpgroup's keys see none of them
        k.L($"add.u32 x, qv, {spec.Loop}; setp.gt.u32 p, x, wrow; @p bra CWORK;");
        w.WarpgroupBarrier();
        w.Arrive("qFree", "qs");
        Hopper.Advance(k, "qs", "qp", spec.Stages);
        k.L("bra CNEXT;\nCWORK:");
        w.StageDescriptor("eQ", "eQ0", "qs", stage);
        w.StageDescriptor("eQT", "eT0", "qs", stage);
        k.L($"add.u64 eG, eQ, {loop >> 4}; add.u64 eGT, eQT, {loop >> 4};");
        Hopper.Fence(k);
        w.Scores(s, "eK", "eQ");
        w.Scores(z, "eV", "eG");
        Hopper.WaitGroup(k, 1); // S is there, and the previous step's outputs are done with their stage
        k.L("not.pred release, first; and.pred release, release, el; setp.ne.u32 first, 0, 0;");
        w.Arrive("qFree", "previous", "@release ");
        k.L("setp.le.u32 p, wlast, qv; @p bra COPEN; shl.b32 col, lt, 1; add.u32 col, col, qv;");
        AttentionMath.MaskCausal(k, s, blocks, row, "col", true);
        k.L($"COPEN: mad.lo.u32 statAt, qs, {stats}, sb; mad.lo.u32 statAt, lt, 8, statAt;");
        AttentionMath.ProbabilityByColumn(k, s, blocks, "statAt", statsAt, "c");
        AttentionMath.PackFragments(k, spec.Type, pf, s, blocks, 1);
        Hopper.Fence(k);
        w.Accumulate(dv, pf, "eGT");
        Hopper.WaitGroup(k, 1);
        if (shareFragments) Hopper.WaitGroup(k, 0);
        AttentionMath.ScoreGradientByColumn(k, s, z, blocks, "statAt", statsAt + 4 * spec.Loop, null);
        AttentionMath.PackFragments(k, spec.Type, ds, z, blocks, 1);
        Hopper.Fence(k);
        w.Accumulate(dk, ds, "eQT");
        k.L("mov.u32 previous, qs;");
        Hopper.Advance(k, "qs", "qp", spec.Stages);
        k.L($"CNEXT: add.u32 qv, qv, {spec.Loop}; setp.ge.u32 p, qv, rend; selp.b32 qv, row0, qv, p; sub.u32 n, n, 1; setp.ne.u32 p, n, 0; @p bra CLOOP;");
        Hopper.WaitGroup(k, 0);
        k.L("not.pred release, first; and.pred release, release, el;");
        w.Arrive("qFree", "previous", "@release ");
        w.Arrive("kFree", "zero");
        w.PairColumn("ocol");
        AttentionMath.StoreRows(k, spec.Type, "X", "ldxBytes", row, "ocol", dk, outBlocks, "rend", ["scale"]);
        AttentionMath.StoreRows(k, spec.Type, "Y", "ldyBytes", row, "ocol", dv, outBlocks, "rend", null);
        k.L("bra CITEM;\nDONE:");
        return k.Build(w.SharedBytes);
    }
}
