using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="LossKernels.CrossEntropy"/>.</summary>
internal struct CrossEntropyArgs
{
    /// <summary>DLogits is 0 when no gradient is wanted.</summary>
    public long Logits, Targets, Loss, DLogits;

    /// <summary>Where recorded work reads the gradient scale; 0 takes <see cref="GradScale"/>.</summary>
    public long GradScaleAddress;
    public int Columns;
    public float GradScale, SoftCap;
}

/// <summary>Cross-entropy with its gradient, one group a row.</summary>
internal static class LossKernels
{
    public static void CrossEntropy<TX, TD>(CrossEntropyArgs a)
        where TX : struct, IStorage
        where TD : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        if (a.GradScaleAddress != 0) a.GradScale = StoredF32.Load(a.GradScaleAddress, 0);
        int m = Grid.IdxX, target = Stored.LoadInt(a.Targets, m);
        long row = (long)m * a.Columns;
        if (target < 0)
        {
            if (Group.IdxX == 0) StoredF32.Store(a.Loss, m, 0f);
            if (a.DLogits == 0) return;
            for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX) Stored.StoreRow<TD>(a.DLogits, row, c, a.Columns, default);
            return;
        }
        // One pass: each thread keeps a running maximum and the sum relative to it.
        int step = 4 * Group.DimX;
        MaxAndSum running = default;
        running.Max = -float.MaxValue;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * step)
        {
            Quad x = Stored.LoadQuad<TX>(a.Logits, row, c, step, a.Columns);
            running = Include<TX>(running, Cap(a, x.A, c));
            running = Include<TX>(running, Cap(a, x.B, c + step));
            running = Include<TX>(running, Cap(a, x.C, c + 2 * step));
            running = Include<TX>(running, Cap(a, x.D, c + 3 * step));
        }
        float rowMax = GroupReduce.Max(running.Max, scratch);
        // The start value is finite, so that logits of −∞ and threads without columns add 0 and never −∞ − (−∞).
        float rowSum = GroupReduce.Sum(running.Sum * DeviceMath.Exp(running.Max - rowMax), scratch);
        float inverse = 1f / rowSum;
        if (Group.IdxX == 0)
        {
            float logit = TX.Load(a.Logits, row + target);
            if (a.SoftCap > 0f) logit = DeviceMath.Cap(logit, a.SoftCap);
            // Not (max + log) − logit: a large maximum would swallow the logarithm's digits.
            StoredF32.Store(a.Loss, m, DeviceMath.Log(rowSum) + (rowMax - logit));
        }
        if (a.DLogits == 0) return;
        // The target's logit was read above; dLogits may alias logits.
        Group.Barrier();
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * step)
        {
            Quad x = Stored.LoadQuad<TX>(a.Logits, row, c, step, a.Columns);
            StoreGradient<TX, TD>(a, row, c, x.A, rowMax, inverse, target);
            StoreGradient<TX, TD>(a, row, c + step, x.B, rowMax, inverse, target);
            StoreGradient<TX, TD>(a, row, c + 2 * step, x.C, rowMax, inverse, target);
            StoreGradient<TX, TD>(a, row, c + 3 * step, x.D, rowMax, inverse, target);
        }
    }

    private struct MaxAndSum
    {
        public float Max, Sum;
    }

    /// <summary>Softmax statistics with four more values (Milakov &amp; Gimelshein, 2018).</summary>
    private static MaxAndSum Include<TX>(MaxAndSum s, Pack x)
        where TX : struct, IStorage
    {
        float high = DeviceMath.Max(DeviceMath.Max(x.X, x.Y), DeviceMath.Max(x.Z, x.W));
        if (high > s.Max)
        {
            s.Sum *= DeviceMath.Exp<TX>(s.Max - high);
            s.Max = high;
        }
        s.Sum += DeviceMath.Exp<TX>(x.X - s.Max) + DeviceMath.Exp<TX>(x.Y - s.Max) + (DeviceMath.Exp<TX>(x.Z - s.Max) + DeviceMath.Exp<TX>(x.W - s.Max));
        return s;
    }

    /// <summary>Capped logits of the pack at column <paramref name="c"/>; −∞ past the end of the row.</summary>
    private static Pack Cap(CrossEntropyArgs a, Pack x, int c)
    {
        if (a.SoftCap > 0f)
            x = new Pack(DeviceMath.Cap(x.X, a.SoftCap), DeviceMath.Cap(x.Y, a.SoftCap), DeviceMath.Cap(x.Z, a.SoftCap), DeviceMath.Cap(x.W, a.SoftCap));
        if (c + 3 < a.Columns) return x;
        if (c >= a.Columns) x.X = float.NegativeInfinity;
        if (c + 1 >= a.Columns) x.Y = float.NegativeInfinity;
        if (c + 2 >= a.Columns) x.Z = float.NegativeInfinity;
        x.W = float.NegativeInfinity;
        return x;
    }

    private static void StoreGradient<TX, TD>(CrossEntropyArgs a, long row, int c, Pack logits, float max, float inverse, int target)
        where TX : struct, IStorage
        where TD : struct, IStorage
    {
        if (c >= a.Columns) return;
        Pack x = Cap(a, logits, c);
        Stored.StoreRow<TD>(a.DLogits, row, c, a.Columns, new Pack(
            Gradient<TX>(a, x.X, max, inverse, c == target), Gradient<TX>(a, x.Y, max, inverse, c + 1 == target),
            Gradient<TX>(a, x.Z, max, inverse, c + 2 == target), Gradient<TX>(a, x.W, max, inverse, c + 3 == target)));
    }

    private static float Gradient<TX>(CrossEntropyArgs a, float capped, float max, float inverse, bool isTarget)
        where TX : struct, IStorage
    {
        float g = a.GradScale * (DeviceMath.Exp<TX>(capped - max) * inverse - (isTarget ? 1f : 0f));
        if (a.SoftCap > 0f)
        {
            // d cap(x)/dx = 1 − (cap(x)/c)²
            float t = capped / a.SoftCap;
            g *= 1f - t * t;
        }
        return g;
    }
}
