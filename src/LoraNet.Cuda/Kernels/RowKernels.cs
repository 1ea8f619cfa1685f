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
    /// so nothing is added twice at a time and the order is fixed without atomics.</summary>
    public static void ScatterAdd<TX, TY>(RowArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<int> matches = SharedMemory.Allocate<int>(1024);
        int first = Grid.IdxX, target = Stored.LoadInt(a.V, first);
        bool seen = target < 0;
        for (int i = Group.IdxX; i < first; i += Group.DimX) seen |= Stored.LoadInt(a.V, i) == target;
        if (Group.BarrierOr(seen)) return;
        long to = (long)target * a.Columns;
        // Sums stay in registers, so that a 16-bit result is rounded once however often its row is named.
        for (int block = 0; block < a.Columns; block += 4 * Group.DimX)
        {
            int c = block + 4 * Group.IdxX;
            bool inside = c < a.Columns;
            Pack y = inside ? Stored.LoadRow<TY>(a.Y, to, c, a.Columns) : new Pack(0f, 0f, 0f, 0f);
            for (int i = first; i < a.Rows; i += Group.DimX)
            {
                int mine = i + Group.IdxX;
                bool match = mine < a.Rows && Stored.LoadInt(a.V, mine) == target;
                matches[Group.IdxX] = match ? 1 : 0;
                if (Group.BarrierOr(match) && inside)
                {
                    int length = a.Rows - i < Group.DimX ? a.Rows - i : Group.DimX;
                    for (int k = 0; k < length; k++)
                    {
                        if (matches[k] == 0) continue;
                        Pack x = Stored.LoadRow<TX>(a.X, (long)(i + k) * a.Columns, c, a.Columns);
                        y = new Pack(y.X + x.X, y.Y + x.Y, y.Z + x.Z, y.W + x.W);
                    }
                }
                Group.Barrier();
            }
            if (inside) Stored.StoreRow<TY>(a.Y, to, c, a.Columns, y);
        }
    }

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
