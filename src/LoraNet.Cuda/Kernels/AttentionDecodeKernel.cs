using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>
/// Attention of few query rows over long ranges, as in generation: a group per row and head whose warps take keys in turn, each with
/// its own online softmax (Milakov &amp; Gimelshein, 2018), four keys at a time so that their loads overlap; the warps' results are joined
/// in ascending order. Reads keys and values once, whole lines at a time. Head size up to <see cref="PacksPerLane"/> packs of four a lane.
/// </summary>
internal static class AttentionDecodeKernel
{
    /// <summary>Packs of four elements that a lane holds.</summary>
    public const int PacksPerLane = 2;

    /// <summary>Warps of a group at most.</summary>
    public const int MaxWarps = 8;

    /// <summary>Largest head size on a warp of 32.</summary>
    public const int MaxHeadSize = 32 * 4 * PacksPerLane;

    private struct State
    {
        public float Max, Sum;
        public Pack A, B;
    }

    /// <summary>Grid (rows, heads), group of whole warps.</summary>
    public static void Forward<TQ, TO>(AttentionArgs a)
        where TQ : struct, IStorage
        where TO : struct, IStorage
    {
        ArrayView<float> maxima = SharedMemory.Allocate<float>(MaxWarps), sums = SharedMemory.Allocate<float>(MaxWarps);
        ArrayView<float> outputs = SharedMemory.Allocate<float>(MaxWarps * MaxHeadSize);
        int m = Grid.IdxX, h = Grid.IdxY, size = a.HeadSize, kv = h / (a.Heads / a.KeyValueHeads), pitch = a.KeyValueHeads * size;
        int warps = Group.DimX / Warp.WarpSize, warp = Group.IdxX / Warp.WarpSize, lane = Group.IdxX % Warp.WarpSize;
        int first = 4 * lane, second = 4 * (lane + Warp.WarpSize);
        int start = Stored.LoadInt(a.KeyStart, m), end = Stored.LoadInt(a.KeyEnd, m);
        long row = (long)m * a.Heads * size + (long)h * size, column = (long)kv * size;
        Pack qA = Load<TQ>(a.Query, row, first, size), qB = Load<TQ>(a.Query, row, second, size);
        State s = default;
        s.Max = -float.MaxValue;
        for (int j = start + warp; j < end; j += 4 * warps)
        {
            float s0 = Score<TQ>(a, qA, qB, j, end, pitch, column, first, second);
            float s1 = Score<TQ>(a, qA, qB, j + warps, end, pitch, column, first, second);
            float s2 = Score<TQ>(a, qA, qB, j + 2 * warps, end, pitch, column, first, second);
            float s3 = Score<TQ>(a, qA, qB, j + 3 * warps, end, pitch, column, first, second);
            for (int offset = Warp.WarpSize / 2; offset > 0; offset >>= 1)
            {
                s0 += Warp.ShuffleXor(s0, offset);
                s1 += Warp.ShuffleXor(s1, offset);
                s2 += Warp.ShuffleXor(s2, offset);
                s3 += Warp.ShuffleXor(s3, offset);
            }
            s0 = Finish(a, s0, j < end);
            s1 = Finish(a, s1, j + warps < end);
            s2 = Finish(a, s2, j + 2 * warps < end);
            s3 = Finish(a, s3, j + 3 * warps < end);
            float max = DeviceMath.Max(s.Max, DeviceMath.Max(DeviceMath.Max(s0, s1), DeviceMath.Max(s2, s3)));
            float shrink = DeviceMath.Exp(s.Max - max);
            s.Max = max;
            s.Sum *= shrink;
            s.A = Scaled(s.A, shrink);
            s.B = Scaled(s.B, shrink);
            s = Include<TQ>(a, s, s0, j, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s1, j + warps, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s2, j + 2 * warps, end, pitch, column, first, second);
            s = Include<TQ>(a, s, s3, j + 3 * warps, end, pitch, column, first, second);
        }
        if (lane == 0)
        {
            maxima[warp] = s.Max;
            sums[warp] = s.Sum;
        }
        Keep(outputs, warp, first, size, s.A);
        Keep(outputs, warp, second, size, s.B);
        Group.Barrier();
        float top = maxima[0], total = 0f;
        for (int w = 1; w < warps; w++) top = DeviceMath.Max(top, maxima[w]);
        for (int w = 0; w < warps; w++) total += DeviceMath.Exp(maxima[w] - top) * sums[w];
        for (int d = Group.IdxX; d < size; d += Group.DimX)
        {
            float o = 0f;
            for (int w = 0; w < warps; w++) o += DeviceMath.Exp(maxima[w] - top) * outputs[w * MaxHeadSize + d];
            TO.Store(a.Output, row + d, start < end ? o / total : 0f);
        }
        if (Group.IdxX == 0) StoredF32.Store(a.LogSumExp, (long)m * a.Heads + h, start < end ? top + DeviceMath.Log(total) : float.NegativeInfinity);
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
        float weight = DeviceMath.Exp(score - s.Max);
        long at = (long)j * pitch + column;
        Pack vA = Load<T>(a.Value, at, first, a.HeadSize), vB = Load<T>(a.Value, at, second, a.HeadSize);
        s.Sum += weight;
        s.A = Added(s.A, weight, vA);
        s.B = Added(s.B, weight, vB);
        return s;
    }

    private static Pack Scaled(Pack p, float f) => new(p.X * f, p.Y * f, p.Z * f, p.W * f);

    private static Pack Added(Pack p, float f, Pack q) => new(p.X + f * q.X, p.Y + f * q.Y, p.Z + f * q.Z, p.W + f * q.W);

    private static void Keep(ArrayView<float> outputs, int warp, int c, int size, Pack p)
    {
        int at = warp * MaxHeadSize + c;
        if (c < size) outputs[at] = p.X;
        if (c + 1 < size) outputs[at + 1] = p.Y;
        if (c + 2 < size) outputs[at + 2] = p.Z;
        if (c + 3 < size) outputs[at + 3] = p.W;
    }
}
