namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// Persistent GEMM for sm_90a: warpgroup 0 feeds a ring of shared-memory stages through the tensor copy engine, warpgroups 1 and 2 each multiply
/// 64 rows of a 128 x TileN tile with wgmma. 16-bit results leave through swizzled shared memory and the copy engine, which clips ragged edges;
/// the addend arrives the same way while the main loop runs. fp32 results are stored from registers.
/// </summary>
/// <param name="Layout">Operand layout.</param>
/// <param name="TileN">64, 128 or 256.</param>
/// <param name="LowRank">0: none; 1, 2: that many k16 steps after the main loop (r up to 16, 32); 4: whole 64-deep k-tiles inside the main loop (any r).</param>
/// <param name="ThroughShared">Whether 16-bit results leave through shared memory; needs N, and all pitches and addresses in 16-byte units.</param>
/// <param name="Epilogue">What happens to the sums.</param>
internal sealed record GemmWgmmaSpec(GemmLayout Layout, int TileN, int LowRank, bool ThroughShared, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Rows of a tile.</summary>
    public const int TileM = 128;

    /// <summary>Depth of a k-tile.</summary>
    public const int TileK = 64;

    private const int ABytes = TileM * TileK * 2;

    private bool TransposeA => Layout == GemmLayout.TN;

    private bool TransposeB => Layout != GemmLayout.NT;

    /// <summary>Whether results leave through the copy engine, and so the maps of C and the addend are used.</summary>
    public bool Staged => ThroughShared && Epilogue.Stored != PtxType.F32;

    private int StageBytes => ABytes + TileN * TileK * 2;

    /// <summary>Staging of one consumer: 64 x TileN 16-bit elements as 64-column chunks.</summary>
    private int StagingBytes => Staged ? 64 * TileN * 2 : 0;

    private int Stages => Math.Min(8, (Hopper.SharedBytes - 2 * StagingBytes - 2048) / StageBytes);

    private int OutAt => Stages * StageBytes;

    private int FullAt => OutAt + 2 * StagingBytes;

    private int EmptyAt => FullAt + 64;

    private int AddAt => EmptyAt + 64;

    private int Chunks => TileN / 64;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(PtxArch.Sm90a, $"gemm_wgmma_{Layout.ToString().ToLowerInvariant()}_{TileN}{(LowRank > 0 ? "_lr" + LowRank : "")}_{Epilogue.Tag}{(ThroughShared ? "" : "_direct")}", 384);
        k.Param("map", "mapA mapB mapC mapP mapL mapAdd");
        GemmEpilogue.Parameters(k);
        k.Param("u32", "splits");
        k.LoadParameters();
        k.Reg("b32", "t grid tiles item items split kt1 kt2 kbeg kend kt kc stage phase par bar dst x y");
        k.Reg("pred", "p el");
        Hopper.Threads(k);
        GemmRaster.Count(k, TileM, TileN);
        k.L($"add.u32 kt1, K, {TileK - 1}; shr.u32 kt1, kt1, 6; mul.lo.u32 tiles, tm, tn; mov.u32 item, %ctaid.x; mov.u32 grid, %nctaid.x;");
        k.L(LowRank > 0 ? $"add.u32 kt2, R, {TileK - 1}; shr.u32 kt2, kt2, 6; add.u32 kt2, kt2, kt1;" : "mov.u32 kt2, kt1;"); // kt2: k-tiles of both products
        k.L(Epilogue.Split ? "mul.lo.u32 items, tiles, splits;" : "mov.u32 items, tiles;");
        Hopper.InitBarriers(k, [
            .. Enumerable.Range(0, Stages).Select(i => (FullAt + 8 * i, 1)),
            .. Enumerable.Range(0, Stages).Select(i => (EmptyAt + 8 * i, 2)),
            (AddAt, 1), (AddAt + 8, 1)]);
        k.L("mov.u32 stage, 0; mov.u32 phase, 0; setp.ne.u32 p, wg, 0; @p bra CONSUMER;");
        Producer(k);
        Consumer(k);
        return k.Build(AddAt + 16 + 1024);
    }

    /// <summary>item -> tile origin and k-tile range.</summary>
    private void Item(PtxWriter k)
    {
        k.L(Epilogue.Split
            ? "div.u32 split, item, tiles; mul.lo.u32 x, split, tiles; sub.u32 t, item, x; mul.lo.u32 kbeg, split, ktps; add.u32 kend, kbeg, ktps; min.u32 kend, kend, kt2;"
            : "mov.u32 t, item; mov.u32 kbeg, 0; mov.u32 kend, kt2;");
        GemmRaster.Decode(k, TileM, TileN);
    }

    private void Producer(PtxWriter k)
    {
        k.Reg("b64", "xa xb");
        k.L("setmaxnreg.dec.sync.aligned.u32 24; setp.ne.u32 p, tid, 0; @p bra DONE;");
        k.L("PITEM: setp.ge.u32 p, item, items; @p bra DONE;");
        Item(k);
        k.L("mov.u32 kt, kbeg;");
        k.L($"PK: shl.b32 x, stage, 3; add.u32 bar, x, sb; xor.b32 par, phase, 1;");
        Hopper.Wait(k, $"bar+{EmptyAt}", "par");
        k.L($"add.u32 bar, bar, {FullAt};");
        Hopper.Expect(k, "bar", StageBytes);
        if (LowRank > 0) k.L("setp.ge.u32 p, kt, kt1; sub.u32 x, kt, kt1; selp.b64 xa, mapP, mapA, p; selp.b64 xb, mapL, mapB, p; selp.b32 kc, x, kt, p; shl.b32 kc, kc, 6;");
        else k.L("mov.b64 xa, mapA; mov.b64 xb, mapB; shl.b32 kc, kt, 6;");
        k.L($"mad.lo.u32 dst, stage, {StageBytes}, sb;");
        if (TransposeA)
        {
            Hopper.Load(k, "dst", "xa", "m0", "kc", "bar");
            k.L("add.u32 dst, dst, 8192; add.u32 x, m0, 64;");
            Hopper.Load(k, "dst", "xa", "x", "kc", "bar");
            k.L("add.u32 dst, dst, 8192;");
        }
        else
        {
            Hopper.Load(k, "dst", "xa", "kc", "m0", "bar");
            k.L($"add.u32 dst, dst, {ABytes};");
        }
        if (!TransposeB) Hopper.Load(k, "dst", "xb", "kc", "n0", "bar");
        else
            for (int j = 0; j < Chunks; j++)
            {
                k.L($"add.u32 x, n0, {64 * j};");
                Hopper.Load(k, "dst", "xb", "x", "kc", "bar");
                k.L("add.u32 dst, dst, 8192;");
            }
        Hopper.Advance(k, "stage", "phase", Stages);
        k.L("add.u32 kt, kt, 1; setp.lt.u32 p, kt, kend; @p bra PK; add.u32 item, item, grid; bra PITEM;");
    }

    private void Consumer(PtxWriter k)
    {
        k.Reg("b32", "tw prev kloop cb rowa addphase mrow ecol h0 h1 h2 h3 g0 g1 g2 g3 ca");
        k.Reg("b64", "da0 db0 da db");
        k.Reg("pred", "first");
        string[] acc = k.Regs("f32", "acc", TileN / 2);
        string vec = PtxWriter.Vec(acc);
        k.L("CONSUMER: setmaxnreg.inc.sync.aligned.u32 240; and.b32 tw, tid, 127; sub.u32 wg, wg, 1; setp.eq.u32 el, tw, 0; and.b32 warp, warp, 3; mov.u32 addphase, 0;");
        k.L("shl.b32 x, wg, 13; add.u32 x, x, sb;");
        Hopper.Descriptor(k, "da0", "x", TransposeA ? Hopper.AcrossK(TileK) : Hopper.AlongK);
        k.L($"add.u32 x, sb, {ABytes};");
        Hopper.Descriptor(k, "db0", "x", TransposeB ? Hopper.AcrossK(TileK) : Hopper.AlongK);
        if (Staged)
            // stmatrix: lane l writes row l % 16 of the warp's 16, 16-byte unit (l / 16) of a pair, swizzled by the row
            k.L($"mad.lo.u32 cb, wg, {StagingBytes}, sb; add.u32 cb, cb, {OutAt}; shl.b32 x, warp, 4; and.b32 y, lane, 15; add.u32 x, x, y; shl.b32 rowa, x, 7; shr.u32 x, lane, 4; and.b32 y, lane, 7; xor.b32 x, x, y; shl.b32 x, x, 4; add.u32 rowa, rowa, x; add.u32 rowa, rowa, cb;");

        k.L("CITEM: setp.ge.u32 p, item, items; @p bra CEND;");
        Item(k);
        k.L("shl.b32 x, wg, 6; add.u32 mrow, m0, x;");
        if (Staged && Epilogue.Addend)
        {
            k.L($"@!el bra ADDED; cp.async.bulk.wait_group.read 0; shl.b32 x, wg, 3; add.u32 bar, x, sb; add.u32 bar, bar, {AddAt};");
            Hopper.Expect(k, "bar", StagingBytes);
            for (int j = 0; j < Chunks; j++)
            {
                k.L($"add.u32 x, n0, {64 * j}; add.u32 dst, cb, {8192 * j};");
                Hopper.Load(k, "dst", "mapAdd", "x", "mrow", "bar");
            }
            k.L("ADDED:");
        }
        WaitFull(k);
        k.L("setp.ne.u32 first, 0, 0;");
        Steps(k, vec, 4, "first");
        Next(k);
        // with a short low-rank tail the main loop ends one k-tile earlier
        k.L(LowRank is 1 or 2 ? "sub.u32 kloop, kend, 1;" : "mov.u32 kloop, kend;");
        k.L("add.u32 kt, kbeg, 1; setp.ge.u32 p, kt, kloop; @p bra CTAIL;\nCK:");
        WaitFull(k);
        Steps(k, vec, 4, "1");
        Hopper.WaitGroup(k, 1);
        Release(k);
        Next(k);
        k.L("add.u32 kt, kt, 1; setp.lt.u32 p, kt, kloop; @p bra CK;\nCTAIL:");
        if (LowRank is 1 or 2)
        {
            WaitFull(k);
            Steps(k, vec, LowRank, "1");
            Hopper.WaitGroup(k, 1);
            Release(k);
            Next(k);
        }
        Hopper.WaitGroup(k, 0);
        Release(k);
        if (Staged) StoreStaged(k, acc);
        else
        {
            k.L("shl.b32 x, warp, 4; add.u32 mrow, mrow, x; shr.u32 x, lane, 2; add.u32 mrow, mrow, x; and.b32 y, lane, 3; shl.b32 y, y, 1; add.u32 ecol, n0, y;");
            if (Epilogue.Split) k.Reg("b64", "base");
            if (Epilogue.Split) k.L("mov.b64 base, C;");
            Epilogue.StoreDirect(k, acc, 1, TileN / 8, "mrow", "ecol");
            if (Epilogue.Split) k.L("mov.b64 C, base;");
        }
        k.L("add.u32 item, item, grid; bra CITEM;\nCEND:");
        if (Staged) k.L("@el cp.async.bulk.wait_group 0;");
        k.L("DONE:");
    }

    private void WaitFull(PtxWriter k)
    {
        k.L("shl.b32 x, stage, 3; add.u32 bar, x, sb;");
        Hopper.Wait(k, $"bar+{FullAt}", "phase");
    }

    private void Steps(PtxWriter k, string acc, int steps, string accumulate)
    {
        k.L($"mul.wide.u32 da, stage, {StageBytes >> 4}; add.u64 db, da, db0; add.u64 da, da, da0;");
        Hopper.Fence(k);
        for (int i = 0; i < steps; i++)
        {
            if (i > 0) k.L($"add.u64 da, da, {(TransposeA ? 128 : 2)}; add.u64 db, db, {(TransposeB ? 128 : 2)};");
            Hopper.Wgmma(k, Epilogue.In, TileN, acc, "da", "db", i == 0 ? accumulate : "1", TransposeA, TransposeB);
        }
        Hopper.Commit(k);
    }

    /// <summary>Hands the stage before the current one back to the producer (one arrival per consumer warpgroup).</summary>
    private void Release(PtxWriter k) => k.L($"shl.b32 x, prev, 3; add.u32 x, x, sb; @el mbarrier.arrive.shared::cta.b64 _, [x+{EmptyAt}];");

    private void Next(PtxWriter k)
    {
        k.L("mov.u32 prev, stage;");
        Hopper.Advance(k, "stage", "phase", Stages);
    }

    private void StoreStaged(PtxWriter k, string[] acc)
    {
        string[] b = Epilogue.Bias ? k.Regs("f32", "bias", 16) : [];
        k.Reg("f32", "ex ey eu ev");
        k.Reg("b64", "ebias");
        k.Reg("b32", "eleft wgbar");
        k.Reg("pred", "ep");
        k.L("add.u32 wgbar, wg, 1;");
        if (Epilogue.Bias) k.L($"and.b32 y, lane, 3; shl.b32 y, y, 1; add.u32 ecol, n0, y; sub.s32 eleft, N, ecol; mad.wide.u32 ebias, ecol, 2, bias;");
        if (Epilogue.Addend)
        {
            k.L("shl.b32 x, wg, 3; add.u32 bar, x, sb;");
            Hopper.Wait(k, $"bar+{AddAt}", "addphase");
            k.L("xor.b32 addphase, addphase, 1;");
        }
        else k.L("@el cp.async.bulk.wait_group.read 0; bar.sync wgbar, 128;"); // the last tile's copy has read the staging
        for (int ch = 0; ch < Chunks; ch++)
        {
            for (int i = 0; i < b.Length; i++)
            {
                int offset = 64 * ch + 8 * (i / 2) + (i & 1);
                k.L($"setp.gt.s32 ep, eleft, {offset};");
                k.LoadElement(Epilogue.In, b[i], $"ebias+{2 * offset}", "ep");
            }
            for (int j = 0; j < 8; j += 2)
            {
                string at = $"[ca+{8192 * ch}]";
                k.L($"xor.b32 ca, rowa, {j << 4};");
                if (Epilogue.Addend) k.L($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{g0, g1, g2, g3}}, {at};");
                for (int h = 0; h < 4; h++)
                {
                    int a = (ch * 8 + j) * 4 + 2 * h, column = j + h / 2;
                    k.L(Epilogue.Bias
                        ? $"fma.rn.f32 ex, {acc[a]}, alpha, {b[2 * column]}; fma.rn.f32 ey, {acc[a + 1]}, alpha, {b[2 * column + 1]};"
                        : $"mul.f32 ex, {acc[a]}, alpha; mul.f32 ey, {acc[a + 1]}, alpha;");
                    if (Epilogue.Addend)
                    {
                        k.Unpack(Epilogue.Out, $"g{h}", "eu", "ev");
                        k.L("add.f32 ex, ex, eu; add.f32 ey, ey, ev;");
                    }
                    k.Pack(Epilogue.Out, $"h{h}", "ex", "ey");
                }
                k.L($"stmatrix.sync.aligned.m8n8.x4.shared.b16 {at}, {{h0, h1, h2, h3}};");
            }
        }
        k.L("fence.proxy.async.shared::cta; bar.sync wgbar, 128; @!el bra STORED;");
        for (int ch = 0; ch < Chunks; ch++)
            k.L($"add.u32 x, n0, {64 * ch}; add.u32 y, cb, {8192 * ch}; cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [mapC, {{x, mrow}}], [y];");
        k.L("cp.async.bulk.commit_group;\nSTORED:");
    }
}
