namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Causal grouped-query attention over packed segments with mma.sync (sm_75 and later), head size a multiple of 16 up to 256,
/// with optional sliding window and logit soft cap. One block works on one (tile, head); see <see cref="AttentionTiles"/> for the tile list.
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="Pass">Which of the three kernels.</param>
/// <param name="Type">BF16, or F16 (the only type on sm_75).</param>
/// <param name="D">Head size.</param>
/// <param name="Window">Whether keys at a distance of window or more are hidden.</param>
/// <param name="SoftCap">Whether logits are cap * tanh(logit / cap).</param>
internal sealed record AttentionMmaSpec(PtxArch Arch, AttentionPass Pass, PtxType Type, int D, bool Window, bool SoftCap) : IKernelSpec
{
    /// <summary>Rows, loop rows and warps of the first shape that fits the card.</summary>
    private (int RowTiles, int Loop, int Warps) Shape => Shapes().FirstOrDefault(s => SharedBytes(s) <= Arch.SharedBytes());

    /// <summary>Rows of the tile that a block owns: queries, or keys in the key gradient.</summary>
    public int TileRows => 16 * Shape.RowTiles * Shape.Warps;

    /// <summary>Blocks that share a key tile's columns in the key gradient (two for d above 128: the accumulators of one would not fit).</summary>
    public int Parts => Pass == AttentionPass.KeyGradient && D > 128 ? 2 : 1;

    /// <summary>Whether this card and head size have such a kernel.</summary>
    public bool Supported => D is >= 16 and <= 256 && D % 16 == 0 && Shape.Warps > 0 && (Type == PtxType.F16 || (Type == PtxType.BF16 && Arch.IsAmpere()));

    private int Pitch => 2 * D + 16;

    private IEnumerable<(int RowTiles, int Loop, int Warps)> Shapes()
    {
        // Two row tiles a warp halve the reads of the other operand; the accumulators then need d <= 128.
        if (D <= 128 && Pass == AttentionPass.Forward) yield return (2, 64, 4);
        if (D <= 64 && Pass == AttentionPass.QueryGradient && !SoftCap) yield return (2, 64, 4);
        if (D <= 128 && Pass != AttentionPass.KeyGradient && !SoftCap) yield return (2, 32, 4);
        if (D <= 128) yield return (1, 64, 4);
        yield return (1, 32, 4);
        yield return (1, 16, 4);
        yield return (1, 16, 2);
    }

    private int SharedBytes((int RowTiles, int Loop, int Warps) s) =>
        Pitch * ((Pass == AttentionPass.Forward ? 1 : 2) * 16 * s.RowTiles * s.Warps + 4 * s.Loop) + (Pass == AttentionPass.KeyGradient ? 16 * s.Loop : 0);

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        if (!Supported) throw new NotSupportedException($"No {Pass} attention kernel for head size {D} of {Type} on {Arch}.");
        (int rowTiles, int loop, int warps) = Shape;
        string name = Pass switch { AttentionPass.Forward => "fwd", AttentionPass.QueryGradient => "dq", _ => "dkv" };
        PtxWriter k = new(Arch, $"attn_mma_{name}_{Type.Name()}_d{D}{(Window ? "_window" : "")}{(SoftCap ? "_cap" : "")}", 32 * warps, rowTiles == 2 ? 2 : 1);
        k.Param("u64", "Q K V O G lse delta X Y list");
        k.Param("u32", "ldq ldk ldv ldo ldg ldx ldy lseld group heads window");
        k.Param("f32", "scale cap");
        k.LoadParameters();
        k.Reg("b32", "tid lane warp sb lt lg head kvh row0 kstart rend shift x y item ldqBytes ldkBytes ldvBytes ldoBytes ldgBytes ldxBytes ldyBytes");
        k.Reg("b64", "at");
        k.Reg("pred", "p lane0");
        k.Reg("f32", "c capk lscale zero");
        k.L("mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; mov.u32 sb, smem; and.b32 lt, lane, 3; shr.u32 lg, lane, 2; setp.eq.u32 lane0, lt, 0; mov.f32 zero, 0f00000000;");
        k.L("mov.u32 item, %ctaid.y; mad.wide.u32 at, item, 16, list; ld.global.nc.v4.u32 {row0, kstart, rend, shift}, [at];");
        foreach (string ld in (string[])["ldq", "ldk", "ldv", "ldo", "ldg", "ldx", "ldy"]) k.L($"shl.b32 {ld}Bytes, {ld}, 1;");
        // With a soft cap the scores become logits before the softmax, so its base-2 factor is log2(e) alone.
        if (SoftCap) k.L($"div.rn.f32 capk, scale, cap; mul.f32 capk, capk, {PtxWriter.F32(2 * 1.44269504f)}; mov.f32 c, {AttentionMath.Log2E}; mov.f32 lscale, 0f3F800000;");
        else k.L($"mul.f32 c, scale, {AttentionMath.Log2E}; mov.f32 lscale, scale;");
        MmaTile tile = new(k, Type, D);
        tile.CopySetup();
        switch (Pass)
        {
            case AttentionPass.Forward: AttentionMmaForward.Write(k, tile, this, rowTiles, loop); break;
            case AttentionPass.QueryGradient: AttentionMmaQueryGradient.Write(k, tile, this, rowTiles, loop); break;
            default: AttentionMmaKeyGradient.Write(k, tile, this, loop); break;
        }
        return k.Build(SharedBytes(Shape));
    }

    /// <summary>Points a register at a head's first column, plus this thread's copy offset.</summary>
    public void HeadPointer(PtxWriter k, string register, string matrix, string head)
    {
        k.Reg("b64", register);
        k.L($"mad.lo.u32 x, {head}, {2 * D}, cu_u; cvt.u64.u32 {register}, x; add.u64 {register}, {register}, {matrix};");
    }

    /// <summary>Masks the scores of the loop tile at keys kv .. kv + loop - 1 against the block's query rows (row: key index of the query itself).</summary>
    public void MaskQueries(PtxWriter k, string[] s, int blocks, string[] row, int loop)
    {
        k.Reg("b32", "mcol");
        string causal = k.Label("NOCAUSAL"), window = k.Label("NOWINDOW");
        k.L($"shl.b32 mcol, lt, 1; add.u32 mcol, mcol, kv; add.u32 x, row0, shift; add.u32 y, kv, {loop - 1}; setp.le.u32 p, y, x; @p bra {causal};");
        AttentionMath.MaskCausal(k, s, blocks, row, "mcol", false);
        k.L($"{causal}:");
        if (!Window) return;
        k.L($"add.u32 x, row0, shift; add.u32 x, x, {TileRows - 1}; sub.s32 x, x, window; setp.lt.s32 p, x, kv; @p bra {window};");
        AttentionMath.MaskWindow(k, s, blocks, row, "mcol", "window", false);
        k.L($"{window}:");
    }

    /// <summary>kv = first key of the block's loop, kend = one past the last: the keys that its rows see.</summary>
    public void KeyRange(PtxWriter k)
    {
        k.Reg("b32", "kv kend klimit");
        k.L($"add.u32 kend, row0, {TileRows}; min.u32 kend, kend, rend; add.u32 kend, kend, shift; add.u32 klimit, rend, shift; mov.u32 kv, kstart;");
        if (Window) k.L("add.u32 x, row0, shift; sub.s32 x, x, window; add.s32 x, x, 1; max.s32 kv, x, kstart;");
    }

    /// <summary>Registers with the matrix row of each fragment row tile, plus an offset register.</summary>
    public static string[] Rows(PtxWriter k, string name, int rowTiles, string? offset)
    {
        string[] row = k.Regs("b32", name, rowTiles);
        for (int i = 0; i < rowTiles; i++)
        {
            k.L($"mad.lo.u32 {row[i]}, warp, {16 * rowTiles}, lg; add.u32 {row[i]}, {row[i]}, row0; add.u32 {row[i]}, {row[i]}, {16 * i};");
            if (offset is not null) k.L($"add.u32 {row[i]}, {row[i]}, {offset};");
        }
        return row;
    }

    /// <summary>column = byte offset of this lane's first pair of a head, from column block first on.</summary>
    public void PairColumn(PtxWriter k, string column, string head, string? first = null)
    {
        k.Reg("b64", column);
        k.L($"mul.lo.u32 x, {head}, {D}; shl.b32 y, lt, 1; add.u32 x, x, y; {(first is null ? "" : $"add.u32 x, x, {first};")} shl.b32 x, x, 1; cvt.u64.u32 {column}, x;");
    }
}
