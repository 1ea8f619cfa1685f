using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="RopeKernels.Rotate"/>.</summary>
internal struct RopeArgs
{
    public long X, Cos, Sin, Positions, Y;
    public int Rows, Heads, HeadSize, Half;

    /// <summary>1 for the forward, −1 for the inverse rotation.</summary>
    public float Sign;
}

/// <summary>Arguments of <see cref="RopeKernels.Append"/>.</summary>
internal struct AppendArgs
{
    /// <summary>The queries (x and y) and the tables.</summary>
    public RopeArgs Turn;

    /// <summary>New keys and values, their rows in the cache, the cache.</summary>
    public long Key, Value, Rows, Keys, Values;
    public int KeyHeads;
}

/// <summary>Rotary position embedding.</summary>
internal static class RopeKernels
{
    /// <summary>Pairs (i, i + Half) of every head; grid y over rows, the group over a row's work items. The first Half items
    /// of a head are its pairs, the rest its elements beyond 2·Half, so every element has one owner and y may alias x.
    /// Usual head sizes let a thread take eight neighbouring items.</summary>
    public static void Rotate<TX, TY>(RopeArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        bool octets = ((a.HeadSize | a.Half) & 7) == 0 && ((a.X | a.Y | a.Cos | a.Sin) & 15) == 0;
        int step = octets ? 8 : 1, items = (a.HeadSize - a.Half) / step, width = a.Heads * items;
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Heads * a.HeadSize, table = (long)Stored.LoadInt(a.Positions, m) * a.Half;
            for (int w = Grid.IdxX * Group.DimX + Group.IdxX; w < width; w += Grid.DimX * Group.DimX)
            {
                int head = w / items, i = (w - head * items) * step;
                long at = row + (long)head * a.HeadSize + i;
                if (octets) TurnOctets<TX, TY>(a, table, i, at);
                else TurnOne<TX, TY>(a, table, i, at);
            }
        }
    }

    /// <summary>Queries turned in place, turned keys and values to their rows of a cache; without tables (Half = 0) only the latter. Grid as
    /// <see cref="Rotate"/>, a row's items being those of its query heads, its key heads and its values.</summary>
    public static void Append<T>(AppendArgs a)
        where T : struct, IStorage
    {
        bool octets = ((a.Turn.HeadSize | a.Turn.Half) & 7) == 0 && ((a.Turn.X | a.Key | a.Value | a.Keys | a.Values | a.Turn.Cos | a.Turn.Sin) & 15) == 0;
        int step = octets ? 8 : 1, items = (a.Turn.HeadSize - a.Turn.Half) / step, keyWidth = a.KeyHeads * a.Turn.HeadSize;
        int queries = a.Turn.Half > 0 ? a.Turn.Heads * items : 0, keys = a.KeyHeads * items, width = queries + keys + keyWidth / step;
        for (int m = Grid.IdxY; m < a.Turn.Rows; m += Grid.DimY)
        {
            long table = a.Turn.Half > 0 ? (long)Stored.LoadInt(a.Turn.Positions, m) * a.Turn.Half : 0;
            long own = (long)m * keyWidth, cached = (long)Stored.LoadInt(a.Rows, m) * keyWidth;
            for (int w = Grid.IdxX * Group.DimX + Group.IdxX; w < width; w += Grid.DimX * Group.DimX)
            {
                RopeArgs turn = a.Turn;
                if (w >= queries + keys)
                {
                    int c = (w - queries - keys) * step;
                    if (octets) T.StoreOctet(a.Values, cached + c, T.LoadOctet(a.Value, own + c));
                    else T.Store(a.Values, cached + c, T.Load(a.Value, own + c));
                    continue;
                }
                bool key = w >= queries;
                int item = key ? w - queries : w, head = item / items, i = (item - head * items) * step;
                long offset = (long)head * a.Turn.HeadSize + i, at = key ? own + offset : (long)m * a.Turn.Heads * a.Turn.HeadSize + offset;
                if (key) turn.X = turn.Y = a.Key;
                // Attention over the new tokens alone reads the keys where they are.
                if (octets) TurnOctets<T, T>(turn, table, i, at);
                else TurnOne<T, T>(turn, table, i, at);
                if (!key) continue;
                if (octets)
                {
                    if (i < turn.Half) T.StoreOctet(a.Keys, cached + offset, T.LoadOctet(a.Key, at));
                    T.StoreOctet(a.Keys, cached + offset + turn.Half, T.LoadOctet(a.Key, at + turn.Half));
                }
                else
                {
                    if (i < turn.Half) T.Store(a.Keys, cached + offset, T.Load(a.Key, at));
                    T.Store(a.Keys, cached + offset + turn.Half, T.Load(a.Key, at + turn.Half));
                }
            }
        }
    }

    /// <summary>Eight pairs from item <paramref name="i"/> of a head, or eight elements beyond the pairs.</summary>
    private static void TurnOctets<TX, TY>(RopeArgs a, long table, int i, long at)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        Octet x2 = TX.LoadOctet(a.X, at + a.Half);
        if (i < a.Half)
        {
            Octet x1 = TX.LoadOctet(a.X, at), cos = StoredF32.LoadOctet(a.Cos, table + i), sin = StoredF32.LoadOctet(a.Sin, table + i);
            Octet y1 = default, y2 = default;
            y1.Low = Turn(x1.Low, cos.Low, x2.Low, sin.Low, -a.Sign);
            y1.High = Turn(x1.High, cos.High, x2.High, sin.High, -a.Sign);
            y2.Low = Turn(x2.Low, cos.Low, x1.Low, sin.Low, a.Sign);
            y2.High = Turn(x2.High, cos.High, x1.High, sin.High, a.Sign);
            TY.StoreOctet(a.Y, at, y1);
            x2 = y2;
        }
        TY.StoreOctet(a.Y, at + a.Half, x2);
    }

    private static void TurnOne<TX, TY>(RopeArgs a, long table, int i, long at)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        float x2 = TX.Load(a.X, at + a.Half);
        if (i < a.Half)
        {
            float cos = StoredF32.Load(a.Cos, table + i), sin = a.Sign * StoredF32.Load(a.Sin, table + i), x1 = TX.Load(a.X, at);
            TY.Store(a.Y, at, x1 * cos - x2 * sin);
            x2 = x2 * cos + x1 * sin;
        }
        TY.Store(a.Y, at + a.Half, x2);
    }

    /// <summary>x·cos + sign·y·sin.</summary>
    private static Pack Turn(Pack x, Pack cos, Pack y, Pack sin, float sign) => new(
        x.X * cos.X + sign * y.X * sin.X, x.Y * cos.Y + sign * y.Y * sin.Y, x.Z * cos.Z + sign * y.Z * sin.Z, x.W * cos.W + sign * y.W * sin.W);
}
