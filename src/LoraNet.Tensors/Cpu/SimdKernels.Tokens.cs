using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>Rotary embedding, dropout and cross-entropy: one row, one token.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <inheritdoc/>
    public override void Rope(float* x, float* cos, float* sin, int* positions, int headSize, int rotated, bool inverse, float* y, int rows, int columns) =>
        MapRows(new RopeRow(x, cos, sin, positions, headSize, rotated / 2, inverse, y, columns), rows, columns);

    private readonly struct RopeRow(float* x, float* cos, float* sin, int* positions, int headSize, int half, bool inverse, float* y, int columns) : IRowAction
    {
        public void Invoke(int row)
        {
            float* c = cos + (nint)positions[row] * half, s = sin + (nint)positions[row] * half;
            nint at = (nint)row * columns;
            int rest = headSize - 2 * half;
            for (int head = 0; head < columns; head += headSize)
            {
                Rotate(x + at + head, c, s, y + at + head);
                if (rest > 0 && x != y) new ReadOnlySpan<float>(x + at + head + 2 * half, rest).CopyTo(new Span<float>(y + at + head + 2 * half, rest));
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Rotate(float* a, float* c, float* s, float* b)
        {
            float sign = inverse ? -1f : 1f;
            TVector factor = TSimd.Broadcast(sign);
            int h = half, i = 0;
            for (; i + TSimd.Width <= h; i += TSimd.Width)
            {
                TVector first = TSimd.Load(a + i), second = TSimd.Load(a + h + i);
                TVector cosine = TSimd.Load(c + i), sine = TSimd.Multiply(TSimd.Load(s + i), factor);
                TSimd.Store(TSimd.Subtract(TSimd.Multiply(first, cosine), TSimd.Multiply(second, sine)), b + i);
                TSimd.Store(TSimd.MultiplyAdd(second, cosine, TSimd.Multiply(first, sine)), b + h + i);
            }
            for (; i < h; i++)
            {
                float first = a[i], second = a[h + i], sine = s[i] * sign;
                b[i] = first * c[i] - second * sine;
                b[h + i] = second * c[i] + first * sine;
            }
        }
    }

    /// <inheritdoc/>
    public override void Dropout(float* x, float p, DropoutKey key, long rowOffset, float* y, int rows, int columns, bool accumulate) =>
        MapRows(new DropoutRow(x, p, key, rowOffset, y, columns, accumulate), rows, columns);

    private readonly struct DropoutRow(float* x, float p, DropoutKey key, long rowOffset, float* y, int columns, bool accumulate) : IRowAction
    {
        /// <summary>Columns whose random words are made at a time.</summary>
        private const int Block = 256;

        public void Invoke(int row)
        {
            uint* words = stackalloc uint[Block + PhiloxVectors.Slack];
            ulong threshold = Philox.Threshold(p);
            float scale = p < 1f ? 1f / (1f - p) : 0f;
            for (int column = 0; column < columns; column += Block)
            {
                int count = Math.Min(Block, columns - column);
                PhiloxVectors.Fill(key, (ulong)(rowOffset + row), (uint)(column / 4), words, count);
                nint at = (nint)row * columns + column;
                Apply(words, threshold, scale, x + at, y + at, count);
            }
        }

        private void Apply(uint* words, ulong threshold, float scale, float* a, float* b, int count)
        {
            // The words become factors in place: 0 or 1/(1 - p).
            float* factors = (float*)words;
            PhiloxVectors.ToFactors(words, threshold, scale, factors, count);
            int i = 0;
            for (; i + TSimd.Width <= count; i += TSimd.Width)
            {
                TVector value = TSimd.Load(a + i), factor = TSimd.Load(factors + i);
                // Dropped is 0 even where the value is not finite.
                value = TSimd.SelectGreater(factor, TSimd.Broadcast(0f), TSimd.Multiply(value, factor), TSimd.Broadcast(0f));
                TSimd.Store(accumulate ? TSimd.Add(TSimd.Load(b + i), value) : value, b + i);
            }
            for (; i < count; i++)
            {
                float value = factors[i] > 0f ? a[i] * factors[i] : 0f;
                b[i] = accumulate ? b[i] + value : value;
            }
        }
    }

    /// <inheritdoc/>
    public override void CrossEntropy(float* logits, int* targets, float gradScale, float softCap, float* loss, float* dLogits, int rows, int columns) =>
        MapRows(new CrossEntropyRow(logits, targets, gradScale, softCap, loss, dLogits, columns), rows, columns);

    private readonly struct CrossEntropyRow(float* logits, int* targets, float gradScale, float softCap, float* loss, float* dLogits, int columns) : IRowAction
    {
        public void Invoke(int row)
        {
            nint at = (nint)row * columns;
            float* x = logits + at, d = dLogits == null ? null : dLogits + at;
            int target = targets[row];
            if (target < 0)
            {
                loss[row] = 0f;
                if (d != null) new Span<float>(d, columns).Clear();
                return;
            }
            float max = RowMath<TSimd, TVector>.Max(x, columns);
            if (softCap > 0f)
            {
                // The cap is monotonic, so the maximum of the capped values is the capped maximum.
                float top = SoftCapOperator.Invoke<SimdScalar, float>(max, softCap, 1f / softCap);
                float wanted = SoftCapOperator.Invoke<SimdScalar, float>(x[target], softCap, 1f / softCap);
                float total = CappedExpSum(x, top, null, 0f);
                loss[row] = MathF.Log(total) + (top - wanted);
                if (d == null) return;
                float slope = SoftCapOperator.DerivativeFromValue<SimdScalar, float>(wanted, 1f / softCap);
                CappedExpSum(x, top, d, gradScale / total);
                d[target] -= gradScale * slope;
                return;
            }
            float correct = x[target];
            if (d == null)
            {
                loss[row] = MathF.Log(ExpSum(x, max)) + (max - correct);
                return;
            }
            float sum = RowMath<TSimd, TVector>.ExpSum(x, max, d, columns);
            loss[row] = MathF.Log(sum) + (max - correct);
            ScaleInPlace(d, gradScale / sum);
            d[target] -= gradScale;
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private float ExpSum(float* x, float max)
        {
            TVector m = TSimd.Broadcast(max), total = TSimd.Broadcast(0f);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
                total = TSimd.Add(total, SimdMath.ExpNonPositive<TSimd, TVector>(TSimd.Subtract(TSimd.Load(x + i), m)));
            float sum = TSimd.Sum(total);
            for (; i < columns; i++) sum += SimdMath.ExpNonPositive<SimdScalar, float>(x[i] - max);
            return sum;
        }

        /// <summary>Σ e^(cap(x) − max); with <paramref name="d"/> also d = factor·e^(cap(x) − max)·cap′(x).</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private float CappedExpSum(float* x, float max, float* d, float factor)
        {
            TVector m = TSimd.Broadcast(max), total = TSimd.Broadcast(0f), cap = TSimd.Broadcast(softCap), inverse = TSimd.Broadcast(1f / softCap);
            TVector f = TSimd.Broadcast(factor);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width)
            {
                TVector y = SoftCapOperator.Invoke<TSimd, TVector>(TSimd.Load(x + i), cap, inverse);
                TVector e = SimdMath.ExpNonPositive<TSimd, TVector>(TSimd.Subtract(y, m));
                total = TSimd.Add(total, e);
                if (d != null) TSimd.Store(TSimd.Multiply(TSimd.Multiply(f, e), SoftCapOperator.DerivativeFromValue<TSimd, TVector>(y, inverse)), d + i);
            }
            float sum = TSimd.Sum(total);
            for (; i < columns; i++)
            {
                float y = SoftCapOperator.Invoke<SimdScalar, float>(x[i], softCap, 1f / softCap);
                float e = SimdMath.ExpNonPositive<SimdScalar, float>(y - max);
                sum += e;
                if (d != null) d[i] = factor * e * SoftCapOperator.DerivativeFromValue<SimdScalar, float>(y, 1f / softCap);
            }
            return sum;
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void ScaleInPlace(float* d, float factor)
        {
            TVector f = TSimd.Broadcast(factor);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width) TSimd.Store(TSimd.Multiply(TSimd.Load(d + i), f), d + i);
            for (; i < columns; i++) d[i] *= factor;
        }
    }
}
