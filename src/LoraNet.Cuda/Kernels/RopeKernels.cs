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

/// <summary>Rotary position embedding.</summary>
internal static class RopeKernels
{
    /// <summary>Pairs (i, i + Half) of every head; grid y over rows, the group over a row's work items. The first Half items
    /// of a head are its pairs, the rest its elements beyond 2·Half, so every element has one owner and y may alias x.
    /// Usual head sizes let a thread take four neighbouring items.</summary>
    public static void Rotate<TX, TY>(RopeArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        bool packs = ((a.HeadSize | a.Half) & 3) == 0 && ((a.X | a.Y) & 7) == 0;
        int step = packs ? 4 : 1, items = (a.HeadSize - a.Half) / step, width = a.Heads * items;
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Heads * a.HeadSize, table = (long)Stored.LoadInt(a.Positions, m) * a.Half;
            for (int w = Grid.IdxX * Group.DimX + Group.IdxX; w < width; w += Grid.DimX * Group.DimX)
            {
                int head = w / items, i = (w - head * items) * step;
                long at = row + (long)head * a.HeadSize + i;
                if (packs)
                {
                    Pack x2 = TX.LoadPack(a.X, at + a.Half);
                    if (i < a.Half)
                    {
                        Pack x1 = TX.LoadPack(a.X, at), cos = StoredF32.LoadPack(a.Cos, table + i), sin = StoredF32.LoadPack(a.Sin, table + i);
                        sin = new Pack(a.Sign * sin.X, a.Sign * sin.Y, a.Sign * sin.Z, a.Sign * sin.W);
                        TY.StorePack(a.Y, at, new Pack(
                            x1.X * cos.X - x2.X * sin.X, x1.Y * cos.Y - x2.Y * sin.Y, x1.Z * cos.Z - x2.Z * sin.Z, x1.W * cos.W - x2.W * sin.W));
                        x2 = new Pack(x2.X * cos.X + x1.X * sin.X, x2.Y * cos.Y + x1.Y * sin.Y, x2.Z * cos.Z + x1.Z * sin.Z, x2.W * cos.W + x1.W * sin.W);
                    }
                    TY.StorePack(a.Y, at + a.Half, x2);
                }
                else
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
            }
        }
    }
}
