namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// y[M,N] = alpha * (x[M,K] W[N,K]ᵀ + P[M,R] L[N,R]ᵀ) + bias + addend for one or two rows: decoding, bound by reading W once.
/// As many blocks as the card holds stay for the whole product. <see cref="Slices"/> warps share the K of a row of W, each lane a few units of
/// 16 bytes, and keep their part of x in registers; as soon as a unit is used, that of the warp's next row is asked for, so that the memory
/// never waits. Sums over lanes and then over warps are added in a fixed order.
/// Several matrices with the same x (query, key and value; gate and up) are one launch, their rows one after the other.
/// Needs K, R and the pitches of x, W, P, L in units of 8 elements.
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="M">Rows, 1 or 2 (more rows: <see cref="GemmFewRowsSpec"/>).</param>
/// <param name="LowRank">Whether a second product is added, of rank at most <see cref="MaxRank"/> (one matrix only).</param>
/// <param name="Epilogue">What happens to the sums.</param>
internal sealed record GemvSpec(PtxArch Arch, int M, bool LowRank, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Most rows of x: beyond it the FMAs would cost more than the reads.</summary>
    public const int MaxRows = 2;

    /// <summary>Most matrices of a launch.</summary>
    public const int MaxParts = 3;

    /// <summary>Largest rank: a unit of 8 for each lane.</summary>
    public const int MaxRank = 32 * Unit;

    /// <summary>Blocks that share a multiprocessor.</summary>
    public const int BlocksPerMultiprocessor = 2;

    /// <summary>Most rows of W for one warp: the sums wait in shared memory for the end.</summary>
    public const int MaxTurns = 64;

    /// <summary>Warps of a block.</summary>
    public const int Warps = 8;

    // Elements of a 16-byte unit.
    private const int Unit = 8;

    /// <summary>Matrices, 1 to <see cref="MaxParts"/>; those after the first have own W, C, bias and N.</summary>
    public int Parts { get; init; } = 1;

    /// <summary>Warps that share a row of W: 1, 2, 4 or 8.</summary>
    public int Slices { get; init; } = 1;

    /// <summary>16-byte units of W that a lane has under way.</summary>
    public int Units { get; init; } = 8;

    /// <summary>Times that all slices move along K; x stays in registers when it is once.</summary>
    public int Chunks { get; init; } = 1;

    /// <summary>The shape for a product.</summary>
    /// <param name="n">Rows of W, of all parts together.</param>
    /// <param name="k">Columns of W.</param>
    /// <param name="multiprocessors">Multiprocessors of the card.</param>
    public GemvSpec For(int n, int k, int multiprocessors)
    {
        int most = M == 1 ? 8 : 4, warps = multiprocessors * BlocksPerMultiprocessor * Warps, best = Warps;
        double bestTime = double.PositiveInfinity;
        for (int slices = 1; slices <= Warps; slices *= 2)
        {
            // A warp's rounds times what it does in each: its share of the row, and about two units' time to add up and to ask for more.
            int units = Ceil(k, slices * 32 * Unit), groups = warps / slices;
            if (units > most && slices < Warps) continue;
            double time = (double)Ceil(n, groups) * (units + 2);
            if (time >= bestTime) continue;
            (bestTime, best) = (time, slices);
        }
        int all = Ceil(k, best * 32 * Unit), chunks = Ceil(all, most);
        return this with { Slices = best, Chunks = chunks, Units = Ceil(all, chunks) };
    }

    /// <summary>Blocks to launch for <paramref name="n"/> rows of W.</summary>
    public int Blocks(int n, int multiprocessors)
    {
        int groups = Warps / Slices;
        return Math.Max(Math.Min(multiprocessors * BlocksPerMultiprocessor, Ceil(n, groups)), Ceil(n, groups * MaxTurns));
    }

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(Arch, $"gemv{(Parts > 1 ? $"{Parts}" : "")}_m{M}_s{Slices}u{Units}{(Chunks > 1 ? $"c{Chunks}" : "")}{(LowRank ? "_lr" : "")}_{Epilogue.Tag}", Warps * 32, BlocksPerMultiprocessor);
        k.Param("u64", "A B P L");
        k.Param("u32", "lda ldb ldp ldl");
        GemmEpilogue.Parameters(k);
        for (int i = 1; i < Parts; i++)
        {
            k.Param("u64", $"B{i} C{i} bias{i}");
            k.Param("u32", $"N{i}");
        }
        k.LoadParameters();
        k.Reg("b32", "tid lane warp sb slice group blocks step rid next rows kk x y turn row col slot");
        k.Reg("b64", "at base wp wn");
        k.Reg("pred", "p ok more later");
        k.Reg("f32", "v w");
        int shift = System.Numerics.BitOperations.Log2((uint)Slices);
        k.L($"mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; shfl.sync.idx.b32 warp, warp, 0, 31, 0xffffffff; mov.u32 sb, smem; and.b32 slice, warp, {Slices - 1}; shr.u32 group, warp, {shift};");
        k.L($"mov.u32 blocks, %nctaid.x; mov.u32 rid, %ctaid.x; mad.lo.u32 rid, group, blocks, rid; mul.lo.u32 step, blocks, {Warps / Slices}; mov.b32 rows, N;");
        for (int i = 1; i < Parts; i++) k.L($"add.u32 rows, rows, N{i};");
        k.L($"mad.lo.u32 kk, slice, {32 * Unit * Units}, 0; mad.lo.u32 kk, lane, {Unit}, kk; mov.b32 turn, 0;");
        Pointer(k, "wp", "rid");
        k.L("setp.lt.u32 more, rid, rows;");
        string[][] wv = [.. Enumerable.Range(0, Units).Select(u => k.Regs("b32", $"wv{u}_", 4))];
        string[][][] xv = [.. Enumerable.Range(0, M).Select(m => (string[][])[.. Enumerable.Range(0, Units).Select(u => k.Regs("b32", $"xv{m}_{u}_", 4))])];
        for (int u = 0; u < Units; u++) LoadWeights(k, wv[u], "wp", 0, u);
        if (Chunks == 1) LoadInput(k, xv, 0);
        string[][] pv = LowRank ? [.. Enumerable.Range(0, M).Select(m => k.Regs("b32", $"pv{m}_", 4))] : [];
        for (int m = 0; m < pv.Length; m++)
            k.L($"mul.lo.u32 x, lane, {Unit}; setp.lt.u32 ok, x, R; setp.eq.and.u32 ok, slice, 0, ok; mov.u32 y, {m}; mad.lo.u32 y, y, ldp, x; mad.wide.u32 at, y, 2, P; {Zero(pv[m])}@ok ld.global.v4.b32 {PtxWriter.Vec(pv[m])}, [at];");
        Rows(k, wv, xv, pv);
        Finish(k);
        return k.Build(Warps * MaxTurns * M * 4);
    }

    /// <summary>All rows of this warp; each leaves its sums in shared memory.</summary>
    private void Rows(PtxWriter k, string[][] wv, string[][][] xv, string[][] pv)
    {
        const int Chains = 4;
        string[] xf = k.Regs("f32", "xf", Unit), wf = k.Regs("f32", "wf", Unit), lv = LowRank ? k.Regs("b32", "lv", 4) : [];
        string[][] acc = [.. Enumerable.Range(0, M).Select(m => k.Regs("f32", $"acc{m}_", Chains))];
        k.Reg("b32", "si so");
        k.L("NEXT: setp.ge.u32 p, rid, rows; @p bra DONE; add.u32 next, rid, step;");
        Pointer(k, "wn", "next");
        if (LowRank) k.L($"mul.lo.u32 x, lane, {Unit}; setp.lt.u32 ok, x, R; setp.eq.and.u32 ok, slice, 0, ok; mul.wide.u32 at, rid, ldl; cvt.u64.u32 base, x; add.u64 at, at, base; mad.lo.u64 at, at, 2, L; {Zero(lv)}@ok ld.global.v4.b32 {PtxWriter.Vec(lv)}, [at];");
        foreach (string a in acc.SelectMany(static a => a)) k.L($"mov.f32 {a}, 0f00000000;");
        for (int chunk = 0; chunk < Chunks; chunk++)
        {
            bool last = chunk == Chunks - 1;
            if (Chunks > 1) LoadInput(k, xv, chunk);
            k.L(last ? "setp.lt.u32 more, next, rows;" : "setp.lt.u32 more, rid, rows;");
            for (int u = 0; u < Units; u++)
            {
                for (int i = 0; i < 4; i++) k.Unpack(Epilogue.In, wv[u][i], wf[2 * i], wf[2 * i + 1]);
                LoadWeights(k, wv[u], last ? "wn" : "wp", last ? 0 : chunk + 1, u);
                Add(xv.Select(x => x[u]));
            }
        }
        if (LowRank)
        {
            for (int i = 0; i < 4; i++) k.Unpack(Epilogue.In, lv[i], wf[2 * i], wf[2 * i + 1]);
            Add(pv);
        }
        k.L($"mad.lo.u32 slot, warp, {MaxTurns}, turn; mad.lo.u32 slot, slot, {4 * M}, sb; setp.eq.u32 p, lane, 0;");
        for (int m = 0; m < M; m++)
        {
            k.L($"add.f32 v, {acc[m][0]}, {acc[m][1]}; add.f32 w, {acc[m][2]}, {acc[m][3]}; add.f32 v, v, w;");
            foreach (int lanes in (int[])[16, 8, 4, 2, 1]) k.L($"mov.b32 si, v; shfl.sync.bfly.b32 so, si, {lanes}, 31, 0xffffffff; mov.b32 w, so; add.f32 v, v, w;");
            k.L($"@p st.shared.f32 [slot+{4 * m}], v;");
        }
        k.L("mov.b32 rid, next; mov.b64 wp, wn; add.u32 turn, turn, 1; bra NEXT;\nDONE:");

        void Add(IEnumerable<string[]> inputs)
        {
            foreach ((int m, string[] input) in inputs.Index())
            {
                for (int i = 0; i < 4; i++) k.Unpack(Epilogue.In, input[i], xf[2 * i], xf[2 * i + 1]);
                for (int i = 0; i < Unit; i++) k.L($"fma.rn.f32 {acc[m][i % Chains]}, {xf[i]}, {wf[i]}, {acc[m][i % Chains]};");
            }
        }
    }

    /// <summary>One thread a result: adds the slices and stores.</summary>
    private void Finish(PtxWriter k)
    {
        // results of the block: row rid = (turn * groups + group) * blocks + block for every turn and group
        int groups = Warps / Slices;
        if (Parts > 1)
        {
            k.Reg("b64", "C0 bias0");
            k.Reg("b32", "N0 ldc0");
            k.L("mov.b64 C0, C; mov.b64 bias0, bias; mov.b32 N0, N; mov.b32 ldc0, ldc;");
        }
        k.Reg("b32", "index");
        k.L("bar.sync 0; mov.b32 index, tid;");
        k.L($"OUT: div.u32 x, index, {M}; mul.lo.u32 row, x, {M}; sub.u32 row, index, row; div.u32 turn, x, {groups}; mul.lo.u32 group, turn, {groups}; sub.u32 group, x, group;");
        k.L("mov.u32 col, %ctaid.x; mad.lo.u32 col, x, blocks, col; setp.ge.u32 p, col, rows; @p ret;");
        k.L($"mad.lo.u32 slot, group, {Slices * MaxTurns}, turn; mad.lo.u32 slot, slot, {M}, row; mad.lo.u32 slot, slot, 4, sb; mov.f32 v, 0f00000000;");
        for (int s = 0; s < Slices; s++) k.L($"ld.shared.f32 w, [slot+{4 * M * MaxTurns * s}]; add.f32 v, v, w;");
        for (int i = 1; i < Parts; i++)
        {
            if (i == 1) k.L("mov.b64 C, C0; mov.b64 bias, bias0; mov.b32 N, N0; mov.b32 ldc, ldc0;");
            k.L($"setp.ge{(i > 1 ? ".and" : "")}.u32 later, col, N{(i > 1 ? ", later" : "")}; @later sub.u32 col, col, N; @later mov.b64 C, C{i}; @later mov.b64 bias, bias{i}; @later mov.b32 N, N{i}; @later mov.b32 ldc, N{i};");
        }
        k.L("setp.lt.u32 ok, col, N;");
        Epilogue.StoreElement(k, "v", "row", "col", "ok");
        k.L($"add.u32 index, index, {Warps * 32}; bra OUT;");
    }

    /// <summary>This lane's first element of row <paramref name="row"/> of the matrices one after the other.</summary>
    private void Pointer(PtxWriter k, string pointer, string row)
    {
        k.L($"mov.b32 x, {row}; mov.b64 base, B;");
        for (int i = 1; i < Parts; i++)
        {
            string n = i == 1 ? "N" : $"N{i - 1}";
            k.L($"setp.ge{(i > 1 ? ".and" : "")}.u32 later, x, {n}{(i > 1 ? ", later" : "")}; @later sub.u32 x, x, {n}; @later mov.b64 base, B{i};");
        }
        k.L($"mul.wide.u32 {pointer}, x, ldb; cvt.u64.u32 at, kk; add.u64 {pointer}, {pointer}, at; mad.lo.u64 {pointer}, {pointer}, 2, base;");
    }

    /// <summary>One unit of W where the predicate more is true and K has it.</summary>
    private void LoadWeights(PtxWriter k, string[] values, string pointer, int chunk, int unit)
    {
        int offset = Offset(chunk, unit);
        k.L($"add.u32 x, kk, {offset}; setp.lt.and.u32 ok, x, K, more; {Zero(values)}@ok ld.global.nc.L1::no_allocate.v4.b32 {PtxWriter.Vec(values)}, [{pointer}+{2 * offset}];");
    }

    private void LoadInput(PtxWriter k, string[][][] xv, int chunk)
    {
        for (int m = 0; m < M; m++)
        {
            k.L($"mov.u32 x, {m}; mul.wide.u32 base, x, lda; cvt.u64.u32 at, kk; add.u64 base, base, at; mad.lo.u64 base, base, 2, A;");
            for (int u = 0; u < Units; u++)
            {
                int offset = Offset(chunk, u);
                k.L($"add.u32 x, kk, {offset}; setp.lt.u32 ok, x, K; {Zero(xv[m][u])}@ok ld.global.v4.b32 {PtxWriter.Vec(xv[m][u])}, [base+{2 * offset}];");
            }
        }
    }

    private int Offset(int chunk, int unit) => chunk * Slices * Units * 32 * Unit + unit * 32 * Unit;

    private static string Zero(string[] registers) => string.Concat(registers.Select(r => $"mov.b32 {r}, 0; "));

    private static int Ceil(int a, int b) => (a + b - 1) / b;
}
