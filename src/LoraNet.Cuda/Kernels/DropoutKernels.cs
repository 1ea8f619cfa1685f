using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="DropoutKernels.Apply"/>.</summary>
internal struct DropoutArgs
{
    public long X, Y, RowOffset;

    /// <summary>Where recorded work reads the step; 0 takes <see cref="Step"/>.</summary>
    public long StepAddress;
    public int Rows, Columns, Accumulate;

    /// <summary>Halves of the key's hash, and the step.</summary>
    public uint KeyLow, KeyHigh, Step;

    /// <summary>The smallest word that is kept; 2³² keeps nothing.</summary>
    public ulong Threshold;

    /// <summary>1 / (1 − p).</summary>
    public float Scale;
}

/// <summary>Dropout whose mask is a pure function of key, row and column: Philox4x32-10 (Salmon et al., 2011), four columns a call.</summary>
internal static class DropoutKernels
{
    private struct Words
    {
        public uint A, B, C, D;
    }

    public static void Apply<TX, TY>(DropoutArgs a)
        where TX : struct, IStorage
        where TY : struct, IStorage
    {
        if (a.StepAddress != 0) a.Step = (uint)Stored.LoadInt(a.StepAddress, 0);
        for (int m = Grid.IdxY; m < a.Rows; m += Grid.DimY)
        {
            long row = (long)m * a.Columns, number = a.RowOffset + m;
            // Two packs at a time: their chains of dependent rounds overlap.
            for (int c = RowWalk.FirstColumn; c < a.Columns; c += 2 * RowWalk.ColumnStep)
            {
                int next = c + RowWalk.ColumnStep;
                Pack x = Stored.LoadRow<TX>(a.X, row, c, a.Columns), y = default;
                if (next < a.Columns) y = Stored.LoadRow<TX>(a.X, row, next, a.Columns);
                x = Mask(a, x, number, c);
                y = Mask(a, y, number, next);
                Store<TY>(a, row, c, x);
                if (next < a.Columns) Store<TY>(a, row, next, y);
            }
        }
    }

    private static Pack Mask(DropoutArgs a, Pack x, long row, int c)
    {
        Words random = Philox((uint)(c >> 2), (uint)row, (uint)(row >> 32), a.Step, a.KeyLow, a.KeyHigh);
        return new Pack(
            random.A >= a.Threshold ? x.X * a.Scale : 0f, random.B >= a.Threshold ? x.Y * a.Scale : 0f,
            random.C >= a.Threshold ? x.Z * a.Scale : 0f, random.D >= a.Threshold ? x.W * a.Scale : 0f);
    }

    private static void Store<TY>(DropoutArgs a, long row, int c, Pack y)
        where TY : struct, IStorage
    {
        if (a.Accumulate != 0)
        {
            Pack old = Stored.LoadRow<TY>(a.Y, row, c, a.Columns);
            y = new Pack(old.X + y.X, old.Y + y.Y, old.Z + y.Z, old.W + y.W);
        }
        Stored.StoreRow<TY>(a.Y, row, c, a.Columns, y);
    }

    private static Words Philox(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1)
    {
        for (int round = 0; round < 10; round++)
        {
            ulong product0 = (ulong)0xD2511F53 * c0, product1 = (ulong)0xCD9E8D57 * c2;
            c0 = (uint)(product1 >> 32) ^ c1 ^ k0;
            c1 = (uint)product1;
            c2 = (uint)(product0 >> 32) ^ c3 ^ k1;
            c3 = (uint)product0;
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }
        Words words = default;
        words.A = c0;
        words.B = c1;
        words.C = c2;
        words.D = c3;
        return words;
    }
}
