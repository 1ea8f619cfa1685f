using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="NormKernels"/>; unused addresses are 0.</summary>
internal struct NormArgs
{
    /// <summary>Gradient of the output, input, weight, bias, output (y or dx), mean and 1/σ of each row.</summary>
    public long Dy, X, W, B, Y, Mean, Rstd;

    /// <summary>Columns of a row; one group works on each row.</summary>
    public int Columns;

    /// <summary>Storage of weight and bias (<see cref="Stored"/>).</summary>
    public int WKind, BKind;

    /// <summary>Non-zero adds to y.</summary>
    public int Accumulate;

    /// <summary>Added to the mean square; added to the weight.</summary>
    public float Eps, Offset;
}

/// <summary>RMSNorm and LayerNorm, forward and gradient of the input. A group owns a row, so outputs may alias inputs.</summary>
internal static class NormKernels
{
    public static void Rms<TX, TY>(NormArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Columns;
        int first = 4 * Group.IdxX, step = 4 * Group.DimX;
        // The first quad of every thread stays in registers: up to 8192 columns the row is read once.
        Quad kept = Stored.LoadQuad<TX>(a.X, row, first, step, a.Columns);
        float squares = Square(kept);
        for (int c = first + 4 * step; c < a.Columns; c += 4 * step) squares += Square(Stored.LoadQuad<TX>(a.X, row, c, step, a.Columns));
        float rstd = 1f / MathF.Sqrt(GroupReduce.Sum(squares, scratch) / a.Columns + a.Eps);
        if (Group.IdxX == 0) StoredF32.Store(a.Rstd, Grid.IdxX, rstd);
        for (int c = first; c < a.Columns; c += 4 * step)
        {
            Quad x = kept;
            if (c > first) x = Stored.LoadQuad<TX>(a.X, row, c, step, a.Columns);
            StoreRms<TY>(a, row, c, x.A, rstd);
            StoreRms<TY>(a, row, c + step, x.B, rstd);
            StoreRms<TY>(a, row, c + 2 * step, x.C, rstd);
            StoreRms<TY>(a, row, c + 3 * step, x.D, rstd);
        }
    }

    private static float Square(Quad q) => Square(q.A) + Square(q.B) + (Square(q.C) + Square(q.D));

    private static float Square(Pack p) => p.X * p.X + p.Y * p.Y + p.Z * p.Z + p.W * p.W;

    private static void StoreRms<TY>(NormArgs a, long row, int c, Pack x, float rstd)
        where TY : struct, IStorage
    {
        if (c >= a.Columns) return;
        Pack w = Stored.LoadVector(a.WKind, a.W, c, a.Columns);
        Stored.StoreRow<TY>(a.Y, row, c, a.Columns, new Pack(
            x.X * rstd * (w.X + a.Offset), x.Y * rstd * (w.Y + a.Offset), x.Z * rstd * (w.Z + a.Offset), x.W * rstd * (w.W + a.Offset)));
    }

    /// <summary>dx (+)= rstd·(g − x̂·mean(g⊙x̂)), g = dy⊙(w + offset), x̂ = x·rstd. Rows are read twice, the second
    /// time from the cache: keeping both operands in registers, as <see cref="Rms"/> does, halves the groups that fit and was slower.</summary>
    public static void RmsBackward<TDy, TX, TDx>(NormArgs a)
        where TDy : struct, IStorage
        where TX : struct, IStorage
        where TDx : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Columns;
        float rstd = StoredF32.Load(a.Rstd, Grid.IdxX), dot = 0f;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), dy = Stored.LoadRow<TDy>(a.Dy, row, c, a.Columns);
            Pack w = Stored.LoadVector(a.WKind, a.W, c, a.Columns);
            dot += dy.X * (w.X + a.Offset) * x.X + dy.Y * (w.Y + a.Offset) * x.Y + dy.Z * (w.Z + a.Offset) * x.Z + dy.W * (w.W + a.Offset) * x.W;
        }
        float mean = GroupReduce.Sum(dot, scratch) * rstd / a.Columns;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), dy = Stored.LoadRow<TDy>(a.Dy, row, c, a.Columns);
            Pack w = Stored.LoadVector(a.WKind, a.W, c, a.Columns);
            StoreDx<TDx>(a, row, c, new Pack(
                rstd * (dy.X * (w.X + a.Offset) - x.X * rstd * mean), rstd * (dy.Y * (w.Y + a.Offset) - x.Y * rstd * mean),
                rstd * (dy.Z * (w.Z + a.Offset) - x.Z * rstd * mean), rstd * (dy.W * (w.W + a.Offset) - x.W * rstd * mean)));
        }
    }

    public static void Layer<TX, TY>(NormArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Columns;
        float sum = 0f;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns);
            sum += x.X + x.Y + x.Z + x.W;
        }
        float mean = GroupReduce.Sum(sum, scratch) / a.Columns, squares = 0f;
        // A second pass over the (cached) row: E[x²] − mean² would cancel.
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns);
            squares += (x.X - mean) * (x.X - mean);
            if (c + 1 < a.Columns) squares += (x.Y - mean) * (x.Y - mean);
            if (c + 2 < a.Columns) squares += (x.Z - mean) * (x.Z - mean);
            if (c + 3 < a.Columns) squares += (x.W - mean) * (x.W - mean);
        }
        float rstd = 1f / MathF.Sqrt(GroupReduce.Sum(squares, scratch) / a.Columns + a.Eps);
        if (Group.IdxX == 0)
        {
            StoredF32.Store(a.Mean, Grid.IdxX, mean);
            StoredF32.Store(a.Rstd, Grid.IdxX, rstd);
        }
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), w = Stored.LoadVector(a.WKind, a.W, c, a.Columns), b = default;
            if (a.B != 0) b = Stored.LoadVector(a.BKind, a.B, c, a.Columns);
            Stored.StoreRow<TY>(a.Y, row, c, a.Columns, new Pack(
                (x.X - mean) * rstd * w.X + b.X, (x.Y - mean) * rstd * w.Y + b.Y, (x.Z - mean) * rstd * w.Z + b.Z, (x.W - mean) * rstd * w.W + b.W));
        }
    }

    /// <summary>dx (+)= rstd·(g − mean(g) − x̂·mean(g⊙x̂)), g = dy⊙w.</summary>
    public static void LayerBackward<TDy, TX, TDx>(NormArgs a)
        where TDy : struct, IStorage
        where TX : struct, IStorage
        where TDx : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Columns;
        float mean = StoredF32.Load(a.Mean, Grid.IdxX), rstd = StoredF32.Load(a.Rstd, Grid.IdxX), sum = 0f, dot = 0f;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), dy = Stored.LoadRow<TDy>(a.Dy, row, c, a.Columns);
            Pack w = Stored.LoadVector(a.WKind, a.W, c, a.Columns);
            // Past the end of the row dy is 0, so the padding adds nothing to either sum.
            sum += dy.X * w.X + dy.Y * w.Y + dy.Z * w.Z + dy.W * w.W;
            dot += dy.X * w.X * (x.X - mean) + dy.Y * w.Y * (x.Y - mean) + dy.Z * w.Z * (x.Z - mean) + dy.W * w.W * (x.W - mean);
        }
        float meanG = GroupReduce.Sum(sum, scratch) / a.Columns, meanDot = GroupReduce.Sum(dot, scratch) * rstd / a.Columns;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), dy = Stored.LoadRow<TDy>(a.Dy, row, c, a.Columns);
            Pack w = Stored.LoadVector(a.WKind, a.W, c, a.Columns);
            StoreDx<TDx>(a, row, c, new Pack(
                rstd * (dy.X * w.X - meanG - (x.X - mean) * rstd * meanDot), rstd * (dy.Y * w.Y - meanG - (x.Y - mean) * rstd * meanDot),
                rstd * (dy.Z * w.Z - meanG - (x.Z - mean) * rstd * meanDot), rstd * (dy.W * w.W - meanG - (x.W - mean) * rstd * meanDot)));
        }
    }

    private static void StoreDx<TDx>(NormArgs a, long row, int c, Pack dx)
        where TDx : struct, IStorage
    {
        if (a.Accumulate != 0)
        {
            Pack old = Stored.LoadRow<TDx>(a.Y, row, c, a.Columns);
            dx = new Pack(old.X + dx.X, old.Y + dx.Y, old.Z + dx.Z, old.W + dx.W);
        }
        Stored.StoreRow<TDx>(a.Y, row, c, a.Columns, dx);
    }
}
