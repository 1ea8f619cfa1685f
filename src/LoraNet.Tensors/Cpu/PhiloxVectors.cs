using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary><see cref="Philox"/> for several counters at once: 8, 4 or 2 generators side by side in 64-bit lanes.</summary>
internal static unsafe class PhiloxVectors
{
    /// <summary>Words that <see cref="Fill"/> may write beyond those asked for.</summary>
    public const int Slack = 32;

    /// <summary>The random words of one row from column 4·<paramref name="block"/> on.</summary>
    public static void Fill(DropoutKey key, ulong row, uint block, uint* words, int count)
    {
        if (Vector512.IsHardwareAccelerated && Avx512F.IsSupported) Fill512(key, row, block, words, count);
        else if (Vector256.IsHardwareAccelerated && Avx2.IsSupported) Fill256(key, row, block, words, count);
        else Fill128(key, row, block, words, count);
    }

    /// <summary>factors[i] = words[i] ≥ threshold ? scale : 0; the arrays may be the same.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ToFactors(uint* words, ulong threshold, float scale, float* factors, int count)
    {
        if (threshold > uint.MaxValue)
        {
            new Span<float>(factors, count).Clear();
            return;
        }
        Vector128<uint> limit = Vector128.Create((uint)threshold);
        Vector128<uint> value = Vector128.Create(scale).AsUInt32();
        int i = 0;
        for (; i + 4 <= count; i += 4)
            (Vector128.GreaterThanOrEqual(Vector128.Load(words + i), limit) & value).AsSingle().Store(factors + i);
        for (; i < count; i++) factors[i] = words[i] >= threshold ? scale : 0f;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Fill512(DropoutKey key, ulong row, uint block, uint* words, int count)
    {
        Vector512<ulong> low = Vector512.Create(0xffffffffUL);
        for (int done = 0; done < count; done += 32, block += 8)
        {
            // In this lane order the interleaving at the end yields the words in column order.
            Vector512<ulong> c0 = (Vector512.Create((ulong)block) + Vector512.Create(0UL, 4, 1, 5, 2, 6, 3, 7)) & low;
            Vector512<ulong> c1 = Vector512.Create((ulong)(uint)row), c2 = Vector512.Create(row >> 32), c3 = Vector512.Create((ulong)key.Step);
            uint k0 = (uint)key.Hash, k1 = (uint)(key.Hash >> 32);
            for (int round = 0; round < 10; round++)
            {
                Vector512<ulong> p0 = Avx512F.Multiply(c0.AsUInt32(), Vector512.Create((ulong)Philox.Multiplier0).AsUInt32());
                Vector512<ulong> p1 = Avx512F.Multiply(c2.AsUInt32(), Vector512.Create((ulong)Philox.Multiplier1).AsUInt32());
                c0 = Vector512.ShiftRightLogical(p1, 32) ^ c1 ^ Vector512.Create((ulong)k0);
                c2 = Vector512.ShiftRightLogical(p0, 32) ^ c3 ^ Vector512.Create((ulong)k1);
                c1 = p1 & low;
                c3 = p0 & low;
                k0 += Philox.Weyl0;
                k1 += Philox.Weyl1;
            }
            Vector512<ulong> first = c0 | Vector512.ShiftLeft(c1, 32), second = c2 | Vector512.ShiftLeft(c3, 32);
            Avx512F.UnpackLow(first, second).AsUInt32().Store(words + done);
            Avx512F.UnpackHigh(first, second).AsUInt32().Store(words + done + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Fill256(DropoutKey key, ulong row, uint block, uint* words, int count)
    {
        Vector256<ulong> low = Vector256.Create(0xffffffffUL);
        for (int done = 0; done < count; done += 16, block += 4)
        {
            Vector256<ulong> c0 = (Vector256.Create((ulong)block) + Vector256.Create(0UL, 2, 1, 3)) & low;
            Vector256<ulong> c1 = Vector256.Create((ulong)(uint)row), c2 = Vector256.Create(row >> 32), c3 = Vector256.Create((ulong)key.Step);
            uint k0 = (uint)key.Hash, k1 = (uint)(key.Hash >> 32);
            for (int round = 0; round < 10; round++)
            {
                Vector256<ulong> p0 = Avx2.Multiply(c0.AsUInt32(), Vector256.Create((ulong)Philox.Multiplier0).AsUInt32());
                Vector256<ulong> p1 = Avx2.Multiply(c2.AsUInt32(), Vector256.Create((ulong)Philox.Multiplier1).AsUInt32());
                c0 = Vector256.ShiftRightLogical(p1, 32) ^ c1 ^ Vector256.Create((ulong)k0);
                c2 = Vector256.ShiftRightLogical(p0, 32) ^ c3 ^ Vector256.Create((ulong)k1);
                c1 = p1 & low;
                c3 = p0 & low;
                k0 += Philox.Weyl0;
                k1 += Philox.Weyl1;
            }
            Vector256<ulong> first = c0 | Vector256.ShiftLeft(c1, 32), second = c2 | Vector256.ShiftLeft(c3, 32);
            Avx2.UnpackLow(first, second).AsUInt32().Store(words + done);
            Avx2.UnpackHigh(first, second).AsUInt32().Store(words + done + 8);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Fill128(DropoutKey key, ulong row, uint block, uint* words, int count)
    {
        Vector128<ulong> low = Vector128.Create(0xffffffffUL);
        for (int done = 0; done < count; done += 8, block += 2)
        {
            Vector128<ulong> c0 = (Vector128.Create((ulong)block) + Vector128.Create(0UL, 1)) & low;
            Vector128<ulong> c1 = Vector128.Create((ulong)(uint)row), c2 = Vector128.Create(row >> 32), c3 = Vector128.Create((ulong)key.Step);
            uint k0 = (uint)key.Hash, k1 = (uint)(key.Hash >> 32);
            for (int round = 0; round < 10; round++)
            {
                Vector128<ulong> p0 = Multiply(c0, Philox.Multiplier0);
                Vector128<ulong> p1 = Multiply(c2, Philox.Multiplier1);
                c0 = Vector128.ShiftRightLogical(p1, 32) ^ c1 ^ Vector128.Create((ulong)k0);
                c2 = Vector128.ShiftRightLogical(p0, 32) ^ c3 ^ Vector128.Create((ulong)k1);
                c1 = p1 & low;
                c3 = p0 & low;
                k0 += Philox.Weyl0;
                k1 += Philox.Weyl1;
            }
            Vector128<ulong> first = c0 | Vector128.ShiftLeft(c1, 32), second = c2 | Vector128.ShiftLeft(c3, 32);
            Vector128.Create(first[0], second[0]).AsUInt32().Store(words + done);
            Vector128.Create(first[1], second[1]).AsUInt32().Store(words + done + 4);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> Multiply(Vector128<ulong> a, uint b)
    {
        if (Sse2.IsSupported) return Sse2.Multiply(a.AsUInt32(), Vector128.Create((ulong)b).AsUInt32());
        if (AdvSimd.IsSupported) return AdvSimd.MultiplyWideningLower(AdvSimd.ExtractNarrowingLower(a), Vector64.Create(b));
        return a * Vector128.Create((ulong)b);
    }
}
