using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>Philox4x32-10 (Salmon et al., 2011): four random 32-bit words from a 128-bit counter and a 64-bit key.</summary>
public static class Philox
{
    /// <summary>First round multiplier.</summary>
    public const uint Multiplier0 = 0xD2511F53;

    /// <summary>Second round multiplier.</summary>
    public const uint Multiplier1 = 0xCD9E8D57;

    /// <summary>Weyl increment of the first key word.</summary>
    public const uint Weyl0 = 0x9E3779B9;

    /// <summary>Weyl increment of the second key word.</summary>
    public const uint Weyl1 = 0xBB67AE85;

    /// <summary>The threshold p·2³² of a dropout mask, rounded to nearest: a word keeps its element when it is at least this.
    /// Beyond 2³² − 1 nothing is kept.</summary>
    public static ulong Threshold(float p) => (ulong)(p * 4294967296.0 + 0.5);

    /// <summary>Replaces the counter (c0, c1, c2, c3) by the four random words of (k0, k1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Generate(ref uint c0, ref uint c1, ref uint c2, ref uint c3, uint k0, uint k1)
    {
        for (int round = 0; round < 10; round++)
        {
            ulong product0 = (ulong)Multiplier0 * c0;
            ulong product1 = (ulong)Multiplier1 * c2;
            c0 = (uint)(product1 >> 32) ^ c1 ^ k0;
            c2 = (uint)(product0 >> 32) ^ c3 ^ k1;
            c1 = (uint)product1;
            c3 = (uint)product0;
            k0 += Weyl0;
            k1 += Weyl1;
        }
    }
}
