using System.Numerics;

namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Tiles of [rows][d] 16-bit elements in shared memory for mma.sync kernels. Rows are padded by 16 bytes: an odd number of 16-byte units,
/// so that ldmatrix meets no bank conflict and every step inside a tile is an immediate offset.
/// </summary>
internal sealed class MmaTile(PtxWriter k, PtxType type, int d)
{
    private readonly int _lanes = 1 << Math.Min(4, BitOperations.TrailingZeroCount(d / 8)); // threads side by side on a row

    /// <summary>Bytes of one row.</summary>
    public int Pitch { get; } = 2 * d + 16;

    /// <summary>Declares this thread's place in tile copies: cu_u (byte offset in a row), cu_r (row), cu_d (byte offset in the tile).</summary>
    public void CopySetup()
    {
        k.Reg("b32", "cu_u cu_r cu_d");
        k.L($"and.b32 cu_u, tid, {_lanes - 1}; shr.u32 cu_r, tid, {BitOperations.Log2((uint)_lanes)}; shl.b32 cu_u, cu_u, 4; mad.lo.u32 cu_d, cu_r, {Pitch}, cu_u;");
    }

    /// <summary>Copies rows row0.. of a matrix; rows from limit on become zero. source already points at the head's first column plus cu_u; pitch: row bytes.</summary>
    public void Copy(int rows, string destination, string source, string pitch, string row0, string limit)
    {
        k.Reg("b32", "cp_r cp_s cp_d");
        k.Reg("b64", "cp_a");
        k.Reg("pred", "cp_p cp_q");
        int step = k.Threads / _lanes, perRow = d / 8 / _lanes;
        k.L($"add.u32 cp_r, {row0}, cu_r; add.u32 cp_d, {destination}, cu_d;");
        if (rows < step) k.L($"setp.lt.u32 cp_q, cu_r, {rows};");
        string guard = rows < step ? "@cp_q " : "";
        for (int i = 0; i < Math.Max(1, rows / step); i++)
        {
            k.L($"setp.lt.u32 cp_p, cp_r, {limit}; mad.wide.u32 cp_a, cp_r, {pitch}, {source};");
            if (k.Arch.IsAmpere()) k.L("selp.b32 cp_s, 16, 0, cp_p;");
            for (int u = 0; u < perRow; u++)
            {
                int to = i * step * Pitch + u * _lanes * 16, from = u * _lanes * 16;
                if (k.Arch.IsAmpere()) k.L($"{guard}cp.async.cg.shared.global [cp_d+{to}], [cp_a+{from}], 16, cp_s;");
                else
                {
                    string[] v = k.Regs("b32", "cpv", 4);
                    k.L($"{string.Concat(v.Select(r => $"mov.b32 {r}, 0; "))}@cp_p ld.global.nc.v4.b32 {PtxWriter.Vec(v)}, [cp_a+{from}]; {guard}st.shared.v4.b32 [cp_d+{to}], {PtxWriter.Vec(v)};");
                }
            }
            if (i + 1 < rows / step) k.L($"add.u32 cp_r, cp_r, {step};");
        }
    }

    /// <summary>Ends a batch of copies.</summary>
    public void Commit()
    {
        if (k.Arch.IsAmpere()) k.L("cp.async.commit_group;");
    }

    /// <summary>Waits for all copies and synchronises the block.</summary>
    public void Wait() => k.L(k.Arch.IsAmpere() ? "cp.async.wait_group 0; bar.sync 0;" : "bar.sync 0;");

    /// <summary>The lane's address for A fragments, and with .trans for B fragments whose rows are the summed dimension.</summary>
    public void AddressA(string address, string tile)
    {
        k.Reg("b32", $"{address} ad_x ad_y");
        k.L($"and.b32 ad_x, lane, 15; shr.u32 ad_y, lane, 4; shl.b32 ad_y, ad_y, 4; mad.lo.u32 ad_x, ad_x, {Pitch}, ad_y; add.u32 {address}, ad_x, {tile};");
    }

    /// <summary>The lane's address for B fragments whose rows are columns of the result.</summary>
    public void AddressB(string address, string tile)
    {
        k.Reg("b32", $"{address} ad_x ad_y");
        k.L($"shr.u32 ad_x, lane, 4; shl.b32 ad_x, ad_x, 3; and.b32 ad_y, lane, 7; add.u32 ad_x, ad_x, ad_y; shr.u32 ad_y, lane, 3; and.b32 ad_y, ad_y, 1; shl.b32 ad_y, ad_y, 4; mad.lo.u32 ad_x, ad_x, {Pitch}, ad_y; add.u32 {address}, ad_x, {tile};");
    }

    /// <summary>Loads the A fragments of k16 step kk of every row tile.</summary>
    public void LoadA(string[] fragments, string address, int kk, int rowTiles)
    {
        for (int i = 0; i < rowTiles; i++)
            k.L($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {PtxWriter.Vec(fragments.AsSpan(4 * i, 4).ToArray())}, [{address}+{i * 16 * Pitch + 32 * kk}];");
    }

    /// <summary>acc = A Bᵀ over d, B's rows in shared memory. a(kk) returns the A fragments of step kk; zero is a register holding 0.</summary>
    public void MultiplyTransposed(string[] acc, int rowTiles, int blocks, Func<int, string[]> a, string b, string zero)
    {
        string[] f = k.Regs("b32", "bf", 4), zeros = [zero, zero, zero, zero];
        for (int kk = 0; kk < d / 16; kk++)
        {
            string[] fa = a(kk);
            for (int jp = 0; jp < blocks / 2; jp++)
            {
                k.L($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {PtxWriter.Vec(f)}, [{b}+{jp * 16 * Pitch + 32 * kk}];");
                for (int i = 0; i < rowTiles; i++)
                    for (int h = 0; h < 2; h++)
                        k.Mma(type, acc.AsSpan((i * blocks + 2 * jp + h) * 4, 4), fa.AsSpan(4 * i, 4), f[2 * h], f[2 * h + 1], kk == 0 ? zeros : null);
            }
        }
    }

    /// <summary>acc += P B, P as fragments of <paramref name="steps"/> k16 steps, B[16 steps rows][...] from column block firstBlock on.</summary>
    public void Multiply(string[] acc, int rowTiles, int blocks, string[] p, int steps, string b)
    {
        string[] f = k.Regs("b32", "bf", 4);
        for (int dp = 0; dp < blocks / 2; dp++)
            for (int kk = 0; kk < steps; kk++)
            {
                k.L($"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {PtxWriter.Vec(f)}, [{b}+{kk * 16 * Pitch + 32 * dp}];");
                for (int i = 0; i < rowTiles; i++)
                    for (int h = 0; h < 2; h++)
                        k.Mma(type, acc.AsSpan((i * blocks + 2 * dp + h) * 4, 4), p.AsSpan((i * steps + kk) * 4, 4), f[2 * h], f[2 * h + 1]);
            }
    }
}
