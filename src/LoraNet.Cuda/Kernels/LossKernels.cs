using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="LossKernels.CrossEntropy"/>.</summary>
internal struct CrossEntropyArgs
{
    /// <summary>DLogits is 0 when no gradient is wanted.</summary>
    public long Logits, Targets, Loss, DLogits;
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
        float max = -float.MaxValue, sum = 0f;
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Load<TX>(a, row, c);
            float high = DeviceMath.Max(DeviceMath.Max(x.X, x.Y), DeviceMath.Max(x.Z, x.W));
            if (high > max)
            {
                sum *= DeviceMath.Exp(max - high);
                max = high;
            }
            sum += DeviceMath.Exp(x.X - max) + DeviceMath.Exp(x.Y - max) + DeviceMath.Exp(x.Z - max) + DeviceMath.Exp(x.W - max);
        }
        float rowMax = GroupReduce.Max(max, scratch);
        // The start value is finite, so that logits of −∞ and threads without columns add 0 and never −∞ − (−∞).
        float rowSum = GroupReduce.Sum(sum * DeviceMath.Exp(max - rowMax), scratch);
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
        for (int c = 4 * Group.IdxX; c < a.Columns; c += 4 * Group.DimX)
        {
            Pack x = Load<TX>(a, row, c);
            Stored.StoreRow<TD>(a.DLogits, row, c, a.Columns, new Pack(
                Gradient(a, x.X, rowMax, inverse, c == target), Gradient(a, x.Y, rowMax, inverse, c + 1 == target),
                Gradient(a, x.Z, rowMax, inverse, c + 2 == target), Gradient(a, x.W, rowMax, inverse, c + 3 == target)));
        }
    }

    /// <summary>Capped logits of a pack; −∞ past the end of the row.</summary>
    private static Pack Load<TX>(CrossEntropyArgs a, long row, int c)
        where TX : struct, IStorage
    {
        Pack x = Stored.LoadRow<TX>(a.Logits, row, c, a.Columns);
        if (a.SoftCap > 0f)
            x = new Pack(DeviceMath.Cap(x.X, a.SoftCap), DeviceMath.Cap(x.Y, a.SoftCap), DeviceMath.Cap(x.Z, a.SoftCap), DeviceMath.Cap(x.W, a.SoftCap));
        if (c + 1 >= a.Columns) x.Y = float.NegativeInfinity;
        if (c + 2 >= a.Columns) x.Z = float.NegativeInfinity;
        if (c + 3 >= a.Columns) x.W = float.NegativeInfinity;
        return x;
    }

    private static float Gradient(CrossEntropyArgs a, float capped, float max, float inverse, bool isTarget)
    {
        float g = a.GradScale * (DeviceMath.Exp(capped - max) * inverse - (isTarget ? 1f : 0f));
        // d cap(x)/dx = 1 − (cap(x)/c)²
        float t = a.SoftCap > 0f ? capped / a.SoftCap : 0f;
        return g * (1f - t * t);
    }
}
