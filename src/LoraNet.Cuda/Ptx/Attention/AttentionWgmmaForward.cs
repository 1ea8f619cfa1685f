namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Forward. Key tiles ascend, so the first one holds a visible column for every row. In step j the warpgroup issues S(j) = Q K(j)ᵀ, then O += P(j-1) V(j-1),
/// and does the softmax of S(j) while the second product runs.
/// </summary>
internal static class AttentionWgmmaForward
{
    /// <summary>Writes the kernel.</summary>
    public static PtxKernelText Write(PtxWriter k, AttentionWgmma w, AttentionWgmmaSpec spec)
    {
        int d = spec.D, blocks = spec.Loop / 8, outBlocks = d / 8, own = spec.TileRows * d * 2, loop = spec.Loop * d * 2;
        k.Param("map", "mapQ mapK mapV");
        k.Param("u64", "O lse list");
        k.Param("u32", "ldo lseld group heads tiles");
        k.Param("f32", "scale");
        int qAt = w.Allocate(own * spec.Buffers), kAt = w.Allocate(loop * spec.Stages), vAt = w.Allocate(loop * spec.Stages);
        w.Barriers("qFull", spec.Buffers, 1);
        w.Barriers("qFree", spec.Buffers, spec.Consumers);
        w.Barriers("kFull", spec.Stages, 1);
        w.Barriers("kFree", spec.Stages, spec.Consumers);
        w.Barriers("vFull", spec.Stages, 1);
        w.Barriers("vFree", spec.Stages, spec.Consumers);
        w.Start();
        k.Reg("b32", "qs qp ks kp vs vp j kv qc kc base");
        k.L("mov.u32 qs, 0; mov.u32 qp, 0; mov.u32 ks, 0; mov.u32 kp, 0; mov.u32 vs, 0; mov.u32 vp, 0;");

        w.Producer();
        k.L("setp.ne.u32 p, tid, 0; @p bra DONE;");
        w.Next("PITEM", "DONE");
        w.KeyTiles();
        k.L($"div.u32 kvh, head, group; mul.lo.u32 kc, kvh, {d}; mul.lo.u32 qc, head, {d};");
        w.WaitFree("qFree", "qs", "qp");
        w.Expect("qFull", "qs", own);
        k.L($"mad.lo.u32 base, qs, {own}, sb; add.u32 base, base, {qAt};");
        w.LoadOwn("mapQ", "base", "qc");
        Hopper.Advance(k, "qs", "qp", spec.Buffers);
        k.L("mov.u32 kv, kstart; mov.u32 j, 0;\nPLOOP:");
        w.WaitFree("kFree", "ks", "kp");
        w.Expect("kFull", "ks", loop);
        k.L($"mad.lo.u32 base, ks, {loop}, sb; add.u32 base, base, {kAt};");
        w.LoadLoop("mapK", "base", "kc", "kv");
        w.WaitFree("vFree", "ks", "kp");
        w.Expect("vFull", "ks", loop);
        k.L($"add.u32 base, base, {vAt - kAt};");
        w.LoadLoop("mapV", "base", "kc", "kv");
        Hopper.Advance(k, "ks", "kp", spec.Stages);
        k.L($"add.u32 kv, kv, {spec.Loop}; add.u32 j, j, 1; setp.lt.u32 p, j, nkv; @p bra PLOOP; bra PITEM;");

        w.Consumer();
        string[] s = k.Regs("f32", "s", blocks * 4), o = k.Regs("f32", "o", outBlocks * 4), pf = k.Regs("b32", "pf", blocks * 2), m = k.Regs("f32", "m", 2), l = k.Regs("f32", "l", 2), corr = k.Regs("f32", "corr", 2);
        k.Reg("f32", "c");
        k.Reg("b32", "col kn ldoBytes");
        k.L($"mul.f32 c, scale, {AttentionMath.Log2E}; shl.b32 ldoBytes, ldo, 1;");
        w.OwnDescriptor("dq0", qAt);
        w.LoopDescriptor("dk0", kAt, true);
        w.LoopDescriptor("dv0", vAt, false);
        w.Next("CITEM", "DONE");
        w.KeyTiles();
        string[] row = w.Rows(true);
        foreach (string r in o.Concat(l)) k.L($"mov.f32 {r}, 0f00000000;");
        foreach (string r in m) k.L($"mov.f32 {r}, {AttentionMath.MinusInfinity};");
        w.Wait("qFull", "qs", "qp");
        w.StageDescriptor("dq", "dq0", "qs", own);
        k.L("mov.u32 kv, kstart; mov.u32 j, 1;");
        IssueScores();
        Hopper.WaitGroup(k, 0);
        Release("kFree", "ks", "kp");
        k.L($"add.u32 kn, kv, {spec.Loop - 1}; setp.le.u32 p, kn, wrow; @p bra FIRSTOPEN;");
        Mask();
        k.L("FIRSTOPEN:");
        AttentionMath.Softmax(k, s, blocks, m, l, corr, "c", false);
        AttentionMath.PackFragments(k, spec.Type, pf, s, blocks, 1);
        k.L($"CLOOP: setp.ge.u32 p, j, nw; @p bra CEND; add.u32 kv, kv, {spec.Loop}; add.u32 kn, kv, {spec.Loop - 1}; setp.gt.u32 p, kn, wrow; @p bra CMASKED;");
        Step(false);
        k.L("CMASKED:");
        Step(true);
        k.L("CEND:");
        w.Arrive("qFree", "qs");
        Hopper.Advance(k, "qs", "qp", spec.Buffers);
        Hopper.Fence(k);
        IssueOutput();
        foreach (string r in l) k.QuadReduce("add.f32", r);
        AttentionMath.StoreLogSumExp(k, "lse", "lseld", "head", row, m, l, "rend", "scale");
        foreach (string r in l) k.L($"rcp.approx.f32 {r}, {r};");
        Hopper.WaitGroup(k, 0);
        Release("vFree", "vs", "vp");
        w.PairColumn("ocol");
        AttentionMath.StoreRows(k, spec.Type, "O", "ldoBytes", row, "ocol", o, outBlocks, "rend", l);
        // tiles that only later warpgroups see are handed back unread
        k.L("DRAIN: setp.ge.u32 p, j, nkv; @p bra CITEM;");
        w.Wait("kFull", "ks", "kp");
        w.Wait("vFull", "vs", "vp");
        w.WarpgroupBarrier();
        Release("kFree", "ks", "kp");
        Release("vFree", "vs", "vp");
        k.L("add.u32 j, j, 1; bra DRAIN;\nDONE:");
        return k.Build(w.SharedBytes);

        void IssueScores()
        {
            w.Wait("kFull", "ks", "kp");
            w.StageDescriptor("dk", "dk0", "ks", loop);
            Hopper.Fence(k);
            w.Scores(s, "dq", "dk");
        }

        void IssueOutput()
        {
            w.Wait("vFull", "vs", "vp");
            w.StageDescriptor("dv", "dv0", "vs", loop);
            w.Accumulate(o, pf, "dv");
        }

        void Release(string barrier, string stage, string phase)
        {
            w.Arrive(barrier, stage);
            Hopper.Advance(k, stage, phase, spec.Stages);
        }

        void Mask()
        {
            k.L("shl.b32 col, lt, 1; add.u32 col, col, kv;");
            AttentionMath.MaskCausal(k, s, blocks, row, "col", false);
        }

        void Step(bool masked)
        {
            IssueScores();
            IssueOutput();
            Hopper.WaitGroup(k, 1);
            Release("kFree", "ks", "kp");
            if (masked) Mask();
            AttentionMath.Softmax(k, s, blocks, m, l, corr, "c", false);
            Hopper.WaitGroup(k, 0);
            Release("vFree", "vs", "vp");
            AttentionMath.Scale(k, o, outBlocks, corr);
            AttentionMath.PackFragments(k, spec.Type, pf, s, blocks, 1);
            k.L("add.u32 j, j, 1; bra CLOOP;");
        }
    }
}
