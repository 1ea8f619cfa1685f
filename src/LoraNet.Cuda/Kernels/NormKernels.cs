using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="NormKernels"/>; unused addresses are 0.</summary>
internal struct NormArgs
{
    /// <summary>Gradient of the output, input, weight, bias, output (y or dx), mean and 1/σ of each row.</summary>
    public long Dy, X, W, B, Y, Mean, Rstd;

    /// <summary>Added to x before an RMS norm, and where that sum is kept.</summary>
    public long Residual, Sum;

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
    /// <summary>y = x·rstd ⊙ (w + offset). With a residual first sum = x + residual, rounded as it is stored, and that is normed.</summary>
    public static void Rms<TX, TY>(NormArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        RowParts row = RowParts.Whole((long)Grid.IdxX * a.Columns, a.Columns, a.X | a.Residual | a.Sum | a.Y | a.W);
        int first = Group.IdxX, step = Group.DimX;
        // The first octet of every thread stays in registers: up to 8192 columns the row is read once. The weights come first, since
        // they are in a cache and choosing their type is a branch, which nothing loaded before it could pass on its way.
        Octet w = default, x0 = default;
        if (first < row.Octets)
        {
            w = Stored.LoadOctet(a.WKind, a.W, 8L * first);
            x0 = LoadSummed<TX>(a, row, first);
        }
        float squares = Square(x0);
        for (int p = first + step; p < row.Octets; p += step) squares += Square(LoadSummed<TX>(a, row, p));
        for (int i = first; i < row.Singles; i += step)
        {
            float x = TX.Load(a.X, row.First + i);
            if (a.Residual != 0)
            {
                x += TX.Load(a.Residual, row.First + i);
                TX.Store(a.Sum, row.First + i, x);
                // As it was rounded.
                x = TX.Load(a.Sum, row.First + i);
            }
            squares += x * x;
        }
        float rstd = 1f / MathF.Sqrt(GroupReduce.Sum(squares, scratch) / a.Columns + a.Eps);
        if (Group.IdxX == 0) StoredF32.Store(a.Rstd, Grid.IdxX, rstd);
        if (first < row.Octets) StoreRms<TY>(a, row, first, x0, w, rstd);
        // What lies further is read again; each thread reads only what it wrote itself.
        long again = a.Residual != 0 ? a.Sum : a.X;
        for (int p = first + step; p < row.Octets; p += step) StoreRms<TY>(a, row, p, TX.LoadOctet(again, row.Body + 8L * p), Stored.LoadOctet(a.WKind, a.W, 8L * p), rstd);
        for (int i = first; i < row.Singles; i += step)
            TY.Store(a.Y, row.First + i, TX.Load(again, row.First + i) * rstd * (Stored.Load(a.WKind, a.W, i) + a.Offset));
    }

    private static Octet LoadSummed<TX>(NormArgs a, RowParts row, int p)
        where TX : struct, IStorage
    {
        Octet x = TX.LoadOctet(a.X, row.Body + 8L * p);
        if (a.Residual != 0)
        {
            Octet r = TX.LoadOctet(a.Residual, row.Body + 8L * p);
            x = TX.Round(Octet.Add(x, r));
            TX.StoreOctet(a.Sum, row.Body + 8L * p, x);
        }
        return x;
    }

    private static float Square(Octet o) => Square(o.Low) + Square(o.High);

    private static float Square(Pack p) => p.X * p.X + p.Y * p.Y + (p.Z * p.Z + p.W * p.W);

    private static void StoreRms<TY>(NormArgs a, RowParts row, int p, Octet x, Octet w, float rstd)
        where TY : struct, IStorage
    {
        x.Low = Scaled(x.Low, w.Low, rstd, a.Offset);
        x.High = Scaled(x.High, w.High, rstd, a.Offset);
        TY.StoreOctet(a.Y, row.Body + 8L * p, x);
    }

    private static Pack Scaled(Pack x, Pack w, float rstd, float offset) =>
        new(x.X * rstd * (w.X + offset), x.Y * rstd * (w.Y + offset), x.Z * rstd * (w.Z + offset), x.W * rstd * (w.W + offset));

    /// <summary>dx (+)= rstd·(g − x̂·mean(g⊙x̂)), g = dy⊙(w + offset), x̂ = x·rstd. The first octet of every thread stays in registers,
    /// with the gradient it may be added to already under way: a row is then read once, all of it before the barrier.</summary>
    public static void RmsBackward<TDy, TX, TDx>(NormArgs a)
        where TDy : struct, IStorage
        where TX : struct, IStorage
        where TDx : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        RowParts row = RowParts.Whole((long)Grid.IdxX * a.Columns, a.Columns, a.X | a.Dy | a.Y | a.W);
        int first = Group.IdxX, step = Group.DimX;
        float dot = 0f;
        Octet x = default, g = default, old = default;
        if (first < row.Octets)
        {
            Octet w = Stored.LoadOctet(a.WKind, a.W, 8L * first);
            if (a.Accumulate != 0) old = TDx.LoadOctet(a.Y, row.Body + 8L * first);
            x = TX.LoadOctet(a.X, row.Body + 8L * first);
            g = Weighed(TDy.LoadOctet(a.Dy, row.Body + 8L * first), w, a.Offset);
            dot = Octet.Dot(g, x);
        }
        for (int p = first + step; p < row.Octets; p += step) dot += Octet.Dot(LoadG<TDy>(a, row, p), TX.LoadOctet(a.X, row.Body + 8L * p));
        for (int i = first; i < row.Singles; i += step)
            dot += TDy.Load(a.Dy, row.First + i) * (Stored.Load(a.WKind, a.W, i) + a.Offset) * TX.Load(a.X, row.First + i);
        // Not sooner: everything else would wait for it.
        float rstd = StoredF32.Load(a.Rstd, Grid.IdxX);
        // dx = rstd·(g − x·rstd·mean)
        float c = rstd * (GroupReduce.Sum(dot, scratch) * rstd / a.Columns);
        if (first < row.Octets) TDx.StoreOctet(a.Y, row.Body + 8L * first, Dx(x, g, old, rstd, c));
        for (int p = first + step; p < row.Octets; p += step)
        {
            Octet more = default;
            if (a.Accumulate != 0) more = TDx.LoadOctet(a.Y, row.Body + 8L * p);
            TDx.StoreOctet(a.Y, row.Body + 8L * p, Dx(TX.LoadOctet(a.X, row.Body + 8L * p), LoadG<TDy>(a, row, p), more, rstd, c));
        }
        for (int i = first; i < row.Singles; i += step)
        {
            float dx = rstd * (TDy.Load(a.Dy, row.First + i) * (Stored.Load(a.WKind, a.W, i) + a.Offset) - TX.Load(a.X, row.First + i) * c);
            if (a.Accumulate != 0) dx += TDx.Load(a.Y, row.First + i);
            TDx.Store(a.Y, row.First + i, dx);
        }
    }

    private static Octet LoadG<TDy>(NormArgs a, RowParts row, int p)
        where TDy : struct, IStorage => Weighed(TDy.LoadOctet(a.Dy, row.Body + 8L * p), Stored.LoadOctet(a.WKind, a.W, 8L * p), a.Offset);

    /// <summary>dy ⊙ (w + offset).</summary>
    private static Octet Weighed(Octet dy, Octet w, float offset)
    {
        dy.Low = Scaled(dy.Low, w.Low, 1f, offset);
        dy.High = Scaled(dy.High, w.High, 1f, offset);
        return dy;
    }

    private static Octet Dx(Octet x, Octet g, Octet old, float rstd, float c)
    {
        x.Low = Dx(x.Low, g.Low, old.Low, rstd, c);
        x.High = Dx(x.High, g.High, old.High, rstd, c);
        return x;
    }

    private static Pack Dx(Pack x, Pack g, Pack old, float rstd, float c) =>
        new(old.X + rstd * (g.X - x.X * c), old.Y + rstd * (g.Y - x.Y * c), old.Z + rstd * (g.Z - x.Z * c), old.W + rstd * (g.W - x.W * c));

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
