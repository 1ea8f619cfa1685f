using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// Products of rows with rows, C[i, n] = Σₖ A[i, k]·B[n, k], vectors running along k: nothing is packed. For few rows
/// (decoding from a row-major weight) and for few columns (x·Aᵀ of LoRA).
/// </summary>
internal static unsafe class DotKernel<TSimd, TVector>
    where TSimd : struct, ISimd<TVector> where TVector : unmanaged
{
    /// <summary>c[i·ldc + n] (+)= alpha·dot + bias[n] for all i &lt; m, n &lt; count. Strides in elements.</summary>
    public static void Run<TPanel>(float* a, nint lda, int m, byte* b, nint ldb, int count, int depth, float alpha, float* bias, float* c, nint ldc, bool accumulate)
        where TPanel : struct, IPanelType
    {
        int i = 0;
        // Three rows by four columns: 12 sums and 7 reads for 12 products, within 16 registers.
        for (; i + 3 <= m; i += 3) Rows<TPanel, Rows3>(a + i * lda, lda, b, ldb, count, depth, alpha, bias, c + i * ldc, ldc, accumulate);
        if (m - i == 2) Rows<TPanel, Rows2>(a + i * lda, lda, b, ldb, count, depth, alpha, bias, c + i * ldc, ldc, accumulate);
        if (m - i == 1) Rows<TPanel, Rows1>(a + i * lda, lda, b, ldb, count, depth, alpha, bias, c + i * ldc, ldc, accumulate);
    }

    private static void Rows<TPanel, TRows>(float* a, nint lda, byte* b, nint ldb, int count, int depth, float alpha, float* bias, float* c, nint ldc, bool accumulate)
        where TPanel : struct, IPanelType where TRows : struct, ITileRows
    {
        float* sums = stackalloc float[12];
        for (int n = 0; n < count; n += 4)
        {
            int columns = Math.Min(4, count - n);
            byte* bn = b + n * ldb * TPanel.Size;
            switch (columns)
            {
                case 4: Tile<TPanel, TRows, Rows4>(a, lda, bn, ldb * TPanel.Size, depth, sums); break;
                case 3: Tile<TPanel, TRows, Rows3>(a, lda, bn, ldb * TPanel.Size, depth, sums); break;
                case 2: Tile<TPanel, TRows, Rows2>(a, lda, bn, ldb * TPanel.Size, depth, sums); break;
                default: Tile<TPanel, TRows, Rows1>(a, lda, bn, ldb * TPanel.Size, depth, sums); break;
            }
            for (int i = 0; i < TRows.Value; i++)
            {
                for (int j = 0; j < columns; j++)
                {
                    float value = alpha * sums[4 * i + j];
                    if (bias != null) value += bias[n + j];
                    ref float target = ref c[i * ldc + n + j];
                    target = accumulate ? target + value : value;
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<TPanel, TRows, TColumns>(float* a, nint lda, byte* b, nint step, int depth, float* sums)
        where TPanel : struct, IPanelType where TRows : struct, ITileRows where TColumns : struct, ITileRows
    {
        TVector c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23;
        c00 = c01 = c02 = c03 = c10 = c11 = c12 = c13 = c20 = c21 = c22 = c23 = TSimd.Broadcast(0f);
        float* a1 = a + lda, a2 = a + 2 * lda;
        byte* b1 = b + step, b2 = b + 2 * step, b3 = b + 3 * step;
        int k = 0;
        for (; k + TSimd.Width <= depth; k += TSimd.Width)
        {
            TVector x0 = TSimd.Load(a + k);
            TVector x1 = TRows.Value > 1 ? TSimd.Load(a1 + k) : x0;
            TVector x2 = TRows.Value > 2 ? TSimd.Load(a2 + k) : x0;
            TVector w = TPanel.Load<TSimd, TVector>(b + (nint)k * TPanel.Size);
            c00 = TSimd.MultiplyAdd(x0, w, c00);
            if (TRows.Value > 1) c10 = TSimd.MultiplyAdd(x1, w, c10);
            if (TRows.Value > 2) c20 = TSimd.MultiplyAdd(x2, w, c20);
            if (TColumns.Value > 1)
            {
                w = TPanel.Load<TSimd, TVector>(b1 + (nint)k * TPanel.Size);
                c01 = TSimd.MultiplyAdd(x0, w, c01);
                if (TRows.Value > 1) c11 = TSimd.MultiplyAdd(x1, w, c11);
                if (TRows.Value > 2) c21 = TSimd.MultiplyAdd(x2, w, c21);
            }
            if (TColumns.Value > 2)
            {
                w = TPanel.Load<TSimd, TVector>(b2 + (nint)k * TPanel.Size);
                c02 = TSimd.MultiplyAdd(x0, w, c02);
                if (TRows.Value > 1) c12 = TSimd.MultiplyAdd(x1, w, c12);
                if (TRows.Value > 2) c22 = TSimd.MultiplyAdd(x2, w, c22);
            }
            if (TColumns.Value > 3)
            {
                w = TPanel.Load<TSimd, TVector>(b3 + (nint)k * TPanel.Size);
                c03 = TSimd.MultiplyAdd(x0, w, c03);
                if (TRows.Value > 1) c13 = TSimd.MultiplyAdd(x1, w, c13);
                if (TRows.Value > 2) c23 = TSimd.MultiplyAdd(x2, w, c23);
            }
        }
        sums[0] = TSimd.Sum(c00); sums[1] = TSimd.Sum(c01); sums[2] = TSimd.Sum(c02); sums[3] = TSimd.Sum(c03);
        sums[4] = TSimd.Sum(c10); sums[5] = TSimd.Sum(c11); sums[6] = TSimd.Sum(c12); sums[7] = TSimd.Sum(c13);
        sums[8] = TSimd.Sum(c20); sums[9] = TSimd.Sum(c21); sums[10] = TSimd.Sum(c22); sums[11] = TSimd.Sum(c23);
        for (; k < depth; k++)
        {
            for (int i = 0; i < TRows.Value; i++)
            {
                for (int j = 0; j < TColumns.Value; j++)
                    sums[4 * i + j] += a[i * lda + k] * TPanel.Load<SimdScalar, float>(b + j * step + (nint)k * TPanel.Size);
            }
        }
    }
}
