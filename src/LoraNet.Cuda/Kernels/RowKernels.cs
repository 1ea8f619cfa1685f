using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="RowKernels"/>.</summary>
internal struct RowArgs
{
    /// <summary>Input matrix, vector or row numbers, output matrix.</summary>
    public long X, V, Y;

    /// <summary>Rows and columns that are walked.</summary>
    public int Rows, Columns;

    /// <summary>Storage of the vector (<see cref="Stored"/>).</summary>
    public int VKind;

    /// <summary>Non-zero adds to y.</summary>
    public int Accumulate;

    /// <summary>Factor on x.</summary>
    public float Alpha;

    /// <summary>Row pitches and first columns (<see cref="RowKernels.CopyColumns"/>).</summary>
    public int XPitch, XColumn, YPitch, YColumn;
}

/// <summary>Walks the packs of a matrix: grid y (strided) runs over rows, grid x and the group over the columns of a row.</summary>
internal static class RowWalk
{
    public static int FirstColumn => 4 * (Grid.IdxX * Group.DimX + Group.IdxX);

    public static int ColumnStep => 4 * Grid.DimX * Group.DimX;
}

/// <summary>Operations on the rows and columns of matrices, and row lookups.</summary>
internal static class RowKernels
{
    /// <summary>y[m,n] (+)= x[m,n]·v[n].</summary>
    public static void ScaleColumns<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Columns;
            for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
            {
                Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), v = Stored.LoadVector(a.VKind, a.V, c, a.Columns);
                Pack y = new(x.X * v.X, x.Y * v.Y, x.Z * v.Z, x.W * v.W);
                if (a.Accumulate != 0)
                {
                    Pack old = Stored.LoadRow<TY>(a.Y, row, c, a.Columns);
                    y = new Pack(old.X + y.X, old.Y + y.Y, old.Z + y.Z, old.W + y.W);
                }
                Stored.StoreRow<TY>(a.Y, row, c, a.Columns, y);
            }
        }
    }

    /// <summary>y[m,n] = x[m,n]·v[m].</summary>
    public static void ScaleRows<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Columns;
            float v = Stored.Load(a.VKind, a.V, m);
            for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
            {
                Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns);
                Stored.StoreRow<TY>(a.Y, row, c, a.Columns, new Pack(x.X * v, x.Y * v, x.Z * v, x.W * v));
            }
        }
    }

    /// <summary>y[m,n] = x[m,n] + v[n].</summary>
    public static void AddRow<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Columns;
            for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
            {
                Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), v = Stored.LoadVector(a.VKind, a.V, c, a.Columns);
                Stored.StoreRow<TY>(a.Y, row, c, a.Columns, new Pack(x.X + v.X, x.Y + v.Y, x.Z + v.Z, x.W + v.W));
            }
        }
    }

    /// <summary>y[m, YColumn + j] (+)= x[m, XColumn + j]; one element a thread, because pieces start at any column.</summary>
    public static void CopyColumns<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        bool packs = ((a.XPitch | a.XColumn | a.YPitch | a.YColumn | a.Columns) & 3) == 0 && ((a.X | a.Y) & 7) == 0;
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long from = (long)m * a.XPitch + a.XColumn, to = (long)m * a.YPitch + a.YColumn;
            if (packs)
            {
                for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
                {
                    Pack x = TX.LoadPack(a.X, from + c);
                    if (a.Accumulate != 0)
                    {
                        Pack old = TY.LoadPack(a.Y, to + c);
                        x = new Pack(old.X + x.X, old.Y + x.Y, old.Z + x.Z, old.W + x.W);
                    }
                    TY.StorePack(a.Y, to + c, x);
                }
            }
            else
            {
                for (int c = Grid.IdxX * Group.DimX + Group.IdxX; c < a.Columns; c += Grid.DimX * Group.DimX)
                {
                    float x = TX.Load(a.X, from + c);
                    TY.Store(a.Y, to + c, a.Accumulate != 0 ? TY.Load(a.Y, to + c) + x : x);
                }
            }
        }
    }

    /// <summary>y[m, n] = x[m, n], zeros from column <see cref="RowArgs.Columns"/> to y's pitch, a multiple of 4; y is aligned, x need not be.</summary>
    public static void PadRows<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.XPitch;
            for (int c = RowWalk.FirstColumn; c < a.YPitch; c += RowWalk.ColumnStep)
            {
                Pack x = default;
                if (c + 4 <= a.Columns)
                {
                    x = new Pack(TX.Load(a.X, row + c), TX.Load(a.X, row + c + 1), TX.Load(a.X, row + c + 2), TX.Load(a.X, row + c + 3));
                }
                else
                {
                    if (c < a.Columns) x.X = TX.Load(a.X, row + c);
                    if (c + 1 < a.Columns) x.Y = TX.Load(a.X, row + c + 1);
                    if (c + 2 < a.Columns) x.Z = TX.Load(a.X, row + c + 2);
                }
                TY.StorePack(a.Y, (long)m * a.YPitch + c, x);
            }
        }
    }

    /// <summary>y[i] = alpha·x[rows[i]], zeros for a negative row number.</summary>
    public static void Gather<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            int source = Stored.LoadInt(a.V, m);
            for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
            {
                Pack x = default;
                if (source >= 0)
                {
                    x = Stored.LoadRow<TX>(a.X, (long)source * a.Columns, c, a.Columns);
                    x = new Pack(a.Alpha * x.X, a.Alpha * x.Y, a.Alpha * x.Z, a.Alpha * x.W);
                }
                Stored.StoreRow<TY>(a.Y, (long)m * a.Columns, c, a.Columns, x);
            }
        }
    }

    /// <summary>y[rows[i]] += x[i] in ascending i. The group of the first i of every target row adds all rows of that target,
    /// so nothing is added twice at a time and the order is fixed without atomics. One reading of the row numbers says whether
    /// a group is that of the first and whether others follow: mostly none do, and its row is simply added.</summary>
    public static void ScatterAdd<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<uint> matches = SharedMemory.Allocate<uint>(1024);
        int first = Grid.IdxX, target = Stored.LoadInt(a.V, first);
        if (target < 0) return;
        int found = ScanRows(a.V, first, target, a.Rows);
        if (Group.BarrierOr((found & 1) != 0)) return;
        bool several = Group.BarrierOr((found & 2) != 0);
        long to = (long)target * a.Columns;
        if (!several)
        {
            for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
            {
                Pack x = Stored.LoadRow<TX>(a.X, (long)first * a.Columns, c, a.Columns), y = Stored.LoadRow<TY>(a.Y, to, c, a.Columns);
                Stored.StoreRow<TY>(a.Y, to, c, a.Columns, AddPacks(y, x));
            }
            return;
        }
        // Sums stay in registers, so that a 16-bit result is rounded once however often its row is named.
        for (int block = 0; block < a.Columns; block += 4 * Group.DimX)
        {
            int c = block + 4 * Group.IdxX;
            bool inside = c < a.Columns;
            Pack y = default;
            if (inside) y = Stored.LoadRow<TY>(a.Y, to, c, a.Columns);
            // A window is 32 row numbers a thread, whose matches it keeps as the bits of one word.
            for (int start = first; start < a.Rows; start += 32 * Group.DimX)
            {
                uint mine = 0;
                int from = start + 32 * Group.IdxX;
                for (int k = 0; k < 32; k++)
                {
                    if (from + k < a.Rows && Stored.LoadInt(a.V, from + k) == target) mine |= 1u << k;
                }
                matches[Group.IdxX] = mine;
                Group.Barrier();
                if (inside) y = AddMatches<TX>(a, matches, start, c, y);
                Group.Barrier();
            }
            if (inside) Stored.StoreRow<TY>(a.Y, to, c, a.Columns, y);
        }
    }

    /// <summary>Bit 0: this thread saw the target before number <paramref name="first"/>; bit 1: after it.</summary>
    private static unsafe int ScanRows(long rows, int first, int target, int count)
    {
        int found = 0;
        // Sixteen bytes a step while they are aligned, the rest one by one.
        int whole = (rows & 15) == 0 ? count & ~3 : 0;
        for (int i = 4 * Group.IdxX; i < whole; i += 4 * Group.DimX)
        {
            Wide w = *(Wide*)(rows + 4L * i);
            if ((int)w.A == target) found |= Side(i, first);
            if ((int)(w.A >> 32) == target) found |= Side(i + 1, first);
            if ((int)w.B == target) found |= Side(i + 2, first);
            if ((int)(w.B >> 32) == target) found |= Side(i + 3, first);
        }
        for (int i = whole + Group.IdxX; i < count; i += Group.DimX)
        {
            if (Stored.LoadInt(rows, i) == target) found |= Side(i, first);
        }
        return found;
    }

    private static int Side(int i, int first)
    {
        if (i < first) return 1;
        return i > first ? 2 : 0;
    }

    /// <summary>Adds the rows of a window's set bits in order, four loads under way at a time.</summary>
    private static Pack AddMatches<TX>(RowArgs a, ArrayView<uint> matches, int start, int c, Pack y)
        where TX : struct, IStorage
    {
        int words = (a.Rows - start + 31) / 32;
        if (words > Group.DimX) words = Group.DimX;
        int word = 0;
        uint bits = matches[0];
        while (word < words)
        {
            int r0 = -1, r1 = -1, r2 = -1, r3 = -1, n = 0;
            while (n < 4 && word < words)
            {
                if (bits == 0)
                {
                    word++;
                    if (word < words) bits = matches[word];
                    continue;
                }
                int row = start + 32 * word + IntrinsicMath.BitOperations.TrailingZeroCount(bits);
                bits &= bits - 1;
                if (n == 0) r0 = row;
                if (n == 1) r1 = row;
                if (n == 2) r2 = row;
                if (n == 3) r3 = row;
                n++;
            }
            if (n == 0) break;
            // Rows that are not there stand for the first, so that no load waits for a branch; they are not added.
            if (n < 2) r1 = r0;
            if (n < 3) r2 = r0;
            if (n < 4) r3 = r0;
            Quad x = LoadRows<TX>(a, r0, r1, r2, r3, c);
            y = AddPacks(y, x.A);
            if (n > 1) y = AddPacks(y, x.B);
            if (n > 2) y = AddPacks(y, x.C);
            if (n > 3) y = AddPacks(y, x.D);
        }
        return y;
    }

    /// <summary>The packs of four rows at one column.</summary>
    private static Quad LoadRows<TX>(RowArgs a, int r0, int r1, int r2, int r3, int c)
        where TX : struct, IStorage
    {
        Quad q = default;
        if ((a.Columns & 3) == 0 && (a.X & 7) == 0)
        {
            q.A = TX.LoadPack(a.X, (long)r0 * a.Columns + c);
            q.B = TX.LoadPack(a.X, (long)r1 * a.Columns + c);
            q.C = TX.LoadPack(a.X, (long)r2 * a.Columns + c);
            q.D = TX.LoadPack(a.X, (long)r3 * a.Columns + c);
            return q;
        }
        q.A = Stored.LoadRow<TX>(a.X, (long)r0 * a.Columns, c, a.Columns);
        q.B = Stored.LoadRow<TX>(a.X, (long)r1 * a.Columns, c, a.Columns);
        q.C = Stored.LoadRow<TX>(a.X, (long)r2 * a.Columns, c, a.Columns);
        q.D = Stored.LoadRow<TX>(a.X, (long)r3 * a.Columns, c, a.Columns);
        return q;
    }

    private static Pack AddPacks(Pack a, Pack b) => new(a.X + b.X, a.Y + b.Y, a.Z + b.Z, a.W + b.W);

    /// <summary>y[c, r] = x[r, c] for x [Rows, Columns], through shared memory so that both sides are read and written in rows.
    /// Groups form squares of <see cref="RowArgs.XPitch"/> (reused as the side) threads.</summary>
    public static void Transpose<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<float> tile = SharedMemory.Allocate<float>(32 * 33);
        int side = a.XPitch, i = Group.IdxX / side, j = Group.IdxX % side;
        int tilesX = (a.Columns + side - 1) / side;
        int r0 = Grid.IdxX / tilesX * side, c0 = Grid.IdxX % tilesX * side;
        if (r0 + i < a.Rows && c0 + j < a.Columns) tile[i * 33 + j] = TX.Load(a.X, (long)(r0 + i) * a.Columns + c0 + j);
        Group.Barrier();
        if (c0 + i < a.Columns && r0 + j < a.Rows) TY.Store(a.Y, (long)(c0 + i) * a.Rows + r0 + j, tile[j * 33 + i]);
    }
}
