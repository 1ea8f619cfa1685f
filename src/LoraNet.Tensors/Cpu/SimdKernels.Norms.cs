using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>RMSNorm and LayerNorm, each row read from memory once.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <inheritdoc/>
    public override void RmsNorm(float* x, float* w, float eps, float offset, float* y, float* rstd, int rows, int columns) =>
        MapRows(new RmsNormRow(x, w, eps, offset, y, rstd, columns), rows, columns);

    /// <inheritdoc/>
    public override void RmsNormBackward(float* dy, float* x, float* w, float offset, float* rstd, float* dx, int rows, int columns, bool accumulate) =>
        MapRows(new NormBackwardRow(dy, x, w, offset, null, rstd, dx, columns, accumulate), rows, columns);

    /// <inheritdoc/>
    public override void LayerNorm(float* x, float* w, float* b, float eps, float* y, float* mean, float* rstd, int rows, int columns) =>
        MapRows(new LayerNormRow(x, w, b, eps, y, mean, rstd, columns), rows, columns);

    /// <inheritdoc/>
    public override void LayerNormBackward(float* dy, float* x, float* w, float* mean, float* rstd, float* dx, int rows, int columns, bool accumulate) =>
        MapRows(new NormBackwardRow(dy, x, w, 0f, mean, rstd, dx, columns, accumulate), rows, columns);

    private readonly struct RmsNormRow(float* x, float* w, float eps, float offset, float* y, float* rstd, int columns) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            float* a = x + (nint)row * columns, b = w, c = y + (nint)row * columns;
            float r = 1f / MathF.Sqrt(RowMath<TSimd, TVector>.SumOfSquares(a, 0f, columns) / columns + eps);
            rstd[row] = r;
            TVector factor = TSimd.Broadcast(r), shift = TSimd.Broadcast(offset);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
                TSimd.Store(TSimd.Multiply(TSimd.Multiply(TSimd.Load(a + i), factor), TSimd.Add(TSimd.Load(b + i), shift)), c + i);
            for (; i < columns; i++) c[i] = a[i] * r * (b[i] + offset);
        }
    }

    private readonly struct LayerNormRow(float* x, float* w, float* b, float eps, float* y, float* mean, float* rstd, int columns) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            float* a = x + (nint)row * columns, scale = w, shift = b, c = y + (nint)row * columns;
            float m = RowMath<TSimd, TVector>.Sum(a, columns) / columns;
            float r = 1f / MathF.Sqrt(RowMath<TSimd, TVector>.SumOfSquares(a, m, columns) / columns + eps);
            mean[row] = m;
            rstd[row] = r;
            TVector center = TSimd.Broadcast(m), factor = TSimd.Broadcast(r);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
            {
                TVector value = TSimd.Multiply(TSimd.Multiply(TSimd.Subtract(TSimd.Load(a + i), center), factor), TSimd.Load(scale + i));
                TSimd.Store(shift == null ? value : TSimd.Add(value, TSimd.Load(shift + i)), c + i);
            }
            for (; i < columns; i++) c[i] = (a[i] - m) * r * scale[i] + (shift == null ? 0f : shift[i]);
        }
    }

    /// <summary>dx (+)= rstd·(g − mean(g) − x̂·mean(g⊙x̂)), g = dy⊙(w + offset), x̂ = (x − mean)·rstd; without means for RMSNorm.</summary>
    private readonly struct NormBackwardRow(float* dy, float* x, float* w, float offset, float* mean, float* rstd, float* dx, int columns, bool accumulate) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            nint at = (nint)row * columns;
            float* d = dy + at, a = x + at, scale = w, c = dx + at;
            bool centered = mean != null;
            float m = centered ? mean[row] : 0f, r = rstd[row];
            TVector center = TSimd.Broadcast(m), factor = TSimd.Broadcast(r), shift = TSimd.Broadcast(offset);
            TVector sumG = TSimd.Broadcast(0f), sumGx = TSimd.Broadcast(0f);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
            {
                TVector g = TSimd.Multiply(TSimd.Load(d + i), TSimd.Add(TSimd.Load(scale + i), shift));
                sumG = TSimd.Add(sumG, g);
                sumGx = TSimd.MultiplyAdd(g, TSimd.Multiply(TSimd.Subtract(TSimd.Load(a + i), center), factor), sumGx);
            }
            float totalG = TSimd.Sum(sumG), totalGx = TSimd.Sum(sumGx);
            for (; i < columns; i++)
            {
                float g = d[i] * (scale[i] + offset);
                totalG += g;
                totalGx += g * ((a[i] - m) * r);
            }
            float meanG = centered ? totalG / columns : 0f, meanGx = totalGx / columns;
            TVector subtractG = TSimd.Broadcast(meanG), subtractGx = TSimd.Broadcast(-meanGx);
            i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
            {
                TVector g = TSimd.Multiply(TSimd.Load(d + i), TSimd.Add(TSimd.Load(scale + i), shift));
                TVector normal = TSimd.Multiply(TSimd.Subtract(TSimd.Load(a + i), center), factor);
                TVector value = TSimd.Multiply(factor, TSimd.MultiplyAdd(normal, subtractGx, TSimd.Subtract(g, subtractG)));
                TSimd.Store(accumulate ? TSimd.Add(TSimd.Load(c + i), value) : value, c + i);
            }
            for (; i < columns; i++)
            {
                float value = r * (d[i] * (scale[i] + offset) - meanG - (a[i] - m) * r * meanGx);
                c[i] = accumulate ? c[i] + value : value;
            }
        }
    }
}
