namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Pointwise parts of attention on fragment accumulators, shared by the mma.sync and the wgmma kernels. Lane 4g+t holds in block j of row tile i:
/// s[4*(i*blocks+j)+0,1] = row g, columns 8j+2t, +1; [2,3] = row g+8. Probabilities are 2^(c s - c m) with c = scale * log2(e), one FMA and one ex2 an element.
/// </summary>
internal static class AttentionMath
{
    /// <summary>log2(e).</summary>
    public static readonly string Log2E = PtxWriter.F32(1.44269504f);

    /// <summary>ln(2).</summary>
    public static readonly string Ln2 = PtxWriter.F32(0.693147181f);

    /// <summary>-infinity.</summary>
    public const string MinusInfinity = "0fFF800000";

    /// <summary>Sets scores of pairs that the causal order forbids to -infinity. row: matrix row of fragment row g per row tile; col: this lane's first column.</summary>
    /// <param name="k">The writer.</param>
    /// <param name="s">Scores.</param>
    /// <param name="blocks">Blocks of 8 columns.</param>
    /// <param name="row">Row registers.</param>
    /// <param name="col">Column register, including 2t.</param>
    /// <param name="keysAreRows">Whether rows are keys and columns queries.</param>
    public static void MaskCausal(PtxWriter k, string[] s, int blocks, string[] row, string col, bool keysAreRows) => Mask(k, s, blocks, row, col, null, keysAreRows ? "gt" : "lt");

    /// <summary>Sets scores of keys at a distance of <paramref name="window"/> or more to -infinity.</summary>
    public static void MaskWindow(PtxWriter k, string[] s, int blocks, string[] row, string col, string window, bool keysAreRows) =>
        Mask(k, s, blocks, row, col, keysAreRows ? $"add.s32 mk_d, mk_d, {window};" : $"sub.s32 mk_d, mk_d, {window};", keysAreRows ? "le" : "ge");

    private static void Mask(PtxWriter k, string[] s, int blocks, string[] row, string col, string? shift, string compare)
    {
        k.Reg("b32", "mk_d");
        k.Reg("pred", "mk_p");
        for (int i = 0; i < row.Length; i++)
        {
            k.L($"sub.s32 mk_d, {row[i]}, {col}; {shift}"); // column - row = offset - mk_d
            for (int j = 0; j < blocks; j++)
                for (int e = 0; e < 4; e++)
                    k.L($"setp.{compare}.s32 mk_p, mk_d, {8 * j + (e & 1) - 8 * (e >> 1)}; @mk_p mov.f32 {s[(i * blocks + j) * 4 + e]}, {MinusInfinity};");
        }
    }

    /// <summary>
    /// s = cap * tanh(s * scale / cap), tanh(x) = 1 - 2 / (e^(2x) + 1). k1 = 2 log2(e) scale / cap.
    /// With <paramref name="slope"/> it also leaves 1 - tanh² there, the derivative that backward multiplies into dS.
    /// </summary>
    public static void SoftCap(PtxWriter k, string[] s, string k1, string cap, string[]? slope)
    {
        k.Reg("f32", "sc_t");
        string one = PtxWriter.F32(1), minusTwo = PtxWriter.F32(-2), minusOne = PtxWriter.F32(-1);
        for (int i = 0; i < s.Length; i++)
        {
            k.L($"mul.f32 sc_t, {s[i]}, {k1}; ex2.approx.ftz.f32 sc_t, sc_t; add.f32 sc_t, sc_t, {one}; rcp.approx.ftz.f32 sc_t, sc_t; fma.rn.f32 sc_t, sc_t, {minusTwo}, {one}; mul.f32 {s[i]}, sc_t, {cap};");
            if (slope is not null) k.L($"mul.f32 {slope[i]}, sc_t, {minusOne}; fma.rn.f32 {slope[i]}, {slope[i]}, sc_t, {one};");
        }
    }

    /// <summary>
    /// Online softmax: updates the running maximum m and this lane's share of the sum l, turns s into probabilities and leaves the factor for earlier output in corr.
    /// Without <paramref name="mayBeEmpty"/> the first tile must hold a visible column for every row, which makes m finite from then on.
    /// </summary>
    public static void Softmax(PtxWriter k, string[] s, int blocks, string[] m, string[] l, string[] corr, string c, bool mayBeEmpty)
    {
        k.Reg("f32", "sm_t sm_u sm_mc");
        k.Reg("pred", "sm_p");
        for (int i = 0; i < m.Length; i++)
        {
            string[] v = RowOf(s, blocks, i);
            k.L($"max.f32 sm_t, {v[0]}, {v[1]}; max.f32 sm_u, {v[2]}, {v[3]};");
            for (int a = 4; a < v.Length; a += 2) k.L($"max.f32 sm_t, sm_t, {v[a]}; max.f32 sm_u, sm_u, {v[a + 1]};");
            k.L("max.f32 sm_t, sm_t, sm_u;");
            k.QuadReduce("max.f32", "sm_t");
            k.L($"max.f32 sm_t, sm_t, {m[i]};");
            if (mayBeEmpty) k.L($"mov.f32 sm_mc, sm_t; setp.eq.f32 sm_p, sm_t, {MinusInfinity}; @sm_p mov.f32 sm_mc, 0f00000000; sub.f32 sm_u, {m[i]}, sm_mc; mov.f32 {m[i]}, sm_t; mul.f32 sm_mc, sm_mc, {c};");
            else k.L($"sub.f32 sm_u, {m[i]}, sm_t; mov.f32 {m[i]}, sm_t; mul.f32 sm_mc, sm_t, {c};");
            k.L($"mul.f32 sm_u, sm_u, {c}; ex2.approx.ftz.f32 {corr[i]}, sm_u; neg.f32 sm_mc, sm_mc; mul.f32 {l[i]}, {l[i]}, {corr[i]}; mov.f32 sm_u, 0f00000000;");
            for (int a = 0; a < v.Length; a++)
            {
                string sum = (a & 1) == 1 ? l[i] : "sm_u"; // two chains
                k.L($"fma.rn.f32 {v[a]}, {v[a]}, {c}, sm_mc; ex2.approx.ftz.f32 {v[a]}, {v[a]}; add.f32 {sum}, {sum}, {v[a]};");
            }
            k.L($"add.f32 {l[i]}, {l[i]}, sm_u;");
        }
    }

    /// <summary>Multiplies every row of an accumulator by its factor.</summary>
    public static void Scale(PtxWriter k, string[] acc, int blocks, string[] factor)
    {
        for (int i = 0; i < factor.Length; i++)
            foreach (string a in RowOf(acc, blocks, i)) k.L($"mul.f32 {a}, {a}, {factor[i]};");
    }

    /// <summary>Turns accumulators into A fragments of the next product: k16 step kk of row tile i is {pack c[8kk+0,1], c[8kk+2,3], c[8kk+4,5], c[8kk+6,7]}.</summary>
    public static void PackFragments(PtxWriter k, PtxType type, string[] fragments, string[] s, int blocks, int rowTiles)
    {
        for (int i = 0; i < rowTiles; i++)
            for (int kk = 0; kk < blocks / 2; kk++)
                for (int q = 0; q < 4; q++)
                {
                    int at = (i * blocks + 2 * kk + (q >> 1)) * 4 + 2 * (q & 1);
                    k.Pack(type, fragments[(i * (blocks / 2) + kk) * 4 + q], s[at], s[at + 1]);
                }
    }

    /// <summary>s = 2^(c s + negLse2) per row.</summary>
    public static void ProbabilityByRow(PtxWriter k, string[] s, int blocks, string[] negLse2, string c)
    {
        for (int i = 0; i < negLse2.Length; i++)
            foreach (string v in RowOf(s, blocks, i)) k.L($"fma.rn.f32 {v}, {v}, {c}, {negLse2[i]}; ex2.approx.ftz.f32 {v}, {v};");
    }

    /// <summary>dp = p (dp - delta) per row, times the soft cap's slope if there is one.</summary>
    public static void ScoreGradientByRow(PtxWriter k, string[] p, string[] dp, int blocks, string[] delta, string[]? slope)
    {
        for (int i = 0; i < delta.Length; i++)
        {
            string[] pr = RowOf(p, blocks, i), d = RowOf(dp, blocks, i);
            string[]? f = slope is null ? null : RowOf(slope, blocks, i);
            for (int a = 0; a < d.Length; a++) k.L($"sub.f32 {d[a]}, {d[a]}, {delta[i]}; mul.f32 {d[a]}, {d[a]}, {pr[a]};{(f is null ? "" : $" mul.f32 {d[a]}, {d[a]}, {f[a]};")}");
        }
    }

    /// <summary>s = 2^(c s + negLse2) per column; <paramref name="at"/>: shared address of this lane's first pair of statistics.</summary>
    public static void ProbabilityByColumn(PtxWriter k, string[] s, int blocks, string at, int offset, string c) =>
        ByColumn(k, blocks, at, offset, (a, stat) => k.L($"fma.rn.f32 {s[a]}, {s[a]}, {c}, {stat}; ex2.approx.ftz.f32 {s[a]}, {s[a]};"));

    /// <summary>dp = p (dp - delta) per column, times the soft cap's slope if there is one.</summary>
    public static void ScoreGradientByColumn(PtxWriter k, string[] p, string[] dp, int blocks, string at, int offset, string[]? slope) =>
        ByColumn(k, blocks, at, offset, (a, stat) => k.L($"sub.f32 {dp[a]}, {dp[a]}, {stat}; mul.f32 {dp[a]}, {dp[a]}, {p[a]};{(slope is null ? "" : $" mul.f32 {dp[a]}, {dp[a]}, {slope[a]};")}"));

    private static void ByColumn(PtxWriter k, int blocks, string at, int offset, Action<int, string> element)
    {
        k.Reg("f32", "col_a col_b");
        for (int j = 0; j < blocks; j++)
        {
            k.L($"ld.shared.v2.f32 {{col_a, col_b}}, [{at}+{offset + 32 * j}];");
            for (int e = 0; e < 4; e++) element(4 * j + e, (e & 1) == 0 ? "col_a" : "col_b");
        }
    }

    /// <summary>The elements of accumulator row 2i (fragment row g) or 2i+1 (row g+8), in column order.</summary>
    public static string[] RowOf(string[] acc, int blocks, int row) =>
        [.. Enumerable.Range(0, blocks).SelectMany(j => Enumerable.Range(0, 2).Select(e => acc[(row / 2 * blocks + j) * 4 + 2 * (row & 1) + e]))];

    /// <summary>Stores accumulators as 16-bit rows where row &lt; limit. pitch: row bytes; column: byte offset of this lane's first pair.</summary>
    public static void StoreRows(PtxWriter k, PtxType type, string pointer, string pitch, string[] row, string column, string[] acc, int blocks, string limit, string[]? factor)
    {
        k.Reg("b64", "st_a");
        k.Reg("b32", "st_r st_h");
        k.Reg("pred", "st_p");
        k.Reg("f32", "st_x st_y");
        for (int i = 0; i < 2 * row.Length; i++)
        {
            string[] v = RowOf(acc, blocks, i);
            k.L($"add.u32 st_r, {row[i / 2]}, {8 * (i & 1)}; setp.lt.u32 st_p, st_r, {limit}; mad.wide.u32 st_a, st_r, {pitch}, {pointer}; add.u64 st_a, st_a, {column};");
            for (int j = 0; j < blocks; j++)
            {
                (string x, string y) = (v[2 * j], v[2 * j + 1]);
                if (factor is not null)
                {
                    string f = factor.Length == 1 ? factor[0] : factor[i];
                    k.L($"mul.f32 st_x, {x}, {f}; mul.f32 st_y, {y}, {f};");
                    (x, y) = ("st_x", "st_y");
                }
                k.Pack(type, "st_h", x, y);
                k.L($"@st_p st.global.b32 [st_a+{16 * j}], st_h;");
            }
        }
    }

    /// <summary>lse = scale * m + ln(l), by the lanes with t = 0 (predicate lane0) where row &lt; limit and the table is not null.</summary>
    public static void StoreLogSumExp(PtxWriter k, string table, string pitch, string head, string[] row, string[] m, string[] l, string limit, string scale)
    {
        k.Reg("b64", "st_a");
        k.Reg("b32", "st_r st_i");
        k.Reg("pred", "st_p st_q");
        k.Reg("f32", "st_x");
        k.L($"setp.ne.and.u64 st_q, {table}, 0, lane0;");
        for (int i = 0; i < m.Length; i++)
            k.L($"lg2.approx.f32 st_x, {l[i]}; mul.f32 st_x, st_x, {Ln2}; fma.rn.f32 st_x, {m[i]}, {scale}, st_x; add.u32 st_r, {row[i / 2]}, {8 * (i & 1)}; setp.lt.and.u32 st_p, st_r, {limit}, st_q; mul.wide.u32 st_a, {head}, {pitch}; cvt.u64.u32 st_b, st_r; add.u64 st_a, st_a, st_b; shl.b64 st_a, st_a, 2; add.u64 st_a, st_a, {table}; @st_p st.global.f32 [st_a], st_x;");
        k.Reg("b64", "st_b");
    }

    /// <summary>value[i] = -log2(e) * lse of the row (0 past the limit).</summary>
    public static void LoadNegativeLse(PtxWriter k, string table, string pitch, string head, string[] row, string[] value, string limit)
    {
        k.Reg("b64", "st_a st_b");
        k.Reg("b32", "st_r");
        k.Reg("pred", "st_p");
        for (int i = 0; i < value.Length; i++)
            k.L($"add.u32 st_r, {row[i / 2]}, {8 * (i & 1)}; setp.lt.u32 st_p, st_r, {limit}; mul.wide.u32 st_a, {head}, {pitch}; cvt.u64.u32 st_b, st_r; add.u64 st_a, st_a, st_b; shl.b64 st_a, st_a, 2; add.u64 st_a, st_a, {table}; mov.f32 {value[i]}, 0f00000000; @st_p ld.global.f32 {value[i]}, [st_a]; mul.f32 {value[i]}, {value[i]}, {Log2E}; neg.f32 {value[i]}, {value[i]};");
    }

    /// <summary>
    /// delta = rowsum(dO * O) for this lane's rows: each lane of a quad reads the 16-byte units t, t+4, ..., the quad adds up, and the lane with t = 0 writes
    /// delta[head][row] for the key gradient. Needs ldoBytes, ldgBytes (row bytes of O and dO), lt = t and lane0.
    /// </summary>
    public static void RowDelta(PtxWriter k, PtxType type, int d, string output, string gradient, string table, string pitch, string head, string[] row, string[] delta, string limit)
    {
        k.Reg("b32", "rd_r rd_x");
        k.Reg("b64", "rd_a rd_b rd_c st_a st_b");
        k.Reg("f32", "rd_f rd_g rd_h rd_i");
        k.Reg("pred", "rd_p st_p");
        int units = (d / 8 + 3) / 4;
        string[] a = k.Regs("b32", "rda", 4), b = k.Regs("b32", "rdb", 4);
        k.L($"mul.lo.u32 rd_x, {head}, {2 * d}; mad.lo.u32 rd_x, lt, 16, rd_x; cvt.u64.u32 rd_c, rd_x;");
        for (int i = 0; i < delta.Length; i++)
        {
            k.L($"add.u32 rd_r, {row[i / 2]}, {8 * (i & 1)}; max.u32 rd_x, {limit}, 1; sub.u32 rd_x, rd_x, 1; min.u32 rd_r, rd_r, rd_x; mad.wide.u32 rd_a, rd_r, ldoBytes, rd_c; add.u64 rd_a, rd_a, {output}; mad.wide.u32 rd_b, rd_r, ldgBytes, rd_c; add.u64 rd_b, rd_b, {gradient}; mov.f32 {delta[i]}, 0f00000000;");
            for (int u = 0; u < units; u++)
            {
                bool partial = (u + 1) * 4 > d / 8;
                if (partial) k.L($"add.u32 rd_x, lt, {4 * u}; setp.lt.u32 rd_p, rd_x, {d / 8}; {string.Concat(a.Concat(b).Select(r => $"mov.b32 {r}, 0; "))}");
                string guard = partial ? "@rd_p " : "";
                k.L($"{guard}ld.global.nc.v4.b32 {PtxWriter.Vec(a)}, [rd_a+{64 * u}]; {guard}ld.global.nc.v4.b32 {PtxWriter.Vec(b)}, [rd_b+{64 * u}];");
                for (int q = 0; q < 4; q++)
                {
                    k.Unpack(type, a[q], "rd_f", "rd_g");
                    k.Unpack(type, b[q], "rd_h", "rd_i");
                    k.L($"fma.rn.f32 {delta[i]}, rd_f, rd_h, {delta[i]}; fma.rn.f32 {delta[i]}, rd_g, rd_i, {delta[i]};");
                }
            }
            k.QuadReduce("add.f32", delta[i]);
            k.L($"add.u32 rd_r, {row[i / 2]}, {8 * (i & 1)}; setp.lt.and.u32 st_p, rd_r, {limit}, lane0; mul.wide.u32 st_a, {head}, {pitch}; cvt.u64.u32 st_b, rd_r; add.u64 st_a, st_a, st_b; shl.b64 st_a, st_a, 2; add.u64 st_a, st_a, {table}; @st_p st.global.f32 [st_a], {delta[i]};");
        }
    }
}
