namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// What happens to the fp32 accumulators: out = alpha * acc + bias[n] + addend[m,n], rounded once. The addend may be C itself (accumulation, beta = 1).
/// </summary>
/// <param name="In">Type of the operands and of the bias.</param>
/// <param name="Out">Type of C and of the addend.</param>
/// <param name="Bias">Whether a bias row is added.</param>
/// <param name="Addend">Whether a matrix is added.</param>
/// <param name="Split">Whether raw fp32 partial sums of one K range are written instead (reduced later in a fixed order).</param>
internal readonly record struct GemmEpilogue(PtxType In, PtxType Out, bool Bias, bool Addend, bool Split)
{
    /// <summary>Whether rows of C may begin at any element, so that two neighbours cannot be stored at once.</summary>
    public bool Single { get; init; }

    /// <summary>The type that the main kernel stores.</summary>
    public PtxType Stored => Split ? PtxType.F32 : Out;

    /// <summary>A part of the kernel's name.</summary>
    public string Tag => $"{In.Name()}_{Out.Name()}{(Bias ? "_bias" : "")}{(Addend ? "_add" : "")}{(Split ? "_split" : "")}{(Single ? "_single" : "")}";

    /// <summary>Declares the parameters that every GEMM kernel has after its operands.</summary>
    public static void Parameters(PtxWriter k)
    {
        k.Param("u64", "C bias add");
        k.Param("u32", "ldc ldadd M N K R ktps group");
        k.Param("f32", "alpha");
    }

    /// <summary>Applies the epilogue to one element (scaled here) and stores it where the predicate is true.</summary>
    public void StoreElement(PtxWriter k, string value, string row, string col, string predicate)
    {
        int size = Out.Bytes();
        k.Reg("b64", "e_c e_a");
        k.Reg("f32", "e_u");
        k.L($"mul.f32 {value}, {value}, alpha;");
        if (Bias)
        {
            k.L($"mad.wide.u32 e_a, {col}, {In.Bytes()}, bias;");
            k.LoadElement(In, "e_u", "e_a", predicate);
            k.L($"add.f32 {value}, {value}, e_u;");
        }
        if (Addend)
        {
            k.L($"mul.wide.u32 e_a, {row}, ldadd; cvt.u64.u32 e_c, {col}; add.u64 e_a, e_a, e_c; mad.lo.u64 e_a, e_a, {size}, add;");
            k.LoadElement(Out, "e_u", "e_a", predicate, "");
            k.L($"add.f32 {value}, {value}, e_u;");
        }
        k.L($"mul.wide.u32 e_a, {row}, ldc; cvt.u64.u32 e_c, {col}; add.u64 e_a, e_a, e_c; mad.lo.u64 e_a, e_a, {size}, C;");
        k.StoreElement(Out, "e_a", value, predicate);
    }

    /// <summary>
    /// Writes fragment accumulators from registers. Lane 4g+t holds in block j of row tile i: acc[4*(i*blocks+j)+0,1] = row g, columns 8j+2t, +1; [2,3] = row g+8.
    /// </summary>
    /// <param name="k">The writer; uses registers C, bias, add, ldc, ldadd, M, N, alpha, split.</param>
    /// <param name="acc">Accumulators.</param>
    /// <param name="rowTiles">Tiles of 16 rows.</param>
    /// <param name="blocks">Blocks of 8 columns.</param>
    /// <param name="row">Register with the matrix row of fragment row g.</param>
    /// <param name="col">Register with the matrix column of this lane's first element.</param>
    public void StoreDirect(PtxWriter k, string[] acc, int rowTiles, int blocks, string row, string col)
    {
        int size = Stored.Bytes();
        k.Reg("b64", "e_c e_a e_col e_bias");
        k.Reg("b32", "e_row e_left e_pack");
        k.Reg("pred", "e_rok e_pair e_one e_p0 e_p1");
        k.Reg("f32", "e_x e_y e_u e_v");
        k.L($"sub.s32 e_left, N, {col}; cvt.u64.u32 e_col, {col};");
        if (Split) k.L("mul.wide.u32 e_c, M, ldc; cvt.u64.u32 e_a, split; mul.lo.u64 e_c, e_c, e_a; shl.b64 e_c, e_c, 2; add.u64 C, C, e_c;");
        string[] b = Bias && !Split ? k.Regs("f32", "e_b", 2 * blocks) : [];
        if (b.Length > 0)
        {
            k.L($"mad.wide.u32 e_bias, {col}, {In.Bytes()}, bias;");
            for (int i = 0; i < b.Length; i++)
            {
                int offset = 8 * (i / 2) + (i & 1);
                k.L($"setp.gt.s32 e_p0, e_left, {offset};");
                k.LoadElement(In, b[i], $"e_bias+{offset * In.Bytes()}", "e_p0");
            }
        }
        for (int i = 0; i < rowTiles; i++)
            for (int h = 0; h < 2; h++)
            {
                k.L($"add.u32 e_row, {row}, {16 * i + 8 * h}; setp.lt.u32 e_rok, e_row, M; mul.wide.u32 e_c, e_row, ldc; add.u64 e_c, e_c, e_col; shl.b64 e_c, e_c, {(size == 4 ? 2 : 1)}; add.u64 e_c, e_c, C;");
                if (Addend && !Split) k.L($"mul.wide.u32 e_a, e_row, ldadd; add.u64 e_a, e_a, e_col; shl.b64 e_a, e_a, {(size == 4 ? 2 : 1)}; add.u64 e_a, e_a, add;");
                for (int j = 0; j < blocks; j++)
                {
                    int a = (i * blocks + j) * 4 + 2 * h, at = 8 * j * size;
                    k.L($"setp.gt.and.s32 e_pair, e_left, {8 * j + 1}, e_rok; setp.eq.and.s32 e_one, e_left, {8 * j + 1}, e_rok;");
                    if (Split) k.L($"mov.f32 e_x, {acc[a]}; mov.f32 e_y, {acc[a + 1]};");
                    else if (Bias) k.L($"fma.rn.f32 e_x, {acc[a]}, alpha, {b[2 * j]}; fma.rn.f32 e_y, {acc[a + 1]}, alpha, {b[2 * j + 1]};");
                    else k.L($"mul.f32 e_x, {acc[a]}, alpha; mul.f32 e_y, {acc[a + 1]}, alpha;");
                    if (Addend && !Split)
                    {
                        k.L("or.pred e_p0, e_pair, e_one;");
                        if (Out == PtxType.F32) k.L($"mov.f32 e_u, 0f00000000; mov.f32 e_v, 0f00000000; @e_p0 ld.global.f32 e_u, [e_a+{at}]; @e_pair ld.global.f32 e_v, [e_a+{at + 4}];");
                        else
                        {
                            k.LoadElement(Out, "e_u", $"e_a+{at}", "e_p0", "");
                            k.LoadElement(Out, "e_v", $"e_a+{at + 2}", "e_pair", "");
                        }
                        k.L("add.f32 e_x, e_x, e_u; add.f32 e_y, e_y, e_v;");
                    }
                    if (Single)
                    {
                        k.L("or.pred e_p0, e_pair, e_one;");
                        k.StoreElement(Stored, $"e_c+{at}", "e_x", "e_p0");
                        k.StoreElement(Stored, $"e_c+{at + size}", "e_y", "e_pair");
                    }
                    else if (Stored == PtxType.F32) k.L($"@e_pair st.global.v2.f32 [e_c+{at}], {{e_x, e_y}}; @e_one st.global.f32 [e_c+{at}], e_x;");
                    else
                    {
                        k.Pack(Stored, "e_pack", "e_x", "e_y");
                        k.L($"@e_pair st.global.b32 [e_c+{at}], e_pack;");
                        k.StoreElement(Stored, $"e_c+{at}", "e_x", "e_one");
                    }
                }
            }
    }
}
