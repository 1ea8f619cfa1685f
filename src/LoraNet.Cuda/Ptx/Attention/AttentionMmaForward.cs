namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>O = softmax(scale Q Kᵀ) V for one query tile and head: online softmax over key tiles in ascending order, double-buffered copies.</summary>
internal static class AttentionMmaForward
{
    /// <summary>Writes the kernel body.</summary>
    public static void Write(PtxWriter k, MmaTile tile, AttentionMmaSpec spec, int rowTiles, int loop)
    {
        int d = spec.D, blocks = loop / 8, outBlocks = d / 8, bm = spec.TileRows, loopBytes = loop * tile.Pitch, stage = 2 * loopBytes;
        k.Reg("b32", "kb vb so so2 kn ks vs qw");
        k.Reg("pred", "last");
        k.L("mov.u32 head, %ctaid.x; div.u32 kvh, head, group;");
        spec.HeadPointer(k, "gq", "Q", "head");
        spec.HeadPointer(k, "gk", "K", "kvh");
        spec.HeadPointer(k, "gv", "V", "kvh");
        spec.KeyRange(k);
        k.L($"add.u32 kb, sb, {bm * tile.Pitch}; add.u32 vb, kb, {loopBytes};");
        tile.Copy(bm, "sb", "gq", "ldqBytes", "row0", "rend");
        tile.Copy(loop, "kb", "gk", "ldkBytes", "kv", "klimit");
        tile.Copy(loop, "vb", "gv", "ldvBytes", "kv", "klimit");
        tile.Commit();
        k.L($"mad.lo.u32 qw, warp, {16 * rowTiles * tile.Pitch}, sb;");
        tile.AddressA("qa", "qw");
        tile.AddressB("ka", "kb");
        tile.AddressA("va", "vb");
        string[] s = k.Regs("f32", "s", rowTiles * blocks * 4), o = k.Regs("f32", "o", rowTiles * outBlocks * 4), p = k.Regs("b32", "pf", rowTiles * blocks * 2);
        string[] m = k.Regs("f32", "m", 2 * rowTiles), l = k.Regs("f32", "l", 2 * rowTiles), corr = k.Regs("f32", "corr", 2 * rowTiles);
        string[] row = AttentionMmaSpec.Rows(k, "qrow", rowTiles, null), key = AttentionMmaSpec.Rows(k, "qkey", rowTiles, "shift");
        foreach (string r in o.Concat(l)) k.L($"mov.f32 {r}, 0f00000000;");
        foreach (string r in m) k.L($"mov.f32 {r}, {AttentionMath.MinusInfinity};");
        k.L("mov.u32 so, 0;");
        // Small heads keep Q's fragments in registers.
        bool keep = d <= 64;
        string[] qf = k.Regs("b32", "qf", (keep ? d / 16 : 1) * rowTiles * 4);
        if (keep)
        {
            tile.Wait();
            for (int kk = 0; kk < d / 16; kk++) tile.LoadA(qf[(kk * rowTiles * 4)..], "qa", kk, rowTiles);
        }
        k.L("LOOP:");
        tile.Wait();
        k.L($"add.u32 kn, kv, {loop}; setp.ge.u32 last, kn, kend; sub.u32 so2, {stage}, so; @last bra NOCOPY; add.u32 ks, kb, so2; add.u32 vs, vb, so2;");
        tile.Copy(loop, "ks", "gk", "ldkBytes", "kn", "klimit");
        tile.Copy(loop, "vs", "gv", "ldvBytes", "kn", "klimit");
        k.L("NOCOPY:");
        tile.Commit();
        k.L("add.u32 ks, ka, so; add.u32 vs, va, so;");
        tile.MultiplyTransposed(s, rowTiles, blocks, kk =>
        {
            if (keep) return qf[(kk * rowTiles * 4)..];
            tile.LoadA(qf, "qa", kk, rowTiles);
            return qf;
        }, "ks", "zero");
        if (spec.SoftCap) AttentionMath.SoftCap(k, s, "capk", "cap", null);
        spec.MaskQueries(k, s, blocks, key, loop);
        AttentionMath.Softmax(k, s, blocks, m, l, corr, "c", spec.Window);
        AttentionMath.Scale(k, o, outBlocks, corr);
        AttentionMath.PackFragments(k, spec.Type, p, s, blocks, rowTiles);
        tile.Multiply(o, rowTiles, outBlocks, p, blocks / 2, "vs");
        k.L("mov.u32 kv, kn; mov.u32 so, so2; @!last bra LOOP;");
        foreach (string r in l) k.QuadReduce("add.f32", r);
        AttentionMath.StoreLogSumExp(k, "lse", "lseld", "head", row, m, l, "rend", "lscale");
        foreach (string r in l) k.L($"rcp.approx.f32 {r}, {r};");
        spec.PairColumn(k, "ocol", "head");
        AttentionMath.StoreRows(k, spec.Type, "O", "ldoBytes", row, "ocol", o, outBlocks, "rend", l);
    }
}
