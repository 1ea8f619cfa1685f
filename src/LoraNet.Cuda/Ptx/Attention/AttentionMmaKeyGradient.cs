namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// dV = Pᵀ dO and dK = scale dSᵀ Q for one key tile, summed over the query heads of its group in registers. Scores are computed transposed
/// (keys are rows), so that Pᵀ and dSᵀ come out of the accumulators as A fragments.
/// </summary>
internal static class AttentionMmaKeyGradient
{
    /// <summary>Writes the kernel body.</summary>
    public static void Write(PtxWriter k, MmaTile tile, AttentionMmaSpec spec, int loop)
    {
        int d = spec.D, blocks = loop / 8, bk = spec.TileRows, loopBytes = loop * tile.Pitch, stage = 2 * loopBytes, statsAt = 2 * bk * tile.Pitch + 2 * stage;
        // Above 128 columns two blocks own half the columns each; when d / 2 is no multiple of 16 they overlap and write equal values there.
        int columns = spec.Parts == 1 ? d : (d / 2 + 15) / 16 * 16, outBlocks = columns / 8;
        k.Reg("b32", "kb vb qb gb so so2 qv qn ks vs kw hn hend qend first part");
        k.Reg("pred", "more wrap");
        k.L($"mov.u32 x, %ctaid.x; div.u32 part, x, heads; mul.lo.u32 y, part, heads; sub.u32 kvh, x, y; mul.lo.u32 head, kvh, group; add.u32 hend, head, group; mul.lo.u32 first, part, {d - columns};");
        spec.HeadPointer(k, "gq", "Q", "head");
        spec.HeadPointer(k, "gg", "G", "head");
        spec.HeadPointer(k, "gk", "K", "kvh");
        spec.HeadPointer(k, "gv", "V", "kvh");
        // row0 is the first key; queries from there to the segment's end (or the window's) see it.
        k.L("mov.u32 qend, rend;");
        if (spec.Window) k.L($"add.u32 x, row0, {bk - 1}; add.u32 x, x, window; min.u32 qend, qend, x;");
        k.L($"add.u32 vb, sb, {bk * tile.Pitch}; add.u32 qb, sb, {2 * bk * tile.Pitch}; add.u32 gb, qb, {loopBytes};");
        tile.Copy(bk, "sb", "gk", "ldkBytes", "row0", "rend");
        tile.Copy(bk, "vb", "gv", "ldvBytes", "row0", "rend");
        k.L("mov.u32 qn, row0; mov.u32 hn, head; mov.u32 so, 0;");
        CopyQueries(k, tile, loop, statsAt, "so");
        tile.Commit();
        k.L($"mad.lo.u32 kw, warp, {16 * tile.Pitch}, sb;");
        tile.AddressA("ka", "kw");
        tile.AddressB("qB", "qb");
        tile.AddressA("qT", "qb");
        k.Reg("b32", "va gB gT stat mcol");
        k.L($"add.u32 va, ka, {bk * tile.Pitch}; add.u32 gB, qB, {loopBytes}; shl.b32 x, first, 1; add.u32 qT, qT, x; add.u32 gT, qT, {loopBytes};");
        string[] s = k.Regs("f32", "s", blocks * 4), z = k.Regs("f32", "z", blocks * 4), dk = k.Regs("f32", "dk", outBlocks * 4), dv = k.Regs("f32", "dv", outBlocks * 4), pf = k.Regs("b32", "pf", blocks * 2), f = k.Regs("b32", "af", 4);
        string[]? slope = spec.SoftCap ? k.Regs("f32", "sl", s.Length) : null;
        string[] row = AttentionMmaSpec.Rows(k, "krow", 1, null);
        foreach (string r in dk.Concat(dv)) k.L($"mov.f32 {r}, 0f00000000;");
        k.L("LOOP:");
        tile.Wait();
        k.L($"mov.u32 qv, qn; add.u32 qn, qn, {loop}; setp.ge.u32 wrap, qn, qend; selp.b32 qn, row0, qn, wrap; selp.b32 x, 1, 0, wrap; add.u32 hn, hn, x; setp.lt.u32 more, hn, hend; sub.u32 so2, {stage}, so; @!more bra NOCOPY;");
        k.L($"@!wrap bra SAMEHEAD; add.u64 gq, gq, {2 * d}; add.u64 gg, gg, {2 * d};\nSAMEHEAD:");
        CopyQueries(k, tile, loop, statsAt, "so2");
        k.L("NOCOPY:");
        tile.Commit();
        k.L("add.u32 ks, qB, so;");
        tile.MultiplyTransposed(s, 1, blocks, Load("ka"), "ks", "zero");
        if (slope is not null) AttentionMath.SoftCap(k, s, "capk", "cap", slope);
        string causal = k.Label("NOCAUSAL"), window = k.Label("NOWINDOW");
        k.L($"shl.b32 mcol, lt, 1; add.u32 mcol, mcol, qv; add.u32 x, row0, {bk - 1}; setp.ge.u32 p, qv, x; @p bra {causal};");
        AttentionMath.MaskCausal(k, s, blocks, row, "mcol", true);
        k.L($"{causal}:");
        if (spec.Window)
        {
            k.L($"add.u32 x, qv, {loop - 1}; sub.s32 x, x, window; setp.lt.s32 p, x, row0; @p bra {window};");
            AttentionMath.MaskWindow(k, s, blocks, row, "mcol", "window", true);
            k.L($"{window}:");
        }
        k.L($"setp.ne.u32 p, so, 0; selp.b32 stat, {8 * loop}, 0, p; add.u32 stat, stat, sb; mad.lo.u32 stat, lt, 8, stat;");
        AttentionMath.ProbabilityByColumn(k, s, blocks, "stat", statsAt, "c");
        AttentionMath.PackFragments(k, spec.Type, pf, s, blocks, 1);
        k.L("add.u32 vs, gT, so;");
        tile.Multiply(dv, 1, outBlocks, pf, blocks / 2, "vs");
        k.L("add.u32 vs, gB, so;");
        tile.MultiplyTransposed(z, 1, blocks, Load("va"), "vs", "zero");
        AttentionMath.ScoreGradientByColumn(k, s, z, blocks, "stat", statsAt + 4 * loop, slope);
        AttentionMath.PackFragments(k, spec.Type, pf, z, blocks, 1);
        k.L("add.u32 ks, qT, so;");
        tile.Multiply(dk, 1, outBlocks, pf, blocks / 2, "ks");
        k.L("mov.u32 so, so2; @more bra LOOP;");
        spec.PairColumn(k, "ocol", "kvh", "first");
        AttentionMath.StoreRows(k, spec.Type, "X", "ldxBytes", row, "ocol", dk, outBlocks, "rend", ["scale"]);
        AttentionMath.StoreRows(k, spec.Type, "Y", "ldyBytes", row, "ocol", dv, outBlocks, "rend", null);

        Func<int, string[]> Load(string address) => kk =>
        {
            tile.LoadA(f, address, kk, 1);
            return f;
        };
    }

    /// <summary>Copies the queries qn.. of head hn and their statistics: -log2(e) lse (-infinity past the end, so that P is 0) and delta.</summary>
    private static void CopyQueries(PtxWriter k, MmaTile tile, int loop, int statsAt, string stage)
    {
        k.Reg("b32", "cq_q cq_g cq_r cq_s");
        k.Reg("b64", "cq_a cq_b");
        k.Reg("f32", "cq_l cq_d");
        k.Reg("pred", "cq_p cq_n");
        k.L($"add.u32 cq_q, qb, {stage}; add.u32 cq_g, gb, {stage};");
        tile.Copy(loop, "cq_q", "gq", "ldqBytes", "qn", "rend");
        tile.Copy(loop, "cq_g", "gg", "ldgBytes", "qn", "rend");
        string skip = k.Label("NOSTATS");
        k.L($"""
            setp.ge.u32 cq_p, tid, {loop}; @cq_p bra {skip}; add.u32 cq_r, qn, tid; setp.lt.u32 cq_p, cq_r, rend; mul.wide.u32 cq_a, hn, lseld; cvt.u64.u32 cq_b, cq_r; add.u64 cq_a, cq_a, cq_b; shl.b64 cq_a, cq_a, 2;
            mov.f32 cq_l, 0f7F800000; mov.f32 cq_d, 0f00000000; add.u64 cq_b, cq_a, lse; @cq_p ld.global.f32 cq_l, [cq_b]; add.u64 cq_b, cq_a, delta; @cq_p ld.global.f32 cq_d, [cq_b]; mul.f32 cq_l, cq_l, {AttentionMath.Log2E}; neg.f32 cq_l, cq_l;
            setp.ne.u32 cq_n, {stage}, 0; selp.b32 cq_s, {8 * loop}, 0, cq_n; mad.lo.u32 cq_s, tid, 4, cq_s; add.u32 cq_s, cq_s, sb; st.shared.f32 [cq_s+{statsAt}], cq_l; st.shared.f32 [cq_s+{statsAt + 4 * loop}], cq_d;
            {skip}:
            """);
    }
}
