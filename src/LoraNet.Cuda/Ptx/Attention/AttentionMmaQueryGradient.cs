namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// dQ = scale dS K with P = exp(S - lse), dS = P * (dO Vᵀ - delta), for one query tile and head. It computes delta = rowsum(dO * O) first
/// and leaves it for the key gradient.
/// </summary>
internal static class AttentionMmaQueryGradient
{
    /// <summary>Writes the kernel body.</summary>
    public static void Write(PtxWriter k, MmaTile tile, AttentionMmaSpec spec, int rowTiles, int loop)
    {
        int d = spec.D, blocks = loop / 8, outBlocks = d / 8, bm = spec.TileRows, loopBytes = loop * tile.Pitch, stage = 2 * loopBytes;
        k.Reg("b32", "kb vb gb so so2 kn ks vs qw");
        k.Reg("pred", "last");
        k.L("mov.u32 head, %ctaid.x; div.u32 kvh, head, group;");
        spec.HeadPointer(k, "gq", "Q", "head");
        spec.HeadPointer(k, "gg", "G", "head");
        spec.HeadPointer(k, "gk", "K", "kvh");
        spec.HeadPointer(k, "gv", "V", "kvh");
        spec.KeyRange(k);
        k.L($"add.u32 gb, sb, {bm * tile.Pitch}; add.u32 kb, sb, {2 * bm * tile.Pitch}; add.u32 vb, kb, {loopBytes};");
        tile.Copy(bm, "sb", "gq", "ldqBytes", "row0", "rend");
        tile.Copy(bm, "gb", "gg", "ldgBytes", "row0", "rend");
        tile.Copy(loop, "kb", "gk", "ldkBytes", "kv", "klimit");
        tile.Copy(loop, "vb", "gv", "ldvBytes", "kv", "klimit");
        tile.Commit();
        k.L($"mad.lo.u32 qw, warp, {16 * rowTiles * tile.Pitch}, sb;");
        tile.AddressA("qa", "qw");
        k.Reg("b32", "ga va");
        k.L($"add.u32 ga, qa, {bm * tile.Pitch};");
        tile.AddressB("ka", "kb");
        tile.AddressA("kt", "kb");
        k.L($"add.u32 va, ka, {loopBytes};");
        string[] s = k.Regs("f32", "s", rowTiles * blocks * 4), z = k.Regs("f32", "z", rowTiles * blocks * 4), dq = k.Regs("f32", "dq", rowTiles * outBlocks * 4), ds = k.Regs("b32", "ds", rowTiles * blocks * 2);
        string[] negLse = k.Regs("f32", "nl", 2 * rowTiles), delta = k.Regs("f32", "dl", 2 * rowTiles), f = k.Regs("b32", "af", 4 * rowTiles);
        string[]? slope = spec.SoftCap ? k.Regs("f32", "sl", s.Length) : null;
        string[] row = AttentionMmaSpec.Rows(k, "qrow", rowTiles, null), key = AttentionMmaSpec.Rows(k, "qkey", rowTiles, "shift");
        AttentionMath.LoadNegativeLse(k, "lse", "lseld", "head", row, negLse, "rend");
        AttentionMath.RowDelta(k, spec.Type, d, "O", "G", "delta", "lseld", "head", row, delta, "rend");
        foreach (string r in dq) k.L($"mov.f32 {r}, 0f00000000;");
        k.L("mov.u32 so, 0;\nLOOP:");
        tile.Wait();
        k.L($"add.u32 kn, kv, {loop}; setp.ge.u32 last, kn, kend; sub.u32 so2, {stage}, so; @last bra NOCOPY; add.u32 ks, kb, so2; add.u32 vs, vb, so2;");
        tile.Copy(loop, "ks", "gk", "ldkBytes", "kn", "klimit");
        tile.Copy(loop, "vs", "gv", "ldvBytes", "kn", "klimit");
        k.L("NOCOPY:");
        tile.Commit();
        k.L("add.u32 ks, ka, so; add.u32 vs, va, so;");
        tile.MultiplyTransposed(s, rowTiles, blocks, Load("qa"), "ks", "zero");
        tile.MultiplyTransposed(z, rowTiles, blocks, Load("ga"), "vs", "zero");
        if (slope is not null) AttentionMath.SoftCap(k, s, "capk", "cap", slope);
        spec.MaskQueries(k, s, blocks, key, loop);
        AttentionMath.ProbabilityByRow(k, s, blocks, negLse, "c");
        AttentionMath.ScoreGradientByRow(k, s, z, blocks, delta, slope);
        AttentionMath.PackFragments(k, spec.Type, ds, z, blocks, rowTiles);
        k.L("add.u32 ks, kt, so;");
        tile.Multiply(dq, rowTiles, outBlocks, ds, blocks / 2, "ks");
        k.L("mov.u32 kv, kn; mov.u32 so, so2; @!last bra LOOP;");
        spec.PairColumn(k, "ocol", "head");
        AttentionMath.StoreRows(k, spec.Type, "X", "ldxBytes", row, "ocol", dq, outBlocks, "rend", ["scale"]);

        Func<int, string[]> Load(string address) => kk =>
        {
            tile.LoadA(f, address, kk, rowTiles);
            return f;
        };
    }
}
