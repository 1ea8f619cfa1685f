namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// What the wgmma attention kernels share: shared-memory layout, barriers, the walk over items, loads and products.
/// A tile of rows x d lies as d/64 chunks of [rows][64] with the 128-byte swizzle; the block's own tiles as one such group per warpgroup of 64 rows.
/// Every tile is loaded once and read along K or across K by the descriptor alone.
/// </summary>
internal sealed class AttentionWgmma(PtxWriter k, AttentionWgmmaSpec spec)
{
    private readonly Dictionary<string, int> _barrierAt = [];
    private readonly List<(int Offset, int Arrivals)> _barriers = [];
    private int _used;

    /// <summary>Reserves bytes at a multiple of 1024.</summary>
    public int Allocate(int bytes)
    {
        int at = _used;
        _used += (bytes + 1023) / 1024 * 1024;
        return at;
    }

    /// <summary>Reserves <paramref name="count"/> barriers; after all tiles are allocated.</summary>
    public void Barriers(string name, int count, int arrivals)
    {
        _barrierAt[name] = _used;
        for (int i = 0; i < count; i++, _used += 8) _barriers.Add((_used, arrivals));
    }

    /// <summary>Dynamic shared memory, with room to align its start.</summary>
    public int SharedBytes => _used + 1024;

    /// <summary>Writes the kernel's start: parameters, threads, barriers, the item counter.</summary>
    public void Start()
    {
        k.LoadParameters();
        k.Reg("b32", "x y lt lg tw head kvh cta ncta round total idx tile row0 kstart rend shift wb bar td tc tr wgbar par");
        k.Reg("b64", "at wda wdb");
        k.Reg("pred", "p el lane0 never");
        Hopper.Threads(k);
        k.L("mov.u32 cta, %ctaid.x; mov.u32 ncta, %nctaid.x; mul.lo.u32 total, tiles, heads; mov.u32 round, 0; setp.ne.u32 never, 0, 0; and.b32 lt, lane, 3; shr.u32 lg, lane, 2; setp.eq.u32 lane0, lt, 0;");
        Hopper.InitBarriers(k, _barriers);
    }

    /// <summary>Splits off the consumers and lowers the producer's registers.</summary>
    public void Producer() => k.L($"setp.ne.u32 p, wg, 0; @p bra CONSUMER; setmaxnreg.dec.sync.aligned.u32 {(spec.Consumers == 2 ? 24 : 32)};");

    /// <summary>Starts the consumer branch.</summary>
    public void Consumer() => k.L($"CONSUMER: setmaxnreg.inc.sync.aligned.u32 {(spec.Consumers == 2 ? 240 : 160)}; sub.u32 wg, wg, 1; and.b32 tw, tid, 127; setp.eq.u32 el, tw, 0; and.b32 warp, warp, 3;");

    /// <summary>The next item: rounds alternate direction over the sorted list, which evens out the blocks' work without atomics.</summary>
    public void Next(string label, string end) => k.L($$"""
        {{label}}: and.b32 x, round, 1; setp.ne.u32 p, x, 0; sub.u32 y, ncta, cta; sub.u32 y, y, 1; selp.b32 y, y, cta, p; mad.lo.u32 idx, round, ncta, y; add.u32 round, round, 1; setp.ge.u32 p, idx, total; @p bra {{end}};
        div.u32 tile, idx, heads; mul.lo.u32 x, tile, heads; sub.u32 head, idx, x; mad.wide.u32 at, tile, 16, list; ld.global.nc.v4.u32 {row0, kstart, rend, shift}, [at];
        """);

    /// <summary>nkv = loop tiles that the block's rows see.</summary>
    public void KeyTiles()
    {
        k.Reg("b32", "nkv");
        k.L($"add.u32 nkv, row0, {spec.TileRows}; min.u32 nkv, nkv, rend; sub.u32 nkv, nkv, kstart; add.u32 nkv, nkv, {spec.Loop - 1}; shr.u32 nkv, nkv, {spec.LoopShift};");
    }

    /// <summary>wrow = this warpgroup's first row, qrow0 = this lane's; nw = loop tiles that the warpgroup itself sees (at least 1).</summary>
    public string[] Rows(bool count)
    {
        string[] row = k.Regs("b32", "qrow", 1);
        k.Reg("b32", "wrow nw");
        k.L($"shl.b32 x, wg, 6; add.u32 wrow, row0, x; shl.b32 x, warp, 4; add.u32 {row[0]}, wrow, x; add.u32 {row[0]}, {row[0]}, lg;");
        if (count) k.L($"add.u32 nw, wrow, 64; min.u32 nw, nw, rend; sub.u32 nw, nw, kstart; add.u32 nw, nw, {spec.Loop - 1}; shr.u32 nw, nw, {spec.LoopShift}; setp.ge.u32 p, wrow, rend; selp.b32 nw, 1, nw, p;");
        return row;
    }

    /// <summary>Waits for a barrier of a ring.</summary>
    public void Wait(string name, string stage, string parity)
    {
        k.L($"shl.b32 wb, {stage}, 3; add.u32 wb, wb, sb;");
        Hopper.Wait(k, $"wb+{_barrierAt[name]}", parity);
    }

    /// <summary>Waits for the consumers to free a stage (the opposite parity of its filling).</summary>
    public void WaitFree(string name, string stage, string phase)
    {
        k.L($"xor.b32 par, {phase}, 1;");
        Wait(name, stage, "par");
    }

    /// <summary>Arrives on a barrier of a ring.</summary>
    public void Arrive(string name, string stage, string guard = "@el ") => k.L($"shl.b32 wb, {stage}, 3; add.u32 wb, wb, sb; {guard}mbarrier.arrive.shared::cta.b64 _, [wb+{_barrierAt[name]}];");

    /// <summary>bar = the ring's barrier; announces bytes.</summary>
    public void Expect(string name, string stage, int bytes)
    {
        k.L($"shl.b32 wb, {stage}, 3; add.u32 bar, wb, sb; add.u32 bar, bar, {_barrierAt[name]};");
        Hopper.Expect(k, "bar", bytes);
    }

    /// <summary>
    /// A barrier of this warpgroup alone. One thread may release a stage for all only after a wgmma wait, which every warp takes part in, or after this:
    /// otherwise a slow warp can miss the phase it waits for once the producer has refilled the stage.
    /// </summary>
    public void WarpgroupBarrier() => k.L("add.u32 wgbar, wg, 1; bar.sync wgbar, 128;");

    /// <summary>Loads the block's own rows: a group of d/64 chunks of 64 rows for each warpgroup.</summary>
    public void LoadOwn(string map, string address, string column)
    {
        for (int b = 0; b < spec.Consumers; b++)
            for (int c = 0; c < spec.D / 64; c++)
            {
                k.L($"add.u32 td, {address}, {(b * (spec.D / 64) + c) * 8192}; add.u32 tc, {column}, {64 * c}; add.u32 tr, row0, {64 * b};");
                Hopper.Load(k, "td", map, "tc", "tr", "bar");
            }
    }

    /// <summary>Loads one loop tile.</summary>
    public void LoadLoop(string map, string address, string column, string row)
    {
        for (int c = 0; c < spec.D / 64; c++)
        {
            k.L($"add.u32 td, {address}, {c * spec.Loop * 128}; add.u32 tc, {column}, {64 * c};");
            Hopper.Load(k, "td", map, "tc", row, "bar");
        }
    }

    /// <summary>descriptor = first stage's descriptor + stage * bytes.</summary>
    public void StageDescriptor(string descriptor, string first, string stage, int bytes)
    {
        k.Reg("b64", descriptor);
        k.L($"mul.wide.u32 {descriptor}, {stage}, {bytes >> 4}; add.u64 {descriptor}, {descriptor}, {first};");
    }

    /// <summary>Issues acc[64][loop] = own[64][d] · loop tileᵀ as one group.</summary>
    public void Scores(string[] acc, string own, string loop)
    {
        string vec = PtxWriter.Vec(acc);
        for (int kk = 0; kk < spec.D / 16; kk++)
        {
            k.L($"add.u64 wda, {own}, {kk / 4 * 512 + kk % 4 * 2}; add.u64 wdb, {loop}, {kk / 4 * (spec.Loop * 8) + kk % 4 * 2};");
            Hopper.Wgmma(k, spec.Type, spec.Loop, vec, "wda", "wdb", kk == 0 ? "never" : "1", false, false);
        }
        Hopper.Commit(k);
    }

    /// <summary>Issues acc[64][d] += fragments[64][loop] · loop tile[loop][d] as one group.</summary>
    public void Accumulate(string[] acc, string[] fragments, string loop)
    {
        string vec = PtxWriter.Vec(acc);
        for (int kk = 0; kk < spec.Loop / 16; kk++)
        {
            k.L($"add.u64 wdb, {loop}, {128 * kk};");
            Hopper.WgmmaRegister(k, spec.Type, spec.D, vec, PtxWriter.Vec(fragments.AsSpan(4 * kk, 4).ToArray()), "wdb", true);
        }
        Hopper.Commit(k);
    }

    /// <summary>Descriptor of this warpgroup's part of the block's own tile at an offset, into a 64-bit register.</summary>
    public void OwnDescriptor(string descriptor, int offset)
    {
        k.L($"mad.lo.u32 y, wg, {128 * spec.D}, sb; add.u32 y, y, {offset};");
        Hopper.Descriptor(k, descriptor, "y", Hopper.AlongK);
    }

    /// <summary>Descriptor of the first loop tile at an offset, read along d (for scores) or across (for outputs).</summary>
    public void LoopDescriptor(string descriptor, int offset, bool along)
    {
        k.L($"add.u32 y, sb, {offset};");
        Hopper.Descriptor(k, descriptor, "y", along ? Hopper.AlongK : Hopper.AcrossK(spec.Loop));
    }

    /// <summary>column = byte offset of this lane's first pair of a head.</summary>
    public void PairColumn(string column)
    {
        k.Reg("b64", column);
        k.L($"mul.lo.u32 x, head, {spec.D}; shl.b32 y, lt, 1; add.u32 x, x, y; shl.b32 x, x, 1; cvt.u64.u32 {column}, x;");
    }
}
