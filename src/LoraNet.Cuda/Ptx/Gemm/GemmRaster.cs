namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>The order of tiles: groups of <c>group</c> row tiles, rows fastest within a group, so that blocks running together share operands in the L2 cache.</summary>
internal static class GemmRaster
{
    /// <summary>Writes code that turns tile number <c>t</c> into <c>m0</c> and <c>n0</c>; needs registers tm (row tiles) and tn (column tiles) and group.</summary>
    public static void Decode(PtxWriter k, int tileM, int tileN)
    {
        k.Reg("b32", "t tm tn m0 n0 r_g r_size r_in r_first r_rows r_x");
        k.L($"""
            mul.lo.u32 r_size, group, tn; div.u32 r_g, t, r_size; mul.lo.u32 r_x, r_g, r_size; sub.u32 r_in, t, r_x;
            mul.lo.u32 r_first, r_g, group; sub.u32 r_x, tm, r_first; min.u32 r_rows, group, r_x;
            div.u32 n0, r_in, r_rows; mul.lo.u32 r_x, n0, r_rows; sub.u32 m0, r_in, r_x; add.u32 m0, m0, r_first;
            mul.lo.u32 m0, m0, {tileM}; mul.lo.u32 n0, n0, {tileN};
            """);
    }

    /// <summary>Writes tm = ceil(M / tileM), tn = ceil(N / tileN).</summary>
    public static void Count(PtxWriter k, int tileM, int tileN)
    {
        k.Reg("b32", "tm tn");
        k.L($"add.u32 tm, M, {tileM - 1}; div.u32 tm, tm, {tileM}; add.u32 tn, N, {tileN - 1}; div.u32 tn, tn, {tileN};");
    }
}
