using LoraNet.Cuda.Driver;

namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// y[M,N] = alpha * (x[M,K] W[N,K]ᵀ + P[M,R] L[N,R]ᵀ) + bias + addend for one or two rows: decoding, bound by reading W once.
/// A block owns <see cref="Columns"/> rows of W; its four warps share K in 16-byte units, each lane keeping M x Columns sums, reduced at the end in a fixed order.
/// Several matrices with the same x (query, key and value; gate and up) are one launch, their blocks one after the other.
/// Needs K, R and the pitches of x, W, P, L in units of 8 elements.
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="M">Rows, 1 or 2 (more rows: <see cref="GemmFewRowsSpec"/>).</param>
/// <param name="LowRank">Whether a second product is added (one matrix only).</param>
/// <param name="Epilogue">What happens to the sums.</param>
internal sealed record GemvSpec(PtxArch Arch, int M, bool LowRank, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Matrices, 1 to <see cref="MaxParts"/>; those after the first have own W, C, bias and N.</summary>
    public int Parts { get; init; } = 1;

    /// <summary>Whether the first steps' weights are fetched before earlier kernels are complete (<see cref="KernelOverlap"/>): no kernel may
    /// have written them.</summary>
    public bool Early { get; init; }

    /// <summary>Most matrices of a launch.</summary>
    public const int MaxParts = 3;

    /// <summary>Most rows of x: beyond it the FMAs would cost more than the reads.</summary>
    public const int MaxRows = 2;

    /// <summary>Rows of W that one block reads.</summary>
    public const int Columns = 4;

    private const int Warps = 4;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(Arch, $"gemv{(Parts > 1 ? $"{Parts}" : "")}_m{M}{(LowRank ? "_lr" : "")}_{Epilogue.Tag}{(Early ? "_early" : "")}", Warps * 32);
        k.Param("u64", "A B P L");
        k.Param("u32", "lda ldb ldp ldl");
        GemmEpilogue.Parameters(k);
        for (int i = 1; i < Parts; i++)
        {
            k.Param("u64", $"B{i} C{i} bias{i}");
            k.Param("u32", $"N{i}");
        }
        k.LoadParameters();
        k.Reg("b32", "tid lane warp n0 kk x y sb row col klim slot");
        k.Reg("b64", "at");
        k.Reg("pred", "p ok");
        k.Reg("f32", "v w");
        if (Early) k.L(KernelOverlap.Release);
        k.L("mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; mov.u32 sb, smem; mov.u32 n0, %ctaid.x;");
        ChoosePart(k);
        k.L($"mul.lo.u32 n0, n0, {Columns};");
        string[] acc = k.Regs("f32", "acc", M * Columns);
        foreach (string a in acc) k.L($"mov.f32 {a}, 0f00000000;");
        Product(k, acc, "A", "B", "lda", "ldb", "K", 2, Early);
        if (LowRank) Product(k, acc, "P", "L", "ldp", "ldl", "R", 1, false);

        // Lanes, then warps, in a fixed order.
        k.Reg("b32", "si so");
        k.L("setp.eq.u32 p, lane, 0;");
        for (int i = 0; i < acc.Length; i++)
        {
            foreach (int step in (int[])[16, 8, 4, 2, 1]) k.L($"mov.b32 si, {acc[i]}; shfl.sync.bfly.b32 so, si, {step}, 31, 0xffffffff; mov.b32 v, so; add.f32 {acc[i]}, {acc[i]}, v;");
            k.L($"mad.lo.u32 slot, warp, {4 * acc.Length}, sb; @p st.shared.f32 [slot+{4 * i}], {acc[i]};");
        }
        k.L($"bar.sync 0; setp.ge.u32 p, tid, {acc.Length}; @p ret; mad.lo.u32 slot, tid, 4, sb; mov.f32 v, 0f00000000;");
        for (int w = 0; w < Warps; w++) k.L($"ld.shared.f32 w, [slot+{4 * acc.Length * w}]; add.f32 v, v, w;");
        k.L($"div.u32 row, tid, {Columns}; mul.lo.u32 x, row, {Columns}; sub.u32 col, tid, x; add.u32 col, col, n0; setp.lt.u32 ok, col, N;");
        Epilogue.StoreElement(k, "v", "row", "col", "ok");
        return k.Build(Warps * acc.Length * 4);
    }

    /// <summary>The block's matrix: after those of part i, n0 counts blocks from the first of part i + 1.</summary>
    private void ChoosePart(PtxWriter k)
    {
        if (Parts == 1) return;
        k.Reg("pred", "later");
        for (int i = 1; i < Parts; i++)
        {
            k.L($"add.u32 x, N, {Columns - 1}; div.u32 x, x, {Columns}; setp.ge{(i > 1 ? ".and" : "")}.u32 later, n0, x{(i > 1 ? ", later" : "")};");
            k.L($"@later sub.u32 n0, n0, x; @later mov.b64 B, B{i}; @later mov.b64 C, C{i}; @later mov.b64 bias, bias{i}; @later mov.b32 N, N{i}; @later mov.b32 ldc, N{i};");
        }
    }

    /// <summary>Adds one product; <paramref name="unroll"/> steps of 1024 k are loaded before the first is used, so that enough bytes are in flight.</summary>
    private void Product(PtxWriter k, string[] acc, string x, string w, string ldx, string ldw, string kreg, int unroll, bool early)
    {
        const int Step = Warps * 32 * 8;
        string[] wp = k.Regs("b64", "w" + w, Columns), xp = k.Regs("b64", "x" + x, M);
        k.L("shl.b32 kk, tid, 3;");
        for (int c = 0; c < Columns; c++) k.L($"add.u32 x, n0, {c}; sub.u32 y, N, 1; min.u32 x, x, y; mul.wide.u32 {wp[c]}, x, {ldw}; cvt.u64.u32 at, kk; add.u64 {wp[c]}, {wp[c]}, at; mad.lo.u64 {wp[c]}, {wp[c]}, 2, {w};");
        for (int m = 0; m < M; m++) k.L($"mov.u32 x, {m}; mul.wide.u32 {xp[m]}, x, {ldx}; cvt.u64.u32 at, kk; add.u64 {xp[m]}, {xp[m]}, at; mad.lo.u64 {xp[m]}, {xp[m]}, 2, {x};");
        string[][][] wv = [.. Enumerable.Range(0, unroll).Select(u => (string[][])[.. Enumerable.Range(0, Columns).Select(c => k.Regs("b32", $"wv{u}_{c}_", 4))])];
        string loop = k.Label("STEP"), end = k.Label("END");
        LoadWeights();
        if (early) k.L(KernelOverlap.Wait);
        k.L($"{loop}: setp.ge.u32 p, kk, {kreg}; @p bra {end};");
        string[] xv = k.Regs("b32", "xv", 4), xf = k.Regs("f32", "xf", 8), wf = k.Regs("f32", "wf", 8 * Columns);
        for (int u = 0; u < unroll; u++)
        {
            k.L($"add.u32 x, kk, {u * Step}; setp.lt.u32 ok, x, {kreg};");
            for (int c = 0; c < Columns; c++)
                for (int i = 0; i < 4; i++) k.Unpack(Epilogue.In, wv[u][c][i], wf[8 * c + 2 * i], wf[8 * c + 2 * i + 1]);
            for (int m = 0; m < M; m++)
            {
                k.L($"{string.Concat(xv.Select(r => $"mov.b32 {r}, 0; "))}@ok ld.global.v4.b32 {PtxWriter.Vec(xv)}, [{xp[m]}+{u * Step * 2}];");
                for (int i = 0; i < 4; i++) k.Unpack(Epilogue.In, xv[i], xf[2 * i], xf[2 * i + 1]);
                for (int c = 0; c < Columns; c++)
                    for (int i = 0; i < 8; i++) k.L($"fma.rn.f32 {acc[m * Columns + c]}, {xf[i]}, {wf[8 * c + i]}, {acc[m * Columns + c]};");
            }
        }
        foreach (string p in (string[])[.. wp, .. xp]) k.L($"add.u64 {p}, {p}, {unroll * Step * 2};");
        k.L($"add.u32 kk, kk, {unroll * Step};");
        LoadWeights();
        k.L($"bra {loop};\n{end}:");

        void LoadWeights()
        {
            for (int u = 0; u < unroll; u++)
            {
                k.L($"add.u32 x, kk, {u * Step}; setp.lt.u32 ok, x, {kreg};");
                for (int c = 0; c < Columns; c++)
                    k.L($"{string.Concat(wv[u][c].Select(r => $"mov.b32 {r}, 0; "))}@ok ld.global.nc.L1::no_allocate.v4.b32 {PtxWriter.Vec(wv[u][c])}, [{wp[c]}+{u * Step * 2}];");
            }
        }
    }
}
