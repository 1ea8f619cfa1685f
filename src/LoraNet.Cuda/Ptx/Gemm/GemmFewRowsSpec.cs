namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// y[M,N] = alpha * (x[M,K] W[N,K]ᵀ + P[M,R] L[N,R]ᵀ) + bias + addend for M up to 16, bound by reading W once. Tensor cores without shared memory: a lane reads
/// 16 consecutive bytes of one row of W and of x, and since both operands permute K alike, the four registers serve as two k16 steps as they are.
/// A block owns 8 or 16 rows of W; its eight warps share K and their sums are added in a fixed order. Needs K, R and the pitches of x, W, P, L in units of 8.
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="Tall">Whether there are more than 8 rows.</param>
/// <param name="ColumnBlocks">Blocks of 8 columns, 1 or 2.</param>
/// <param name="LowRank">Whether a second product is added.</param>
/// <param name="Epilogue">What happens to the sums.</param>
internal sealed record GemmFewRowsSpec(PtxArch Arch, bool Tall, int ColumnBlocks, bool LowRank, GemmEpilogue Epilogue) : IKernelSpec
{
    /// <summary>Most rows of x.</summary>
    public const int MaxRows = 16;

    private const int Warps = 8, Unroll = 4, Step = 32 * Unroll * Warps;

    private int Rows => Tall ? 16 : 8;

    private int Sums => Rows * 8 * ColumnBlocks;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        PtxWriter k = new(Arch, $"gemm_few_{Rows}x{8 * ColumnBlocks}{(LowRank ? "_lr" : "")}_{Epilogue.Tag}", Warps * 32, 2);
        k.Param("u64", "A B P L");
        k.Param("u32", "lda ldb ldp ldl");
        GemmEpilogue.Parameters(k);
        k.LoadParameters();
        k.Reg("b32", "tid lane warp lt lg n0 kk x y sb row col slot");
        k.Reg("b64", "at");
        k.Reg("pred", "p ok");
        k.Reg("f32", "v w");
        k.L($"mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; and.b32 lt, lane, 3; shr.u32 lg, lane, 2; mov.u32 sb, smem; mov.u32 n0, %ctaid.x; mul.lo.u32 n0, n0, {8 * ColumnBlocks};");
        string[] acc = k.Regs("f32", "acc", 4 * ColumnBlocks);
        foreach (string a in acc) k.L($"mov.f32 {a}, 0f00000000;");
        Product(k, acc, "A", "B", "lda", "ldb", "K");
        if (LowRank) Product(k, acc, "P", "L", "ldp", "ldl", "R");

        // [warp][row][column] in shared memory, then one thread an element
        k.L($"mad.lo.u32 slot, warp, {4 * Sums}, sb; mad.lo.u32 slot, lg, {32 * ColumnBlocks}, slot; mad.lo.u32 slot, lt, 8, slot;");
        for (int b = 0; b < ColumnBlocks; b++)
            for (int h = 0; h < (Tall ? 2 : 1); h++)
                k.L($"st.shared.v2.f32 [slot+{32 * b + h * 8 * 32 * ColumnBlocks}], {{{acc[4 * b + 2 * h]}, {acc[4 * b + 2 * h + 1]}}};");
        k.L($"bar.sync 0; setp.ge.u32 p, tid, {Sums}; @p ret; mad.lo.u32 slot, tid, 4, sb; mov.f32 v, 0f00000000;");
        for (int i = 0; i < Warps; i++) k.L($"ld.shared.f32 w, [slot+{4 * Sums * i}]; add.f32 v, v, w;");
        k.L($"shr.u32 row, tid, {(ColumnBlocks == 1 ? 3 : 4)}; and.b32 col, tid, {8 * ColumnBlocks - 1}; add.u32 col, col, n0; setp.lt.u32 ok, row, M; setp.lt.and.u32 ok, col, N, ok;");
        Epilogue.StoreElement(k, "v", "row", "col", "ok");
        return k.Build(Warps * Sums * 4);
    }

    private void Product(PtxWriter k, string[] acc, string x, string w, string ldx, string ldw, string kreg)
    {
        string[] wp = k.Regs("b64", "w" + w, ColumnBlocks), xp = k.Regs("b64", "x" + x, Tall ? 2 : 1);
        k.Reg("b32", "nothing kw");
        // kw is the same in all lanes: the tensor-core steps need the whole warp, so the loop must not end lane by lane
        k.L($"mov.b32 nothing, 0; mul.lo.u32 kw, warp, {32 * Unroll}; shl.b32 kk, lt, 3; add.u32 kk, kk, kw;");
        for (int b = 0; b < ColumnBlocks; b++) Row(wp[b], w, ldw, $"add.u32 x, n0, lg; add.u32 x, x, {8 * b};", "N");
        for (int h = 0; h < xp.Length; h++) Row(xp[h], x, ldx, $"add.u32 x, lg, {8 * h};", "M");
        string loop = k.Label("STEP"), end = k.Label("END");
        k.L($"{loop}: setp.ge.u32 p, kw, {kreg}; @p bra {end};");
        for (int u = 0; u < Unroll; u++)
        {
            k.L($"add.u32 x, kk, {32 * u}; setp.lt.u32 ok, x, {kreg};");
            for (int b = 0; b < ColumnBlocks; b++) Load(Values("wv", u, b), wp[b], u, "L1::no_allocate.");
            for (int h = 0; h < xp.Length; h++) Load(Values("xv", u, h), xp[h], u, "");
        }
        for (int u = 0; u < Unroll; u++)
            for (int s = 0; s < 2; s++)
            {
                string[] a = Values("xv", u, 0), a8 = Tall ? Values("xv", u, 1) : ["nothing", "nothing", "nothing", "nothing"];
                for (int b = 0; b < ColumnBlocks; b++)
                {
                    string[] v = Values("wv", u, b);
                    k.Mma(Epilogue.In, acc.AsSpan(4 * b, 4), [a[2 * s], a8[2 * s], a[2 * s + 1], a8[2 * s + 1]], v[2 * s], v[2 * s + 1]);
                }
            }
        foreach (string p in (string[])[.. wp, .. xp]) k.L($"add.u64 {p}, {p}, {2 * Step};");
        k.L($"add.u32 kk, kk, {Step}; add.u32 kw, kw, {Step}; bra {loop};\n{end}:");

        // rows past the matrix are clamped: their results are never stored
        void Row(string pointer, string matrix, string ld, string index, string extent) =>
            k.L($"{index} sub.u32 y, {extent}, 1; min.u32 x, x, y; mul.wide.u32 {pointer}, x, {ld}; cvt.u64.u32 at, kk; add.u64 {pointer}, {pointer}, at; mad.lo.u64 {pointer}, {pointer}, 2, {matrix};");

        void Load(string[] v, string pointer, int u, string cache) =>
            k.L($"{string.Concat(v.Select(r => $"mov.b32 {r}, 0; "))}@ok ld.global.nc.{cache}v4.b32 {PtxWriter.Vec(v)}, [{pointer}+{64 * u}];");

        string[] Values(string name, int u, int i) => k.Regs("b32", $"{name}{u}_{i}_", 4);
    }
}
