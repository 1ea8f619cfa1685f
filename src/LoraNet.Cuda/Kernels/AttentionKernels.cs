using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>Arguments of <see cref="AttentionKernels"/>; unused addresses are 0.</summary>
internal struct AttentionArgs
{
    public long Query, Key, Value, Output, LogSumExp;

    /// <summary>Gradients, and Σ dO·O of each row and head [M, H].</summary>
    public long DOutput, DQuery, DKey, DValue, Delta;

    /// <summary>Key range of each query, query range of each key (<see cref="Tensors.AttentionLayout"/>).</summary>
    public long KeyStart, KeyEnd, QueryStart, QueryEnd;

    /// <summary>Each split's output, maximum and sum (<see cref="AttentionDecodeKernel"/>).</summary>
    public long Partial;

    public int Heads, KeyValueHeads, HeadSize, Splits, LanesPerKey;
    public float Scale, SoftCap;
}

/// <summary>
/// Plain attention: a group per query row and head (forward, dq), or per key row and key-value head (dk, dv), walking over
/// its visible range in steps of the group's size. Any shape and type; the tensor-core kernels take the common ones.
/// </summary>
internal static class AttentionKernels
{
    /// <summary>Largest head size: what the shared arrays hold.</summary>
    public const int MaxHeadSize = 512;

    /// <summary>Largest group.</summary>
    public const int MaxGroup = 128;

    /// <summary>Online softmax (Milakov &amp; Gimelshein, 2018); grid (rows, heads).</summary>
    public static void Forward<TQ, TO>(AttentionArgs a)
        where TQ : struct, IStorage
        where TO : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32), query = SharedMemory.Allocate<float>(MaxHeadSize);
        ArrayView<float> sums = SharedMemory.Allocate<float>(MaxHeadSize), weights = SharedMemory.Allocate<float>(MaxGroup);
        int m = Grid.IdxX, h = Grid.IdxY, size = a.HeadSize, kv = h / (a.Heads / a.KeyValueHeads), pitch = a.KeyValueHeads * size;
        int start = Stored.LoadInt(a.KeyStart, m), end = Stored.LoadInt(a.KeyEnd, m);
        long row = (long)m * a.Heads * size + (long)h * size;
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            query[d] = TQ.Load(a.Query, row + d);
            sums[d] = 0f;
        }
        Group.Barrier();
        float max = float.NegativeInfinity, sum = 0f;
        for (int j0 = start; j0 < end; j0 += Group.DimX)
        {
            int j = j0 + Group.IdxX;
            float score = float.NegativeInfinity;
            if (j < end)
            {
                score = a.Scale * Dot<TQ>(query, a.Key, (long)j * pitch + (long)kv * size, size);
                if (a.SoftCap > 0f) score = DeviceMath.Cap(score, a.SoftCap);
            }
            float newMax = DeviceMath.Max(max, GroupReduce.Max(score, scratch));
            float weight = j < end ? DeviceMath.Exp(score - newMax) : 0f;
            weights[Group.IdxX] = weight;
            float shrink = DeviceMath.Exp(max - newMax);
            // The reduction's barriers make the weights visible to all.
            sum = sum * shrink + GroupReduce.Sum(weight, scratch);
            int count = end - j0 < Group.DimX ? end - j0 : Group.DimX;
            for (int d = Group.IdxX; d < size; d += Group.DimX)
            {
                float o = sums[d] * shrink;
                for (int t = 0; t < count; t++) o += weights[t] * TQ.Load(a.Value, (long)(j0 + t) * pitch + (long)kv * size + d);
                sums[d] = o;
            }
            max = newMax;
        }
        for (int d = Group.IdxX; d < size; d += Group.DimX) TO.Store(a.Output, row + d, start < end ? sums[d] / sum : 0f);
        if (Group.IdxX == 0) StoredF32.Store(a.LogSumExp, (long)m * a.Heads + h, start < end ? max + DeviceMath.Log(sum) : float.NegativeInfinity);
    }

    /// <summary>delta[m, h] = Σ dO·O; grid (rows, heads).</summary>
    public static void Delta<TO, TG>(AttentionArgs a)
        where TO : struct, IStorage
        where TG : struct, IStorage
    {
        ArrayView<float> scratch = SharedMemory.Allocate<float>(32);
        long row = (long)Grid.IdxX * a.Heads * a.HeadSize + (long)Grid.IdxY * a.HeadSize;
        float sum = 0f;
        for (int d = Group.IdxX; d < a.HeadSize; d += Group.DimX) sum += TG.Load(a.DOutput, row + d) * TO.Load(a.Output, row + d);
        sum = GroupReduce.Sum(sum, scratch);
        if (Group.IdxX == 0) StoredF32.Store(a.Delta, (long)Grid.IdxX * a.Heads + Grid.IdxY, sum);
    }

    /// <summary>dq = Σ dS·k; grid (rows, heads).</summary>
    public static void DQuery<TQ, TG, TD>(AttentionArgs a)
        where TQ : struct, IStorage
        where TG : struct, IStorage
        where TD : struct, IStorage
    {
        ArrayView<float> query = SharedMemory.Allocate<float>(MaxHeadSize), gradient = SharedMemory.Allocate<float>(MaxHeadSize);
        ArrayView<float> sums = SharedMemory.Allocate<float>(MaxHeadSize), slopes = SharedMemory.Allocate<float>(MaxGroup);
        int m = Grid.IdxX, h = Grid.IdxY, size = a.HeadSize, kv = h / (a.Heads / a.KeyValueHeads), pitch = a.KeyValueHeads * size;
        int start = Stored.LoadInt(a.KeyStart, m), end = Stored.LoadInt(a.KeyEnd, m);
        long row = (long)m * a.Heads * size + (long)h * size;
        float lse = StoredF32.Load(a.LogSumExp, (long)m * a.Heads + h), delta = StoredF32.Load(a.Delta, (long)m * a.Heads + h);
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            query[d] = TQ.Load(a.Query, row + d);
            gradient[d] = TG.Load(a.DOutput, row + d);
            sums[d] = 0f;
        }
        Group.Barrier();
        for (int j0 = start; j0 < end; j0 += Group.DimX)
        {
            int j = j0 + Group.IdxX;
            if (j < end)
            {
                long key = (long)j * pitch + (long)kv * size;
                float score = a.Scale * Dot<TQ>(query, a.Key, key, size);
                slopes[Group.IdxX] = Slope(a, score, lse, Dot<TQ>(gradient, a.Value, key, size), delta);
            }
            Group.Barrier();
            int count = end - j0 < Group.DimX ? end - j0 : Group.DimX;
            for (int d = Group.IdxX; d < size; d += Group.DimX)
            {
                float q = sums[d];
                for (int t = 0; t < count; t++) q += slopes[t] * TQ.Load(a.Key, (long)(j0 + t) * pitch + (long)kv * size + d);
                sums[d] = q;
            }
            Group.Barrier();
        }
        for (int d = Group.IdxX; d < size; d += Group.DimX) TD.Store(a.DQuery, row + d, sums[d]);
    }

    /// <summary>dv = Σ P·dO and dk = Σ dS·q over the query heads that share a key-value head; grid (key rows, key-value heads).</summary>
    public static void DKeyValue<TQ, TG, TD>(AttentionArgs a)
        where TQ : struct, IStorage
        where TG : struct, IStorage
        where TD : struct, IStorage
    {
        ArrayView<float> key = SharedMemory.Allocate<float>(MaxHeadSize), value = SharedMemory.Allocate<float>(MaxHeadSize);
        ArrayView<float> keySums = SharedMemory.Allocate<float>(MaxHeadSize), valueSums = SharedMemory.Allocate<float>(MaxHeadSize);
        ArrayView<float> weights = SharedMemory.Allocate<float>(MaxGroup), slopes = SharedMemory.Allocate<float>(MaxGroup);
        int j = Grid.IdxX, kv = Grid.IdxY, size = a.HeadSize, sharing = a.Heads / a.KeyValueHeads, pitch = a.Heads * size;
        int start = Stored.LoadInt(a.QueryStart, j), end = Stored.LoadInt(a.QueryEnd, j);
        long row = (long)j * a.KeyValueHeads * size + (long)kv * size;
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            key[d] = TQ.Load(a.Key, row + d);
            value[d] = TQ.Load(a.Value, row + d);
            keySums[d] = 0f;
            valueSums[d] = 0f;
        }
        Group.Barrier();
        for (int h = kv * sharing; h < (kv + 1) * sharing; h++)
        {
            for (int i0 = start; i0 < end; i0 += Group.DimX)
            {
                int i = i0 + Group.IdxX;
                if (i < end)
                {
                    long at = (long)i * pitch + (long)h * size, statistic = (long)i * a.Heads + h;
                    float score = a.Scale * Dot<TQ>(key, a.Query, at, size), lse = StoredF32.Load(a.LogSumExp, statistic);
                    float capped = a.SoftCap > 0f ? DeviceMath.Cap(score, a.SoftCap) : score;
                    weights[Group.IdxX] = DeviceMath.Exp(capped - lse);
                    slopes[Group.IdxX] = Slope(a, score, lse, Dot<TG>(value, a.DOutput, at, size), StoredF32.Load(a.Delta, statistic));
                }
                Group.Barrier();
                int count = end - i0 < Group.DimX ? end - i0 : Group.DimX;
                for (int d = Group.IdxX; d < size; d += Group.DimX)
                {
                    float dk = keySums[d], dv = valueSums[d];
                    for (int t = 0; t < count; t++)
                    {
                        long at = (long)(i0 + t) * pitch + (long)h * size + d;
                        dk += slopes[t] * TQ.Load(a.Query, at);
                        dv += weights[t] * TG.Load(a.DOutput, at);
                    }
                    keySums[d] = dk;
                    valueSums[d] = dv;
                }
                Group.Barrier();
            }
        }
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            TD.Store(a.DKey, row + d, keySums[d]);
            TD.Store(a.DValue, row + d, valueSums[d]);
        }
    }

    private static float Dot<T>(ArrayView<float> left, long address, long at, int size)
        where T : struct, IStorage
    {
        float sum = 0f;
        for (int d = 0; d < size; d++) sum += left[d] * T.Load(address, at + d);
        return sum;
    }

    /// <summary>Derivative of the loss with respect to q·k: P·(dP − delta) through scale and cap.</summary>
    private static float Slope(AttentionArgs a, float score, float lse, float dWeight, float delta)
    {
        float capped = a.SoftCap > 0f ? DeviceMath.Cap(score, a.SoftCap) : score;
        float t = a.SoftCap > 0f ? capped / a.SoftCap : 0f;
        return DeviceMath.Exp(capped - lse) * (dWeight - delta) * (1f - t * t) * a.Scale;
    }
}
