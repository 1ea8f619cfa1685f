using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose<TPanel>(byte* source, nint ld, int rows, int columns, float alpha, float* destination, nint destinationStride, int pad)
        where TPanel : struct, IPanelType
    {
        Vector128<float> factor = Vector128.Create(alpha);
        nint step = ld * TPanel.Size;
        int r = 0;
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
