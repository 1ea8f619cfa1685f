namespace LoraNet.Tensors;

/// <summary>
/// Philox4x32-10 (Salmon, Moraes, Dror &amp; Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): a bijection of a
/// 128-bit counter chosen by a 64-bit key, so that any element's random word is computed on its own, in any order and on any device.
/// </summary>
public static class Philox
{
    internal const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57;
    internal const uint Weyl0 = 0x9E3779B9, Weyl1 = 0xBB67AE85;

    /// <summary>The four 32-bit words of one counter.</summary>
    /// <param name="c0">Counter word 0.</param>
    /// <param name="c1">Counter word 1.</param>
    /// <param name="c2">Counter word 2.</param>
    /// <param name="c3">Counter word 3.</param>
    /// <param name="k0">Key word 0.</param>
    /// <param name="k1">Key word 1.</param>
    public static (uint W0, uint W1, uint W2, uint W3) Block(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1)
    {
        for (int round = 0; round < 10; round++)
        {
            ulong product0 = (ulong)Multiplier0 * c0;
            ulong product1 = (ulong)Multiplier1 * c2;
            c0 = (uint)(product1 >> 32) ^ c1 ^ k0;
            c1 = (uint)product1;
            c2 = (uint)(product0 >> 32) ^ c3 ^ k1;
            c3 = (uint)product0;
            k0 += Weyl0;
            k1 += Weyl1;
        }
        return (c0, c1, c2, c3);
    }

    /// <summary>The words of columns 4·<paramref name="columnBlock"/> to 4·<paramref name="columnBlock"/> + 3 of a row under
    /// <paramref name="key"/>, laid out as <see cref="DropoutKey"/> states.</summary>
    /// <param name="key">Names the mask.</param>
    /// <param name="row">Row, counted from the start of the optimizer step.</param>
    /// <param name="columnBlock">Column / 4.</param>
    public static (uint W0, uint W1, uint W2, uint W3) Block(DropoutKey key, long row, uint columnBlock) =>
        Block(columnBlock, (uint)row, (uint)(row >> 32), key.Step, (uint)key.Hash, (uint)(key.Hash >> 32));

    /// <summary>The word of one element under <paramref name="key"/>.</summary>
    /// <param name="key">Names the mask.</param>
    /// <param name="row">Row, counted from the start of the optimizer step.</param>
    /// <param name="column">Column.</param>
    public static uint Word(DropoutKey key, long row, int column)
    {
        (uint w0, uint w1, uint w2, uint w3) = Block(key, row, (uint)column / 4);
        return (column & 3) switch { 0 => w0, 1 => w1, 2 => w2, _ => w3 };
    }

    /// <summary>p·2³² rounded to nearest: an element is kept when its word is at least this. 64 bits wide because p = 1 gives 2³², which keeps nothing.</summary>
    /// <param name="p">Probability of dropping, 0 to 1.</param>
    public static ulong Threshold(float p)
    {
        if (!(p >= 0 && p <= 1)) throw new ArgumentOutOfRangeException(nameof(p), p, "A dropout probability is between 0 and 1.");
        return (ulong)Math.Round(p * 4294967296.0);
    }
}
