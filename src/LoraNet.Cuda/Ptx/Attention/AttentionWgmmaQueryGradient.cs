namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// dQ, and delta = rowsum(dO * O) on the way. In step j: S(j) = Q K(j)ᵀ and dP(j) = dO V(j)ᵀ are issued, then dQ += dS(j-1) K(j-1), whose operand comes
/// straight out of the accumulators of the step before.
/// </summary>
internal static class AttentionWgmmaQueryGradient
{
    /// <summary>Writes the kernel.</summary>
    public static PtxKernelText Write(PtxWriter k, AttentionWgmma w, AttentionWgmmaSpec spec)
    {
        int d = spec.D, blocks = spec.Loop / 8, outBlocks = d / 8, half = spec.TileRows * d * 2, own = 2 * half, loop = spec.Loop * d * 2, stage = 2 * loop;
        k.Param("map", "mapQ mapG mapK mapV");
        k.Param("u64", "X lse delta list O G");
        k.Param("u32", "ldx lseld group heads tiles ldo ldg");
        k.Param("f32", "scale");
        int qAt = w.Allocate(own * spec.Buffers), kAt = w.Allocate(stage * spec.Stages);
        w.Barriers("qFull", spec.Buffers, 1);
        w.Barriers("qFree", spec.Buffers, spec.Consumers);
        w.Barriers("kFull", spec.Stages, 1);
        w.Barriers("kFree", spec.Stages, spec.Consumers);
        w.Start();
        k.Reg("b32", "qs qp ks kp previous j kv qc kc base");
        k.L("mov.u32 qs, 0; mov.u32 qp, 0; mov.u32 ks, 0; mov.u32 kp, 0;");

        w.Producer();
        k.L("setp.ne.u32 p, tid, 0; @p bra DONE;");
        w.Next("PITEM", "DONE");
        w.KeyTiles();
        k.L($"div.u32 kvh, head, group; mul.lo.u32 kc, kvh, {d}; mul.lo.u32 qc, head, {d};");
        w.WaitFree("qFree", "qs", "qp");
        w.Expect("qFull", "qs", own);
        k.L($"mad.lo.u32 base, qs, {own}, sb; add.u32 base, base, {qAt};");
        w.LoadOwn("mapQ", "base", "qc");
        k.L($"add.u32 base, base, {half};");
        w.LoadOwn("mapG", "base", "qc");
        Hopper.Advance(k, "qs", "qp", spec.Buffers);
        k.L("mov.u32 kv, kstart; mov.u32 j, 0;\nPLOOP:");
        w.WaitFree("kFree", "ks", "kp");
        w.Expect("kFull", "ks", stage);
        k.L($"mad.lo.u32 base, ks, {stage}, sb; add.u32 base, base, {kAt};");
        w.LoadLoop("mapK", "base", "kc", "kv");
        k.L($"add.u32 base, base, {loop};");
        w.LoadLoop("mapV", "base", "kc", "kv");
        Hopper.Advance(k, "ks", "kp", spec.Stages);
        k.L($"add.u32 kv, kv, {spec.Loop}; add.u32 j, j, 1; setp.lt.u32 p, j, nkv; @p bra PLOOP; bra PITEM;");

        w.Consumer();
        string[] s = k.Regs("f32", "s", blocks * 4), z = k.Regs("f32", "z", blocks * 4), dq = k.Regs("f32", "dacc", outBlocks * 4), ds = k.Regs("b32", "ds", blocks * 2), negLse = k.Regs("f32", "nl", 2), delta = k.Regs("f32", "dl", 2);
        k.Reg("f32", "c");
        k.Reg("b32", "col kn ldxBytes ldoBytes ldgBytes");
        k.Reg("b64", "dg dv0");
        k.L($"mul.f32 c, scale, {AttentionMath.Log2E}; shl.b32 ldxBytes, ldx, 1; shl.b32 ldoBytes, ldo, 1; shl.b32 ldgBytes, ldg, 1;");
        w.OwnDescriptor("dq0", qAt);
        w.LoopDescriptor("dk0", kAt, true);
        w.LoopDescriptor("dt0", kAt, false);
        k.L($"add.u64 dv0, dk0, {loop >> 4};");
        w.Next("CITEM", "DONE");
        w.KeyTiles();
        string[] row = w.Rows(true);
        AttentionMath.LoadNegativeLse(k, "lse", "lseld", "head", row, negLse, "rend");
        AttentionMath.RowDelta(k, spec.Type, d, "O", "G", "delta", "lseld", "head", row, delta, "rend");
        foreach (string r in dq) k.L($"mov.f32 {r}, 0f00000000;");
        w.Wait("qFull", "qs", "qp");
        w.StageDescriptor("dq", "dq0", "qs", own);
        k.L($"add.u64 dg, dq, {half >> 4}; mov.u32 kv, kstart; mov.u32 j, 1;");
        IssueBoth();
        Hopper.WaitGroup(k, 1);
        k.L($"add.u32 kn, kv, {spec.Loop - 1}; setp.le.u32 p, kn, wrow; @p bra FIRSTOPEN;");
        Mask();
        k.L("FIRSTOPEN:");
        AttentionMath.ProbabilityByRow(k, s, blocks, negLse, "c");
        Hopper.WaitGroup(k, 0);
        Gradient();
        k.L($"CLOOP: setp.ge.u32 p, j, nw; @p bra CEND; add.u32 kv, kv, {spec.Loop}; add.u32 kn, kv, {spec.Loop - 1}; setp.gt.u32 p, kn, wrow; @p bra CMASKED;");
        Step(false);
        k.L("CMASKED:");
        Step(true);
        k.L("CEND:");
        w.Arrive("qFree", "qs");
        Hopper.Advance(k, "qs", "qp", spec.Buffers);
        Hopper.Fence(k);
        IssueOutput();
        Hopper.WaitGroup(k, 0);
        w.Arrive("kFree", "previous");
        w.PairColumn("ocol");
        AttentionMath.StoreRows(k, spec.Type, "X", "ldxBytes", row, "ocol", dq, outBlocks, "rend", ["scale"]);
        k.L("DRAIN: setp.ge.u32 p, j, nkv; @p bra CITEM;");
        w.Wait("kFull", "ks", "kp");
        w.WarpgroupBarrier();
        w.Arrive("kFree", "ks");
        Hopper.Advance(k, "ks", "kp", spec.Stages);
        k.L("add.u32 j, j, 1; bra DRAIN;\nDONE:");
        return k.Build(w.SharedBytes);

        void IssueBoth()
        {
            w.Wait("kFull", "ks", "kp");
            w.StageDescriptor("dk", "dk0", "ks", stage);
            w.StageDescriptor("dv", "dv0", "ks", stage);
            Hopper.Fence(k);
            w.Scores(s, "dq", "dk");
            w.Scores(z, "dg", "dv");
        }

        void IssueOutput()
        {
            w.StageDescriptor("dt", "dt0", "previous", stage);
            w.Accumulate(dq, ds, "dt");
        }

        void Mask()
        {
            k.L("shl.b32 col, lt, 1; add.u32 col, col, kv;");
            AttentionMath.MaskCausal(k, s, blocks, row, "col", false);
        }

        // dS of this step becomes the operand of the next one's output product; its stage is kept until then.
        void Gradient()
        {
            AttentionMath.ScoreGradientByRow(k, s, z, blocks, delta, null);
            AttentionMath.PackFragments(k, spec.Type, ds, z, blocks, 1);
            k.L("mov.u32 previous, ks;");
            Hopper.Advance(k, "ks", "kp", spec.Stages);
        }

        void Step(bool masked)
        {
            IssueBoth();
            IssueOutput();
            Hopper.WaitGroup(k, 2);
            if (masked) Mask();
            AttentionMath.ProbabilityByRow(k, s, blocks, negLse, "c");
            Hopper.WaitGroup(k, 1);
            AttentionMath.ScoreGradientByRow(k, s, z, blocks, delta, null);
            Hopper.WaitGroup(k, 0);
            w.Arrive("kFree", "previous");
            AttentionMath.PackFragments(k, spec.Type, ds, z, blocks, 1);
            k.L("mov.u32 previous, ks;");
            Hopper.Advance(k, "ks", "kp", spec.Stages);
            k.L("add.u32 j, j, 1; bra CLOOP;");
        }
    }
}
