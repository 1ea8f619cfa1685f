using System.Numerics;

namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// Tensor-core GEMM with mma.sync: one tile a block, four warps in a 2 x 2 grid, two shared-memory stages filled by cp.async
/// (sm_75: through registers). 16-byte unit u of shared-memory row q sits at u ^ (q % 8), so that ldmatrix has no bank conflicts and a copied line fills one aligned
/// 128-byte row (padding instead would split it over two, at a quarter to half of the speed). On sm_75, with its 64-byte rows, padding by one unit does. The low-rank product continues in the same accumulators as further k-tiles.
/// F32 operands are rounded to TF32 (10 bits of fraction, nearest, ties away from zero) on their way into the tensor cores, sm_80 and newer: a unit is then four elements, a k-tile 32 deep. Along K the bytes
/// lie as with 16-bit elements and ldmatrix serves them too; across K, where it cannot transpose 32-bit elements, single words are read and unit u of row q sits at u ^ 2 (q % 4).
/// </summary>
/// <param name="Arch">Target.</param>
/// <param name="Layout">Operand layout.</param>
/// <param name="TileM">64 or 128.</param>
/// <param name="TileN">64 or 128.</param>
/// <param name="LowRank">Whether a second product P L is added.</param>
/// <param name="Epilogue">What happens to the sums; In = F32 computes in TF32.</param>
/// <param name="Ragged">On sm_75: extents that its whole 16-byte units do not divide, whose rests are masked in registers. Other targets need no such thing.</param>
internal sealed record GemmMmaSpec(PtxArch Arch, GemmLayout Layout, int TileM, int TileN, bool LowRank, GemmEpilogue Epilogue, bool Ragged = false) : IKernelSpec
{
    private const int Threads = 128;

    private bool Tf32 => Epilogue.In == PtxType.F32;

    private int Size => Epilogue.In.Bytes();

    private int SizeLog => Tf32 ? 2 : 1;

    /// <summary>Elements of a 16-byte unit.</summary>
    private int Unit => 16 / Size;

    /// <summary>Depth of one k-tile: 128 bytes, on sm_75 64.</summary>
    public int TileK => Arch.IsAmpere() ? 128 / Size : 32;

    private bool AlongK(bool a) => a ? Layout != GemmLayout.TN : Layout == GemmLayout.NT;

    private bool Swizzled => Arch.IsAmpere();

    private int Pitch(bool a) => (AlongK(a) ? TileK : a ? TileM : TileN) * Size + (Swizzled ? 0 : 16);

    private int Bytes(bool a) => Pitch(a) * (AlongK(a) ? (a ? TileM : TileN) : TileK);

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        if (Tf32 && !Arch.IsAmpere()) throw new NotSupportedException("sm_75 tensor cores do not take TF32.");
        int stage = Bytes(true) + Bytes(false), rowTiles = TileM / 32, blocks = TileN / 16;
        PtxWriter k = new(Arch, $"gemm_{(Tf32 ? "tf32" : "mma")}_{Layout.ToString().ToLowerInvariant()}_{TileM}x{TileN}{(LowRank ? "_lr" : "")}{(Ragged ? "_ragged" : "")}_{Epilogue.Tag}", Threads, 2);
        k.Param("u64", "A B P L");
        k.Param("u32", "lda ldb ldp ldl");
        GemmEpilogue.Parameters(k);
        k.LoadParameters();
        k.Reg("b32", "tid lane warp sb split kt1 kend kt lt so so2 wm wn x y abase bbase arow ecol");
        k.Reg("pred", "more");
        k.L($"mov.u32 tid, %tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5; mov.u32 sb, smem; mov.u32 split, %ctaid.y;");
        GemmRaster.Count(k, TileM, TileN);
        k.Reg("b32", "t");
        k.L("mov.u32 t, %ctaid.x;");
        GemmRaster.Decode(k, TileM, TileN);
        k.L($"add.u32 kt1, K, {TileK - 1}; div.u32 kt1, kt1, {TileK}; mov.u32 kend, kt1;");
        if (LowRank) k.L($"add.u32 x, R, {TileK - 1}; div.u32 x, x, {TileK}; add.u32 kend, kend, x;");
        k.L("mul.lo.u32 kt, split, ktps; add.u32 x, kt, ktps; min.u32 kend, kend, x;");

        CopySetup(k, true);
        CopySetup(k, false);
        string[] acc = k.Regs("f32", "acc", rowTiles * blocks * 4);
        foreach (string c in acc) k.L($"mov.f32 {c}, 0f00000000;");
        k.L("mov.u32 so, 0; mov.u32 lt, kt;");
        List<string> pending = [];
        Copy(k, "so", pending);
        foreach (string store in pending) k.L(store);
        if (Arch.IsAmpere()) k.L("cp.async.commit_group;");
        FragmentAddress(k, true, "abase", rowTiles * 16);
        FragmentAddress(k, false, "bbase", blocks * 8);

        k.L("LOOP:");
        k.L(Arch.IsAmpere() ? "cp.async.wait_group 0; bar.sync 0;" : "bar.sync 0;");
        k.L($"add.u32 lt, kt, 1; setp.lt.u32 more, lt, kend; sub.u32 so2, {stage}, so; @!more bra NOCOPY;");
        pending.Clear();
        Copy(k, "so2", pending);
        k.L("NOCOPY:");
        if (Arch.IsAmpere()) k.L("cp.async.commit_group;");
        Multiply(k, acc, rowTiles, blocks);
        if (pending.Count > 0)
        {
            k.L("@!more bra NOSTORE;");
            foreach (string store in pending) k.L(store);
            k.L("NOSTORE:");
        }
        k.L("mov.u32 so, so2; mov.u32 kt, lt; @more bra LOOP;");

        k.L("shr.u32 x, lane, 2; add.u32 arow, x, m0; add.u32 arow, arow, wm; and.b32 y, lane, 3; shl.b32 y, y, 1; add.u32 ecol, y, n0; add.u32 ecol, ecol, wn;");
        Epilogue.StoreDirect(k, acc, rowTiles, blocks, "arow", "ecol");
        return k.Build(2 * stage);
    }

    /// <summary>Where this thread's 16-byte units of an operand tile lie; rows past the matrix are clamped to its last row, since they are never stored.</summary>
    private void CopySetup(PtxWriter k, bool a)
    {
        string o = a ? "a" : "b", extent = a ? "M" : "N", origin = a ? "m0" : "n0";
        int units = (AlongK(a) ? TileK : a ? TileM : TileN) / Unit;
        k.Reg("b32", $"{o}u {o}r {o}d {o}csz");
        // Rows a copy's passes apart share the bits that choose a unit's place.
        string place = !Swizzled ? $"shl.b32 x, {o}u, 4;" : Tf32 && !AlongK(a) ? $"and.b32 x, {o}r, 3; shl.b32 x, x, 1; xor.b32 x, x, {o}u; shl.b32 x, x, 4;" : $"and.b32 x, {o}r, 7; xor.b32 x, x, {o}u; shl.b32 x, x, 4;";
        k.L($"and.b32 {o}u, tid, {units - 1}; shr.u32 {o}r, tid, {BitOperations.Log2((uint)units)}; {place} mad.lo.u32 {o}d, {o}r, {Pitch(a)}, x; add.u32 {o}d, {o}d, sb; shl.b32 {o}u, {o}u, {BitOperations.Log2((uint)Unit)};");
        if (!a) k.L($"add.u32 {o}d, {o}d, {Bytes(true)};");
        k.L(AlongK(a)
            ? $"add.u32 {o}r, {o}r, {origin};"
            : $"add.u32 {o}u, {o}u, {origin}; sub.s32 x, {extent}, {o}u; shl.b32 x, x, {SizeLog}; max.s32 x, x, 0; min.s32 {o}csz, x, 16;");
        if (Ragged && !AlongK(a)) Masks(k, o, $"{o}csz");
    }

    /// <summary>Masks that keep the first <paramref name="size"/> bytes of a unit in four registers.</summary>
    private static void Masks(PtxWriter k, string o, string size)
    {
        string[] masks = k.Regs("b32", $"mask{o}", 4);
        // Shifts by 32 and more give 0, so that a whole word gets all bits.
        for (int i = 0; i < masks.Length; i++) k.L($"sub.s32 x, {size}, {4 * i}; max.s32 x, x, 0; min.s32 x, x, 4; shl.b32 x, x, 3; mov.u32 y, 1; shl.b32 y, y, x; sub.u32 {masks[i]}, y, 1;");
    }

    /// <summary>Starts the copy of k-tile <c>lt</c> into the stage at offset <paramref name="stage"/>; on sm_75 the shared-memory stores are left in <paramref name="pending"/>.</summary>
    private void Copy(PtxWriter k, string stage, List<string> pending)
    {
        k.Reg("b64", "cpA cpB cpx cpy");
        k.Reg("b32", "cplda cpldb cplim cpk cpr cpsz cpd");
        k.Reg("pred", "cpp");
        if (LowRank)
            k.L($"setp.ge.u32 cpp, lt, kt1; selp.b64 cpA, P, A, cpp; selp.b64 cpB, L, B, cpp; selp.b32 cplda, ldp, lda, cpp; selp.b32 cpldb, ldl, ldb, cpp; selp.b32 cplim, R, K, cpp; sub.u32 cpk, lt, kt1; selp.b32 cpk, cpk, lt, cpp; mul.lo.u32 cpk, cpk, {TileK};");
        else k.L($"mov.b64 cpA, A; mov.b64 cpB, B; mov.b32 cplda, lda; mov.b32 cpldb, ldb; mov.b32 cplim, K; mul.lo.u32 cpk, lt, {TileK};");
        k.L($"shl.b32 cplda, cplda, {SizeLog}; shl.b32 cpldb, cpldb, {SizeLog};");
        foreach (bool a in (bool[])[true, false])
        {
            string o = a ? "a" : "b", from = a ? "cpA" : "cpB", ld = a ? "cplda" : "cpldb", extent = a ? "M" : "N";
            int units = (AlongK(a) ? TileK : a ? TileM : TileN) / Unit, step = Threads / units, passes = (AlongK(a) ? (a ? TileM : TileN) : TileK) / step;
            k.L($"add.u32 cpd, {o}d, {stage};");
            if (AlongK(a)) k.L($"add.u32 cpr, cpk, {o}u; mad.wide.u32 cpx, cpr, {Size}, {from}; sub.s32 cpsz, cplim, cpr; shl.b32 cpsz, cpsz, {SizeLog}; max.s32 cpsz, cpsz, 0; min.s32 cpsz, cpsz, 16;");
            else k.L($"mad.wide.u32 cpx, {o}u, {Size}, {from};");
            if (Ragged && AlongK(a)) Masks(k, o, "cpsz");
            for (int i = 0; i < passes; i++)
            {
                if (AlongK(a)) k.L($"add.u32 cpr, {o}r, {i * step}; sub.u32 x, {extent}, 1; min.u32 cpr, cpr, x;");
                else k.L($"add.u32 cpr, {o}r, {i * step}; add.u32 cpr, cpr, cpk; setp.lt.u32 cpp, cpr, cplim; selp.b32 cpsz, {o}csz, 0, cpp;");
                k.L($"mad.wide.u32 cpy, cpr, {ld}, cpx;");
                int at = i * step * Pitch(a);
                if (Arch.IsAmpere()) k.L($"cp.async.cg.shared.global [cpd+{at}], [cpy], 16, cpsz;");
                else
                {
                    string[] v = k.Regs("b32", $"cv{o}{i}_", 4);
                    k.Reg("b32", $"cpd{o}");
                    if (i == 0) k.L($"mov.b32 cpd{o}, cpd;");
                    k.L($"{(Ragged ? "setp.gt.s32 cpp, cpsz, 0;" : "setp.eq.s32 cpp, cpsz, 16;")} {string.Concat(v.Select(r => $"mov.b32 {r}, 0; "))}@cpp ld.global.nc.v4.b32 {PtxWriter.Vec(v)}, [cpy];");
                    if (Ragged)
                        for (int w = 0; w < v.Length; w++) k.L($"and.b32 {v[w]}, {v[w]}, mask{o}{w};");
                    pending.Add($"st.shared.v4.b32 [cpd{o}+{at}], {PtxWriter.Vec(v)};");
                }
            }
        }
    }

    /// <summary>The ldmatrix address of this lane in an operand tile, at the warp's own rows or columns and k = 0.</summary>
    private void FragmentAddress(PtxWriter k, bool a, string address, int warpExtent)
    {
        string w = a ? "wm" : "wn";
        k.L(a ? $"and.b32 x, warp, 1; mul.lo.u32 {w}, x, {warpExtent};" : $"shr.u32 x, warp, 1; mul.lo.u32 {w}, x, {warpExtent};");
        if (Tf32 && !AlongK(a))
        {
            // Lane 4 g + t reads column g of each eight in rows t and t + 4, whose units are moved alike.
            k.L($"and.b32 y, lane, 3; shr.u32 x, lane, 4; mad.lo.u32 x, y, 2, x; shl.b32 x, x, 4; mad.lo.u32 {address}, y, {Pitch(a)}, x; shr.u32 x, lane, 2; and.b32 x, x, 3; mad.lo.u32 {address}, x, 4, {address}; mad.lo.u32 {address}, {w}, 4, {address}; add.u32 {address}, {address}, sb;");
            if (!a) k.L($"add.u32 {address}, {address}, {Bytes(true)};");
            return;
        }
        // Row-in-8 pattern: plain A and transposed B take rows lane % 16, unit lane / 16; plain B and transposed A rows lane % 8 + 8 * (lane / 16), unit lane / 8 % 2.
        bool low16 = a == AlongK(a);
        k.L(low16 ? "and.b32 x, lane, 15; shr.u32 y, lane, 4;" : "shr.u32 x, lane, 4; shl.b32 x, x, 3; and.b32 y, lane, 7; add.u32 x, x, y; shr.u32 y, lane, 3; and.b32 y, y, 1;");
        // A warp's row offset is a multiple of 8 and its unit offset one of 4, so neither meets the bits that steps of two units XOR in later.
        if (!AlongK(a)) k.L($"shr.u32 {address}, {w}, 3; or.b32 y, y, {address};");
        if (Swizzled) k.L($"and.b32 {address}, x, 7; xor.b32 y, y, {address};");
        k.L("shl.b32 y, y, 4;");
        if (AlongK(a)) k.L($"add.u32 x, x, {w};");
        k.L($"mad.lo.u32 {address}, x, {Pitch(a)}, y; add.u32 {address}, {address}, sb;");
        if (!a) k.L($"add.u32 {address}, {address}, {Bytes(true)};");
    }

    private void Multiply(PtxWriter k, string[] acc, int rowTiles, int blocks)
    {
        string[] fa = k.Regs("b32", "fa", rowTiles * 4), fb = k.Regs("b32", "fb", blocks * 2);
        k.L("add.u32 x, abase, so; add.u32 y, bbase, so;");
        bool wordsA = Tf32 && !AlongK(true), wordsB = Tf32 && !AlongK(false);
        if (wordsA) WordAddresses(k, true, "x");
        if (wordsB) WordAddresses(k, false, "y");
        for (int kk = 0; kk < TileK * Size / 32; kk++)
        {
            if (wordsA) Words(k, true, fa, kk, 2 * rowTiles);
            else Fragments(k, true, fa, "x", kk, rowTiles);
            if (wordsB) Words(k, false, fb, kk, blocks);
            else Fragments(k, false, fb, "y", kk, blocks / 2);
            if (Tf32)
                foreach (string f in (string[])[.. fa, .. fb]) k.L($"cvt.rna.tf32.f32 {f}, {f};");
            for (int i = 0; i < rowTiles; i++)
                for (int jj = 0; jj < blocks; jj++)
                {
                    int j = (i & 1) == 0 ? jj : blocks - 1 - jj;
                    k.Mma(Epilogue.In, acc.AsSpan((i * blocks + j) * 4, 4), fa.AsSpan(4 * i, 4), fb[2 * j], fb[2 * j + 1]);
                }
        }
    }

    /// <summary>The places of four neighbouring groups of eight columns in rows of single words; four groups on they recur 128 bytes further.</summary>
    private static void WordAddresses(PtxWriter k, bool a, string address)
    {
        string[] at = k.Regs("b32", a ? "wa" : "wb", 4);
        for (int j = 0; j < at.Length; j++) k.L($"xor.b32 {at[j]}, {address}, {32 * j};");
    }

    /// <summary>Loads fragments word by word: of each group of eight columns rows k and k + 4.</summary>
    private void Words(PtxWriter k, bool a, string[] f, int kk, int groups)
    {
        for (int j = 0; j < groups; j++)
            for (int half = 0; half < 2; half++)
            {
                // A: registers k, column g; k, column g + 8; then the same at k + 4. B: k, k + 4.
                int register = a ? 4 * (j / 2) + 2 * half + (j & 1) : 2 * j + half;
                k.L($"ld.shared.b32 {f[register]}, [{(a ? "wa" : "wb")}{j & 3}+{((8 * kk) + (4 * half)) * Pitch(a) + 128 * (j / 4)}];");
            }
    }

    private void Fragments(PtxWriter k, bool a, string[] f, string address, int kk, int count)
    {
        k.Reg("b32", "fx");
        for (int i = 0; i < count; i++)
        {
            // two 16-byte units on: the next k16 step of a row along K, the next 16 columns of a row across it
            (int units, int rows) = AlongK(a) ? (kk, i) : (i, kk);
            int at = rows * 16 * Pitch(a) + (Swizzled ? 0 : 32 * units);
            k.L($"{(Swizzled ? $"xor.b32 fx, {address}, {32 * units}; " : $"mov.b32 fx, {address}; ")}ldmatrix.sync.aligned.m8n8.x4{(AlongK(a) ? "" : ".trans")}.shared.b16 {PtxWriter.Vec(f.AsSpan(4 * i, 4).ToArray())}, [fx+{at}];");
        }
    }
}
