using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>Copies of matrix blocks in the order that tile kernels read.</summary>
internal static unsafe class Packing
{
    /// <summary>destination[c·destinationStride + r] = alpha·source[r·ld + c] for r &lt; rows, c &lt; columns; r up to <paramref name="pad"/> is zeroed.</summary>
    public static void Transpose(void* source, DType type, nint ld, int rows, int columns, float alpha, float* destination, nint destinationStride, int pad)
    {
        switch (type)
        {
            case DType.F32: Transpose<PanelF32>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            case DType.BF16: Transpose<PanelBF16>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            case DType.F16: Transpose<PanelF16>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            default: throw new ArgumentOutOfRangeException(nameof(type));
        }
    }

    /// <summary>destination[r·destinationStride + c] = alpha·source[r·ld + c] for r &lt; rows, c &lt; columns; c up to <paramref name="pad"/> is zeroed.</summary>
    public static void Copy(void* source, DType type, nint ld, int rows, int columns, float alpha, float* destination, nint destinationStride, int pad)
    {
        switch (type)
        {
            case DType.F32: Copy<PanelF32>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            case DType.BF16: Copy<PanelBF16>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            case DType.F16: Copy<PanelF16>((byte*)source, ld, rows, columns, alpha, destination, destinationStride, pad); break;
            default: throw new ArgumentOutOfRangeException(nameof(type));
        }
    }

    /// <summary>destination[i] = source[i] for i &lt; count, a multiple of two vectors, widened to binary32.</summary>
    public static void Widen<TSimd, TVector>(void* source, DType type, int count, float* destination)
        where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        switch (type)
        {
            case DType.F32: new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(destination, count)); break;
            case DType.BF16: Widen<PanelBF16, TSimd, TVector>((byte*)source, count, destination); break;
            case DType.F16: Widen<PanelF16, TSimd, TVector>((byte*)source, count, destination); break;
            default: throw new ArgumentOutOfRangeException(nameof(type));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Widen<TPanel, TSimd, TVector>(byte* source, int count, float* destination)
        where TPanel : struct, IPanelType where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        nint bytes = TSimd.Width * TPanel.Size;
        for (float* end = destination + count; destination < end; destination += 2 * TSimd.Width, source += 2 * bytes)
        {
            TVector a = TPanel.Load<TSimd, TVector>(source), b = TPanel.Load<TSimd, TVector>(source + bytes);
            TSimd.Store(a, destination);
            TSimd.Store(b, destination + TSimd.Width);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose<TPanel>(byte* source, nint ld, int rows, int columns, float alpha, float* destination, nint destinationStride, int pad)
        where TPanel : struct, IPanelType
    {
        Vector128<float> factor = Vector128.Create(alpha);
        nint step = ld * TPanel.Size;
        int r = alpha == 1f ? TransposeWide<TPanel>(source, step, rows, columns, destination, destinationStride) : 0;
        for (; r + 4 <= rows; r += 4)
        {
            byte* s = source + r * step;
            float* d = destination + r;
            int c = 0;
            for (; c + 4 <= columns; c += 4, s += 4 * TPanel.Size, d += 4 * destinationStride)
            {
                Vector128<float> x0 = TPanel.Load<Simd128, Vector128<float>>(s) * factor;
                Vector128<float> x1 = TPanel.Load<Simd128, Vector128<float>>(s + step) * factor;
                Vector128<float> x2 = TPanel.Load<Simd128, Vector128<float>>(s + 2 * step) * factor;
                Vector128<float> x3 = TPanel.Load<Simd128, Vector128<float>>(s + 3 * step) * factor;
                // 4 by 4: interleave pairs of rows, then pairs of pairs.
                Vector128<float> l02 = Low(x0, x2), h02 = High(x0, x2), l13 = Low(x1, x3), h13 = High(x1, x3);
                Low(l02, l13).Store(d);
                High(l02, l13).Store(d + destinationStride);
                Low(h02, h13).Store(d + 2 * destinationStride);
                High(h02, h13).Store(d + 3 * destinationStride);
            }
            for (; c < columns; c++, s += TPanel.Size, d += destinationStride)
            {
                for (int i = 0; i < 4; i++) d[i] = TPanel.Load<SimdScalar, float>(s + i * step) * alpha;
            }
        }
        for (; r < rows; r++)
        {
            byte* s = source + r * step;
            float* d = destination + r;
            for (int c = 0; c < columns; c++, s += TPanel.Size, d += destinationStride) *d = TPanel.Load<SimdScalar, float>(s) * alpha;
        }
        if (rows >= pad) return;
        for (int c = 0; c < columns; c++) new Span<float>(destination + c * destinationStride + rows, pad - rows).Clear();
    }

    /// <summary>
    /// Turns as many groups of 16 and 8 rows as there are, where the processor has wide registers; returns the rows done.
    /// Four columns of 4-byte elements at a time: rows i, i + 4, … share a register, so that the 4 by 4 exchange inside each
    /// 128 bits leaves a column of all rows in one register. Two bfloat16 columns travel as one 4-byte element.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int TransposeWide<TPanel>(byte* source, nint step, int rows, int columns, float* destination, nint stride)
        where TPanel : struct, IPanelType
    {
        if (typeof(TPanel) == typeof(PanelF16) || !Avx.IsSupported) return 0;
        bool narrow = typeof(TPanel) == typeof(PanelBF16);
        int width = narrow ? 8 : 4, r = 0;
        for (; Avx512F.IsSupported && Vector512.IsHardwareAccelerated && r + 16 <= rows; r += 16)
        {
            byte* s = source + r * step;
            float* d = destination + r;
            int c = 0;
            for (; c + width <= columns; c += width, s += 16, d += width * stride)
            {
                Vector512<float> x0 = Four(s, step), x1 = Four(s + step, step), x2 = Four(s + 2 * step, step), x3 = Four(s + 3 * step, step);
                Vector512<float> l02 = Avx512F.UnpackLow(x0, x2), h02 = Avx512F.UnpackHigh(x0, x2);
                Vector512<float> l13 = Avx512F.UnpackLow(x1, x3), h13 = Avx512F.UnpackHigh(x1, x3);
                Put<TPanel>(Avx512F.UnpackLow(l02, l13), d, stride);
                Put<TPanel>(Avx512F.UnpackHigh(l02, l13), d + (narrow ? 2 : 1) * stride, stride);
                Put<TPanel>(Avx512F.UnpackLow(h02, h13), d + (narrow ? 4 : 2) * stride, stride);
                Put<TPanel>(Avx512F.UnpackHigh(h02, h13), d + (narrow ? 6 : 3) * stride, stride);
            }
            Rest<TPanel>(s, step, 16, columns - c, d, stride);
        }
        for (; r + 8 <= rows; r += 8)
        {
            byte* s = source + r * step;
            float* d = destination + r;
            int c = 0;
            for (; c + width <= columns; c += width, s += 16, d += width * stride)
            {
                Vector256<float> x0 = Two(s, step), x1 = Two(s + step, step), x2 = Two(s + 2 * step, step), x3 = Two(s + 3 * step, step);
                Vector256<float> l02 = Avx.UnpackLow(x0, x2), h02 = Avx.UnpackHigh(x0, x2);
                Vector256<float> l13 = Avx.UnpackLow(x1, x3), h13 = Avx.UnpackHigh(x1, x3);
                Put<TPanel>(Avx.UnpackLow(l02, l13), d, stride);
                Put<TPanel>(Avx.UnpackHigh(l02, l13), d + (narrow ? 2 : 1) * stride, stride);
                Put<TPanel>(Avx.UnpackLow(h02, h13), d + (narrow ? 4 : 2) * stride, stride);
                Put<TPanel>(Avx.UnpackHigh(h02, h13), d + (narrow ? 6 : 3) * stride, stride);
            }
            Rest<TPanel>(s, step, 8, columns - c, d, stride);
        }
        return r;
    }

    /// <summary>16 bytes of rows 0, 4, 8 and 12.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Four(byte* s, nint step) => Vector512.Create(Two(s, step), Two(s + 8 * step, step));

    /// <summary>16 bytes of rows 0 and 4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Two(byte* s, nint step) =>
        Vector256.Create(Vector128.Load((float*)s), Vector128.Load((float*)(s + 4 * step)));

    /// <summary>Stores one column, or the two bfloat16 columns that it holds: the first in the low halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<TPanel>(Vector512<float> x, float* d, nint stride) where TPanel : struct, IPanelType
    {
        if (typeof(TPanel) == typeof(PanelF32))
        {
            x.Store(d);
            return;
        }
        Vector512.ShiftLeft(x.AsUInt32(), 16).AsSingle().Store(d);
        (x.AsUInt32() & Vector512.Create(0xffff0000u)).AsSingle().Store(d + stride);
    }

    /// <summary>Stores one column, or the two bfloat16 columns that it holds: the first in the low halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put<TPanel>(Vector256<float> x, float* d, nint stride) where TPanel : struct, IPanelType
    {
        if (typeof(TPanel) == typeof(PanelF32))
        {
            x.Store(d);
            return;
        }
        Vector256.ShiftLeft(x.AsUInt32(), 16).AsSingle().Store(d);
        (x.AsUInt32() & Vector256.Create(0xffff0000u)).AsSingle().Store(d + stride);
    }

    private static void Rest<TPanel>(byte* s, nint step, int rows, int columns, float* d, nint stride) where TPanel : struct, IPanelType
    {
        for (int c = 0; c < columns; c++, s += TPanel.Size, d += stride)
        {
            for (int i = 0; i < rows; i++) d[i] = TPanel.Load<SimdScalar, float>(s + i * step);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Copy<TPanel>(byte* source, nint ld, int rows, int columns, float alpha, float* destination, nint destinationStride, int pad)
        where TPanel : struct, IPanelType
    {
        Vector256<float> factor = Vector256.Create(alpha);
        nint step = ld * TPanel.Size;
        for (int r = 0; r < rows; r++)
        {
            byte* s = source + r * step;
            float* d = destination + r * destinationStride;
            int c = 0;
            for (; c + 8 <= columns; c += 8) (TPanel.Load<Simd256, Vector256<float>>(s + c * TPanel.Size) * factor).Store(d + c);
            for (; c < columns; c++) d[c] = TPanel.Load<SimdScalar, float>(s + c * TPanel.Size) * alpha;
            for (; c < pad; c++) d[c] = 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Low(Vector128<float> a, Vector128<float> b)
    {
        if (System.Runtime.Intrinsics.X86.Sse.IsSupported) return System.Runtime.Intrinsics.X86.Sse.UnpackLow(a, b);
        if (System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.IsSupported) return System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.ZipLow(a, b);
        return Vector128.Create(a[0], b[0], a[1], b[1]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> High(Vector128<float> a, Vector128<float> b)
    {
        if (System.Runtime.Intrinsics.X86.Sse.IsSupported) return System.Runtime.Intrinsics.X86.Sse.UnpackHigh(a, b);
        if (System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.IsSupported) return System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.ZipHigh(a, b);
        return Vector128.Create(a[2], b[2], a[3], b[3]);
    }
}
