using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// Attention of few query rows over long ranges, as in generation. A head's keys are split among several groups (Dao et al.,
/// "Flash-Decoding", 2023); inside a group each part of a warp that can hold a head takes keys in turn, with an online softmax of its own
/// (Milakov &amp; Gimelshein, 2018), four keys at a time so that their loads overlap. <see cref="Join"/> adds the splits. Results are joined
/// in ascending order, so they are the same bits in every run.
/// </summary>
internal static class AttentionDecodeKernel
{
    /// <summary>Warps of a group at most.</summary>
    public const int MaxWarps = 8;

    /// <summary>Elements that a warp of 32 holds: two packs of four a lane.</summary>
    public const int MaxHeadSize = 256;

    /// <summary>Groups that share a head at most; always a multiple of four.</summary>
    public const int MaxSplits = 16;

    // The least lanes of a key are two, so a warp works on at most sixteen at a time.
    private const int MaxParts = 16 * MaxWarps;

    private struct State
    {
        public float Max, Sum;
        public Pack A, B;
    }

    /// <summary>Grid (rows · splits, heads), group of whole warps; writes each split's unnormalised output, maximum and sum.</summary>
    public static void Forward<TQ>(AttentionArgs a)
        where TQ : struct, IStorage
    {
        ArrayView<float> maxima = SharedMemory.Allocate<float>(MaxParts), sums = SharedMemory.Allocate<float>(MaxParts);
        ArrayView<float> outputs = SharedMemory.Allocate<float>(MaxWarps * MaxHeadSize);
        int m = Grid.IdxX / a.Splits, split = Grid.IdxX % a.Splits, h = Grid.IdxY, size = a.HeadSize, pitch = a.KeyValueHeads * size;
        int lanes = a.LanesPerKey, parts = Group.DimX / lanes, part = Group.IdxX / lanes, lane = Group.IdxX % lanes;
        int first = 4 * lane, second = 4 * (lane + lanes);
        int all = Stored.LoadInt(a.KeyStart, m), last = Stored.LoadInt(a.KeyEnd, m), share = (last - all + a.Splits - 1) / a.Splits;
        int start = all + split * share, end = start + share < last ? start + share : last;
        long row = (long)m * a.Heads * size + (long)h * size, column = (long)(h / (a.Heads / a.KeyValueHeads)) * size;
        Pack qA = Load<TQ>(a.Query, row, first, size), qB = Load<TQ>(a.Query, row, second, size);
        State s = default;
        s.Max = -float.MaxValue;
        // All parts of a warp take as many turns: they shuffle together.
        for (int j0 = start; j0 < end; j0 += 4 * parts)
        {
            int j = j0 + part;
            float s0 = Score<TQ>(a, qA, qB, j, end, pitch, column, first, second);
            float s1 = Score<TQ>(a, qA, qB, j + parts, end, pitch, column, first, second);
            float s2 = Score<TQ>(a, qA, qB, j + 2 * parts, end, pitch, column, first, second);
            float s3 = Score<TQ>(a, qA, qB, j + 3 * parts, end, pitch, column, first, second);
            for (int offset = lanes / 2; offset > 0; offset >>= 1)
            {
                s0 += Warp.ShuffleXor(s0, offset);
                s1 += Warp.ShuffleXor(s1, offset);
                s2 += Warp.ShuffleXor(s2, offset);
                s3 += Warp.ShuffleXor(s3, offset);
            }
            s0 = Finish(a, s0, j < end);
            s1 = Finish(a, s1, j + parts < end);
            s2 = Finish(a, s2, j + 2 * parts < end);
            s3 = Finish(a, s3, j + 3 * parts < end);
            float max = DeviceMath.Max(s.Max, DeviceMath.Max(DeviceMath.Max(s0, s1), DeviceMath.Max(s2, s3)));
            float shrink = DeviceMath.Exp<TQ>(s.Max - max);
            s.Max = max;
            s.Sum *= shrink;
            s.A = Scaled(s.A, shrink);
            s.B = Scaled(s.B, shrink);
            s = Include<TQ>(a, s, s0, j, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s1, j + parts, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s2, j + 2 * parts, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s3, j + 3 * parts, end, pitch, column, first, second);
        }
        if (lane == 0)
        {
            maxima[part] = s.Max;
            sums[part] = s.Sum;
        }
        Keep(outputs, part * size, first, size, s.A);
        Keep(outputs, part * size, second, size, s.B);
        Group.Barrier();
        float top = maxima[0], total = 0f;
        for (int p = 1; p < parts; p++) top = DeviceMath.Max(top, maxima[p]);
        for (int p = 0; p < parts; p++) total += DeviceMath.Exp<TQ>(maxima[p] - top) * sums[p];
        long slot = ((long)m * a.Heads + h) * a.Splits + split;
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            float o = 0f;
            for (int p = 0; p < parts; p++) o += DeviceMath.Exp<TQ>(maxima[p] - top) * outputs[p * size + d];
            StoredF32.Store(a.Partial, slot * (size + 2) + d, o);
        }
        if (Group.IdxX != 0) return;
        StoredF32.Store(a.Partial, slot * (size + 2) + size, top);
        StoredF32.Store(a.Partial, slot * (size + 2) + size + 1, total);
    }

    /// <summary>Grid (rows, heads): the splits' outputs joined and divided by their sum.</summary>
    public static void Join<TO>(AttentionArgs a)
        where TO : struct, IStorage
    {
        ArrayView<float> maxima = SharedMemory.Allocate<float>(MaxSplits), sums = SharedMemory.Allocate<float>(MaxSplits);
        int m = Grid.IdxX, h = Grid.IdxY, size = a.HeadSize, width = size + 2;
        long first = ((long)m * a.Heads + h) * a.Splits * width;
        for (int s = Group.IdxX; s < a.Splits; s += Group.DimX)
        {
            maxima[s] = StoredF32.Load(a.Partial, first + s * width + size);
            sums[s] = StoredF32.Load(a.Partial, first + s * width + size + 1);
        }
        Group.Barrier();
        float top = maxima[0], total = 0f;
        for (int s = 1; s < a.Splits; s++) top = DeviceMath.Max(top, maxima[s]);
        for (int s = 0; s < a.Splits; s++) total += DeviceMath.Exp(maxima[s] - top) * sums[s];
        bool sees = total > 0f;
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            float o = 0f;
            // Four loads under way at a time; the number of splits is a multiple of four.
            for (int s = 0; s < a.Splits; s += 4)
            {
                long at = first + s * width + d;
                float x0 = StoredF32.Load(a.Partial, at), x1 = StoredF32.Load(a.Partial, at + width);
                float x2 = StoredF32.Load(a.Partial, at + 2 * width), x3 = StoredF32.Load(a.Partial, at + 3 * width);
                o += DeviceMath.Exp(maxima[s] - top) * x0 + DeviceMath.Exp(maxima[s + 1] - top) * x1;
                o += DeviceMath.Exp(maxima[s + 2] - top) * x2 + DeviceMath.Exp(maxima[s + 3] - top) * x3;
            }
            TO.Store(a.Output, ((long)m * a.Heads + h) * size + d, sees ? o / total : 0f);
        }
        if (Group.IdxX == 0) StoredF32.Store(a.LogSumExp, (long)m * a.Heads + h, sees ? top + DeviceMath.Log(total) : float.NegativeInfinity);
    }

    private static Pack Load<T>(long address, long row, int c, int size)
        where T : struct, IStorage => c < size ? Stored.LoadRow<T>(address, row, c, size) : default;

    /// <summary>This lane's part of q·k.</summary>
    private static float Score<T>(AttentionArgs a, Pack qA, Pack qB, int j, int end, int pitch, long column, int first, int second)
        where T : struct, IStorage
    {
        if (j >= end) return 0f;
        long at = (long)j * pitch + column;
        Pack kA = Load<T>(a.Key, at, first, a.HeadSize), kB = Load<T>(a.Key, at, second, a.HeadSize);
        return qA.X * kA.X + qA.Y * kA.Y + (qA.Z * kA.Z + qA.W * kA.W) + (qB.X * kB.X + qB.Y * kB.Y + (qB.Z * kB.Z + qB.W * kB.W));
    }

    private static float Finish(AttentionArgs a, float dot, bool visible)
    {
        float score = a.Scale * dot;
        if (a.SoftCap > 0f) score = DeviceMath.Cap(score, a.SoftCap);
        return visible ? score : -float.MaxValue;
    }

    private static State Include<T>(AttentionArgs a, State s, float score, int j, int end, int pitch, long column, int first, int second)
        where T : struct, IStorage
    {
        if (j >= end) return s;
        float weight = DeviceMath.Exp<T>(score - s.Max);
        long at = (long)j * pitch + column;
        Pack vA = Load<T>(a.Value, at, first, a.HeadSize), vB = Load<T>(a.Value, at, second, a.HeadSize);
        s.Sum += weight;
        s.A = Added(s.A, weight, vA);
        s.B = Added(s.B, weight, vB);
        return s;
    }

    private static Pack Scaled(Pack p, float f) => new(p.X * f, p.Y * f, p.Z * f, p.W * f);

    private static Pack Added(Pack p, float f, Pack q) => new(p.X + f * q.X, p.Y + f * q.Y, p.Z + f * q.Z, p.W + f * q.W);

    private static void Keep(ArrayView<float> outputs, int at, int c, int size, Pack p)
    {
        if (c < size) outputs[at + c] = p.X;
        if (c + 1 < size) outputs[at + c + 1] = p.Y;
        if (c + 2 < size) outputs[at + c + 2] = p.Z;
        if (c + 3 < size) outputs[at + c + 3] = p.W;
    }
}
