using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// Gradients of attention (Dao, 2023) in two passes without atomics: dk and dv by blocks of keys, dq by blocks of queries.
/// P = e^(s − lse) is recomputed from the scores; δ = Σ dO⊙O; dS = P⊙(dO·Vᵀ − δ)·cap′·scale. Where dS of the whole call is small
/// enough to keep, the second pass takes it from the first: five products instead of seven.
/// </summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <inheritdoc/>
    public override void AttentionBackward(in AttentionProblem problem, float* dOutput, float* dQuery, float* dKey, float* dValue)
    {
        if (problem.HeadSize == 0) return;
        int size = problem.HeadSize;
        // [head][query]: log-sum-exp and delta, side by side for the tiles whose columns are queries.
        long statistics = (long)problem.Heads * problem.Queries;
        float* delta = ThreadScratch.Floats(Use.Partials, 2 * statistics);
        DeltaAction deltas = new() { P = problem, DOutput = dOutput, Delta = delta, LogSumExp = delta + statistics };
        Run(problem.Queries, statistics * size, ref deltas);
        // Rows a little apart from a multiple of 4096 bytes, which would compete for the same places in a cache.
        nint slopesStride = (problem.Queries + Columns - 1) / Columns * Columns + Columns / 2;
        long slopesCount = (long)problem.Heads * problem.Keys * slopesStride;
        bool keep = slopesCount * sizeof(float) <= KeptSlopes;
        HeadPanels keys = HeadPanels.Create(problem.Key, problem.Keys, problem.KeyValueHeads, size, !keep, true, Use.Keys);
        HeadPanels values = HeadPanels.Create(problem.Value, problem.Keys, problem.KeyValueHeads, size, !keep, false, Use.Values);
        HeadPanels queries = HeadPanels.Create(problem.Query, problem.Queries, problem.Heads, size, true, true, Use.PackedA);
        HeadPanels outputs = HeadPanels.Create(dOutput, problem.Queries, problem.Heads, size, true, true, Use.LowA);
        long elements = (long)problem.Keys * problem.KeyValueHeads * size;
        Run(keys.Chunks, elements, ref keys);
        if (!keep) Run(values.Chunks, elements, ref values);
        Run(queries.Chunks, statistics * size, ref queries);
        Run(outputs.Chunks, statistics * size, ref outputs);
        BackwardAction action = new()
        {
            P = problem,
            DOutput = dOutput,
            DQuery = dQuery,
            DKey = dKey,
            DValue = dValue,
            Delta = delta,
            LogSumExp = delta + statistics,
            Keys = keys,
            Values = values,
            Queries = queries,
            Outputs = outputs,
            QueryTiles = (problem.Queries + TileRows - 1) / TileRows,
            KeyTiles = (problem.Keys + TileRows - 1) / TileRows,
        };
        long work = (long)problem.Queries * problem.Keys * problem.Heads;
        int keyChunks = action.KeyTiles * problem.KeyValueHeads, queryChunks = action.QueryTiles * problem.Heads;
        if (!keep)
        {
            Run(keyChunks + queryChunks, work, ref action);
            return;
        }
        action.Slopes = ThreadScratch.Floats(Use.Product, slopesCount);
        action.SlopesStride = slopesStride;
        Run(keyChunks, work, ref action);
        SlopesAction second = new() { Backward = action };
        Run(queryChunks, work, ref second);
    }

    private struct DeltaAction : IChunkAction
    {
        public AttentionProblem P;
        public float* DOutput, Delta, LogSumExp;

        public readonly void Invoke(int row)
        {
            for (int head = 0; head < P.Heads; head++)
            {
                nint at = ((nint)row * P.Heads + head) * P.HeadSize;
                Delta[(nint)head * P.Queries + row] = RowMath<TSimd, TVector>.Dot(DOutput + at, P.Output + at, P.HeadSize);
                LogSumExp[(nint)head * P.Queries + row] = P.LogSumExp[(nint)row * P.Heads + head];
            }
        }
    }

    private struct BackwardAction : IChunkAction
    {
        public AttentionProblem P;
        public float* DOutput, DQuery, DKey, DValue, Delta, LogSumExp;
        public HeadPanels Keys, Values, Queries, Outputs;
        public int QueryTiles, KeyTiles;

        /// <summary>dS of all pairs, [head][key][query], or null when it is not kept.</summary>
        public float* Slopes;
        public nint SlopesStride;

        public readonly void Invoke(int chunk)
        {
            // Blocks of keys serve a whole group of heads: the longest chunks go first.
            int keyChunks = KeyTiles * P.KeyValueHeads;
            if (chunk < keyChunks) KeyBlock(chunk / P.KeyValueHeads, chunk % P.KeyValueHeads);
            else QueryBlock(QueryTiles - 1 - (chunk - keyChunks) / P.Heads, (chunk - keyChunks) % P.Heads);
        }

        private readonly void QueryBlock(int tile, int head)
        {
            int group = head / P.HeadsPerGroup, row = tile * TileRows, rows = Math.Min(TileRows, P.Queries - row), size = P.HeadSize;
            nint ldq = (nint)P.Heads * size;
            int padded = Keys.SizePanels * Columns;
            float* scores = ThreadScratch.Floats(Use.Attention, (long)TileRows * (2 * TileColumns + padded));
            float* slopes = scores + TileRows * TileColumns;
            float* sums = slopes + TileRows * TileColumns;
            new Span<float>(sums, rows * padded).Clear();
            Visible* groups = stackalloc Visible[4];
            int[] keyStart = P.Layout.KeyStart, keyEnd = P.Layout.KeyEnd;
            (int first, int last) = Range(keyStart, keyEnd, row, rows);
            nint at = row * ldq + head * size;
            float* lse = LogSumExp + (nint)head * P.Queries + row;
            float* delta = Delta + (nint)head * P.Queries + row;
            for (int key = first / Columns * Columns; key < last; key += TileColumns)
            {
                int keys = Math.Min(TileColumns, last - key);
                if (!Visible.Find(keyStart, keyEnd, row, rows, key, keys, groups)) continue;
                Scores(P.Query + at, ldq, rows, Keys.TurnedAt(group, key), size, scores, TileColumns, groups);
                Scores(DOutput + at, ldq, rows, Values.TurnedAt(group, key), size, slopes, TileColumns, groups);
                for (int i = 0; i < rows; i++)
                {
                    int from = Math.Clamp(keyStart[row + i] - key, 0, keys), to = Math.Max(from, Math.Clamp(keyEnd[row + i] - key, 0, keys));
                    float* s = scores + i * TileColumns;
                    new Span<float>(s, from).Clear();
                    new Span<float>(s + to, keys - to).Clear();
                    SlopesByRow(s + from, slopes + i * TileColumns + from, to - from, P.Scale, P.SoftCap, lse[i], delta[i]);
                }
                Sums(scores, TileColumns, rows, Keys.StraightAt(group, key), Keys.StraightPanel, Keys.SizePanels, sums, padded, groups);
            }
            for (int i = 0; i < rows; i++) new ReadOnlySpan<float>(sums + i * padded, size).CopyTo(new Span<float>(DQuery + at + i * ldq, size));
        }

        private readonly void KeyBlock(int tile, int group)
        {
            int row = tile * TileRows, rows = Math.Min(TileRows, P.Keys - row), size = P.HeadSize;
            nint ldk = (nint)P.KeyValueHeads * size;
            int padded = Queries.SizePanels * Columns;
            float* scores = ThreadScratch.Floats(Use.Attention, (long)TileRows * (2 * TileColumns + 2 * padded));
            float* ownSlopes = scores + TileRows * TileColumns;
            float* sumK = ownSlopes + TileRows * TileColumns;
            float* sumV = sumK + TileRows * padded;
            new Span<float>(sumK, 2 * TileRows * padded).Clear();
            Visible* groups = stackalloc Visible[4];
            int[] queryStart = P.Layout.QueryStart, queryEnd = P.Layout.QueryEnd;
            (int first, int last) = Range(queryStart, queryEnd, row, rows);
            nint at = row * ldk + group * size;
            for (int head = group * P.HeadsPerGroup; head < (group + 1) * P.HeadsPerGroup; head++)
            {
                // The kept slopes of unseen pairs are zeros: the second pass reads whole groups of rows.
                float* kept = Slopes == null ? null : Slopes + ((nint)head * P.Keys + row) * SlopesStride;
                int begin = last > 0 ? first / Columns * Columns : P.Queries;
                ClearKept(kept, rows, 0, begin);
                for (int query = begin; query < last; query += TileColumns)
                {
                    int queries = Math.Min(TileColumns, last - query);
                    if (!Visible.Find(queryStart, queryEnd, row, rows, query, queries, groups))
                    {
                        ClearKept(kept, rows, query, query + queries);
                        continue;
                    }
                    float* slopes = kept == null ? ownSlopes : kept + query;
                    nint stride = kept == null ? TileColumns : SlopesStride;
                    Scores(P.Key + at, ldk, rows, Queries.TurnedAt(head, query), size, scores, TileColumns, groups);
                    Scores(P.Value + at, ldk, rows, Outputs.TurnedAt(head, query), size, slopes, stride, groups);
                    nint statistics = (nint)head * P.Queries + query;
                    for (int i = 0; i < rows; i++)
                    {
                        int from = Math.Clamp(queryStart[row + i] - query, 0, queries), to = Math.Max(from, Math.Clamp(queryEnd[row + i] - query, 0, queries));
                        float* s = scores + i * TileColumns;
                        float* d = slopes + i * stride;
                        new Span<float>(s, from).Clear();
                        new Span<float>(s + to, queries - to).Clear();
                        new Span<float>(d, from).Clear();
                        new Span<float>(d + to, queries - to).Clear();
                        SlopesByColumn(s + from, d + from, to - from, P.Scale, P.SoftCap, LogSumExp + statistics + from, Delta + statistics + from);
                    }
                    Sums(scores, TileColumns, rows, Outputs.StraightAt(head, query), Outputs.StraightPanel, Outputs.SizePanels, sumV, padded, groups);
                    Sums(slopes, stride, rows, Queries.StraightAt(head, query), Queries.StraightPanel, Queries.SizePanels, sumK, padded, groups);
                }
                // After the tiles, which write whole panels.
                ClearKept(kept, rows, last, P.Queries);
            }
            for (int i = 0; i < rows; i++)
            {
                new ReadOnlySpan<float>(sumK + i * padded, size).CopyTo(new Span<float>(DKey + at + i * ldk, size));
                new ReadOnlySpan<float>(sumV + i * padded, size).CopyTo(new Span<float>(DValue + at + i * ldk, size));
            }
        }

        private readonly void ClearKept(float* kept, int rows, int from, int to)
        {
            if (kept == null || to <= from) return;
            for (int i = 0; i < rows; i++) new Span<float>(kept + i * SlopesStride + from, to - from).Clear();
        }

        /// <summary>dq of a block of queries from kept slopes: dq[i] = Σ dS[key, i]·k[key], the rows of a tile side by side for each key.</summary>
        public readonly void FromSlopes(int tile, int head)
        {
            int group = head / P.HeadsPerGroup, row = tile * TileRows, rows = Math.Min(TileRows, P.Queries - row), size = P.HeadSize;
            nint ldq = (nint)P.Heads * size;
            float* sums = ThreadScratch.Floats(Use.Attention, (long)MaxRows * Columns);
            TileArguments t = new() { AStride = SlopesStride, BStride = Columns };
            for (int end = row + rows; row < end; row += MaxRows)
            {
                int count = Math.Min(MaxRows, end - row);
                (int first, int last) = Range(P.Layout.KeyStart, P.Layout.KeyEnd, row, count);
                float* target = DQuery + row * ldq + head * size;
                t.Depth = Math.Max(0, last - first);
                if (t.Depth == 0)
                {
                    for (int i = 0; i < count; i++) new Span<float>(target + i * ldq, size).Clear();
                    continue;
                }
                t.A = Slopes + ((nint)head * P.Keys + first) * SlopesStride + row;
                for (int panel = 0; panel < Keys.SizePanels; panel++)
                {
                    int columns = Math.Min(Columns, size - panel * Columns);
                    bool whole = columns == Columns;
                    t.B = Keys.StraightAt(group, 0) + panel * Keys.StraightPanel + (nint)first * Columns;
                    t.C = whole ? target + panel * Columns : sums;
                    t.CStride = whole ? ldq : Columns;
                    TileKernel<TSimd, TVector>.Run<PanelF32, PackedRows>(count, &t);
                    if (whole) continue;
                    for (int i = 0; i < count; i++) new ReadOnlySpan<float>(sums + i * Columns, columns).CopyTo(new Span<float>(target + i * ldq + panel * Columns, columns));
                }
            }
        }

        private static (int First, int Last) Range(int[] start, int[] end, int row, int rows)
        {
            int first = int.MaxValue, last = 0;
            for (int i = row; i < row + rows; i++)
            {
                if (end[i] <= start[i]) continue;
                first = Math.Min(first, start[i]);
                last = Math.Max(last, end[i]);
            }
            return (first, last);
        }
    }

    /// <summary>The second pass over kept slopes, late blocks first: they see most keys of a causal layout.</summary>
    private struct SlopesAction : IChunkAction
    {
        public BackwardAction Backward;

        public readonly void Invoke(int chunk) => Backward.FromSlopes(Backward.QueryTiles - 1 - chunk / Backward.P.Heads, chunk % Backward.P.Heads);
    }

    /// <summary>Scores become dS; the columns are keys, so lse and delta are one number each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SlopesByRow(float* s, float* dp, int count, float scale, float softCap, float lse, float delta)
    {
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width)
        {
            Slopes<TSimd, TVector>(TSimd.Load(s + i), TSimd.Load(dp + i), scale, softCap, TSimd.Broadcast(lse), TSimd.Broadcast(delta), out _, out TVector slope);
            TSimd.Store(slope, s + i);
        }
        for (; i < count; i++)
        {
            Slopes<SimdScalar, float>(s[i], dp[i], scale, softCap, lse, delta, out _, out float slope);
            s[i] = slope;
        }
    }

    /// <summary>Scores become P and dp becomes dS; the columns are queries with their own lse and delta.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SlopesByColumn(float* s, float* dp, int count, float scale, float softCap, float* lse, float* delta)
    {
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width)
        {
            Slopes<TSimd, TVector>(TSimd.Load(s + i), TSimd.Load(dp + i), scale, softCap, TSimd.Load(lse + i), TSimd.Load(delta + i), out TVector p, out TVector slope);
            TSimd.Store(p, s + i);
            TSimd.Store(slope, dp + i);
        }
        for (; i < count; i++)
        {
            Slopes<SimdScalar, float>(s[i], dp[i], scale, softCap, lse[i], delta[i], out float p, out float slope);
            s[i] = p;
            dp[i] = slope;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Slopes<TS, TV>(TV s, TV dp, float scale, float softCap, TV lse, TV delta, out TV p, out TV slope)
        where TS : struct, ISimd<TV> where TV : unmanaged
    {
        TV factor = TS.Broadcast(scale);
        TV x = TS.Multiply(s, factor);
        if (softCap > 0f)
        {
            TV inverse = TS.Broadcast(1f / softCap);
            x = SoftCapOperator.Invoke<TS, TV>(x, TS.Broadcast(softCap), inverse);
            factor = TS.Multiply(factor, SoftCapOperator.DerivativeFromValue<TS, TV>(x, inverse));
        }
        p = SimdMath.Exp<TS, TV>(TS.Subtract(x, lse));
        slope = TS.Multiply(TS.Multiply(p, TS.Subtract(dp, delta)), factor);
    }
}
