using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="ReduceKernels"/>; unused addresses are 0.</summary>
internal struct ReduceArgs
{
    /// <summary>x, the factor of the same shape, mean and factor of each row, partial sums, result.</summary>
    public long X, Other, Mean, RowScale, Partial, Result;

    /// <summary>Elements of a whole-tensor sum.</summary>
    public long Count;

    /// <summary>Shape of x, rows a chunk, number of chunks.</summary>
    public int Rows, Columns, ChunkRows, Chunks;

    /// <summary>Non-zero adds to the result.</summary>
    public int Accumulate;

    /// <summary>Factor on the sum.</summary>
    public float Alpha;
}

/// <summary>Sums in two passes whose order depends on the shape alone: chunks first, then the chunks in ascending order.</summary>
internal static class ReduceKernels
{
    /// <summary>Partial[chunk, n] = Σ over the chunk's rows of x[m,n] (·(other[m,n] − mean[m])·rowScale[m]); grid (column packs, chunks).</summary>
    public static void Columns<TX, TOther>(ReduceArgs a)
        where TX : struct, IStorage
        where TOther : struct, IStorage
    {
        int begin = Grid.IdxY * a.ChunkRows, end = begin + a.ChunkRows < a.Rows ? begin + a.ChunkRows : a.Rows;
        for (int c = RowWalk.FirstColumn; c < a.Columns; c += RowWalk.ColumnStep)
        {
            Pack sum = default;
            for (int m = begin; m < end; m++)
            {
                long row = (long)m * a.Columns;
                Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns);
                if (a.Other != 0)
                {
                    Pack o = Stored.LoadRow<TOther>(a.Other, row, c, a.Columns);
                    float mean = a.Mean != 0 ? StoredF32.Load(a.Mean, m) : 0f, scale = a.RowScale != 0 ? StoredF32.Load(a.RowScale, m) : 1f;
                    x = new Pack(x.X * (o.X - mean) * scale, x.Y * (o.Y - mean) * scale, x.Z * (o.Z - mean) * scale, x.W * (o.W - mean) * scale);
                }
                sum = new Pack(sum.X + x.X, sum.Y + x.Y, sum.Z + x.Z, sum.W + x.W);
            }
            Stored.StoreRow<StoredF32>(a.Partial, (long)Grid.IdxY * a.Columns, c, a.Columns, sum);
        }
    }

    /// <summary>result[n] (+)= alpha·Σ partial[chunk, n].</summary>
    public static void ColumnsFinish(ReduceArgs a)
    {
        for (int n = Grid.IdxX * Group.DimX + Group.IdxX; n < a.Columns; n += Grid.DimX * Group.DimX)
        {
            float sum = 0f;
            for (int chunk = 0; chunk < a.Chunks; chunk++) sum += StoredF32.Load(a.Partial, (long)chunk * a.Columns + n);
            sum *= a.Alpha;
            if (a.Accumulate != 0) sum += StoredF32.Load(a.Result, n);
            StoredF32.Store(a.Result, n, sum);
        }
    }

    /// <summary>Partial[group] (binary64) = Σ of the elements the group walks over.</summary>
    public static unsafe void Total<TX>(ReduceArgs a)
        where TX : struct, IStorage
    {
        ArrayView<double> scratch = SharedMemory.Allocate<double>(32);
        double sum = 0;
        for (long i = Flat.First; i < a.Count; i += Flat.Step)
        {
            Pack x = Flat.Load<TX>(a.X, i, a.Count);
            sum += (double)x.X + x.Y + ((double)x.Z + x.W);
        }
        sum = GroupReduce.Sum(sum, scratch);
        if (Group.IdxX == 0) *(double*)(a.Partial + 8L * Grid.IdxX) = sum;
    }

    /// <summary>result[0] (+)= Σ partial.</summary>
    public static unsafe void TotalFinish(ReduceArgs a)
    {
        ArrayView<double> scratch = SharedMemory.Allocate<double>(32);
        double sum = 0;
        for (int i = Group.IdxX; i < a.Chunks; i += Group.DimX) sum += *(double*)(a.Partial + 8L * i);
        sum = GroupReduce.Sum(sum, scratch);
        if (Group.IdxX == 0) StoredF32.Store(a.Result, 0, a.Accumulate != 0 ? (float)(StoredF32.Load(a.Result, 0) + sum) : (float)sum);
    }

    /// <summary>result[m] = Σ x[m]², one group a row; column-major walks are not needed because weights are kept [out, in].</summary>
    public static void RowSquares<TX>(ReduceArgs a)
        where TX : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Columns;
        float sum = 0f;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns);
            sum += x.X * x.X + x.Y * x.Y + x.Z * x.Z + x.W * x.W;
        }
        sum = GroupReduce.Sum(sum, scratch);
        if (Group.IdxX == 0) StoredF32.Store(a.Result, Grid.IdxX, sum);
    }
}
