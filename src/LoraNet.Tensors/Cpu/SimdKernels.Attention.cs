using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// Attention over tiles with a running softmax (Dao, 2023): a tile of scores never leaves the cache. Keys, turned, and values
/// are packed once per call for the tile kernel; tiles that no query of a block sees are skipped.
/// </summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <summary>Rows of a tile of scores.</summary>
    private static int TileRows => 4 * MaxRows;

    /// <summary>Columns of a tile of scores.</summary>
    private static int TileColumns => 4 * Columns;

    /// <summary>Query rows up to which nothing is packed: generation.</summary>
    private const int FewQueries = 4;

    /// <inheritdoc/>
    public override void Attention(in AttentionProblem problem)
    {
        if (problem.Queries == 0 || problem.HeadSize == 0) return;
        if (problem.Queries <= FewQueries)
        {
            FewQueriesAction few = new() { P = problem };
            Run(problem.Queries * problem.KeyValueHeads, (long)problem.Queries * problem.Keys * problem.Heads * problem.HeadSize, ref few);
            return;
        }
        HeadPanels keys = HeadPanels.Create(problem.Key, problem.Keys, problem.KeyValueHeads, problem.HeadSize, true, false, Use.Keys);
        HeadPanels values = HeadPanels.Create(problem.Value, problem.Keys, problem.KeyValueHeads, problem.HeadSize, false, true, Use.Values);
        long elements = (long)problem.Keys * problem.KeyValueHeads * problem.HeadSize;
        Run(keys.Chunks, elements, ref keys);
        Run(values.Chunks, elements, ref values);
        int tiles = (problem.Queries + TileRows - 1) / TileRows;
        ForwardAction action = new() { P = problem, Keys = keys, Values = values, Tiles = tiles };
        Run(tiles * problem.Heads, (long)problem.Queries * problem.Keys * problem.Heads, ref action);
    }

    /// <summary>
    /// One matrix [rows, heads·size] as tile-kernel panels per head: turned (depth = head size, columns = rows) and
    /// straight (depth = rows, columns = head size), both padded with zeros. Running it packs.
    /// </summary>
    private struct HeadPanels : IChunkAction
    {
        private float* _source;
        private int _rows, _heads, _size, _rowPanels, _sizePanels;

        /// <summary>[head][row panel][size][Columns], or null.</summary>
        public float* Turned;

        /// <summary>[head][size panel][padded rows][Columns], or null.</summary>
        public float* Straight;

        public static HeadPanels Create(float* source, int rows, int heads, int size, bool turned, bool straight, Use use)
        {
            HeadPanels panels = new()
            {
                _source = source,
                _rows = rows,
                _heads = heads,
                _size = size,
                _rowPanels = (rows + Columns - 1) / Columns,
                _sizePanels = (size + Columns - 1) / Columns,
            };
            long turnedCount = turned ? heads * panels.TurnedHead : 0, straightCount = straight ? heads * panels.StraightHead : 0;
            float* memory = ThreadScratch.Floats(use, turnedCount + straightCount);
            panels.Turned = turned ? memory : null;
            panels.Straight = straight ? memory + turnedCount : null;
            return panels;
        }

        public readonly int Chunks => _heads * _rowPanels;

        public readonly int SizePanels => _sizePanels;

        private readonly long TurnedHead => (long)_rowPanels * _size * Columns;

        private readonly long StraightHead => (long)_sizePanels * StraightPanel;

        /// <summary>Distance of two straight panels of a head.</summary>
        public readonly nint StraightPanel => (nint)_rowPanels * Columns * Columns;

        /// <summary>Turned panels of a head from row <paramref name="row"/> (a multiple of the panel width) on.</summary>
        public readonly float* TurnedAt(int head, int row) => Turned + head * TurnedHead + (nint)row * _size;

        /// <summary>Straight panels of a head from row <paramref name="row"/> on.</summary>
        public readonly float* StraightAt(int head, int row) => Straight + head * StraightHead + (nint)row * Columns;

        public readonly void Invoke(int chunk)
        {
            int head = chunk / _rowPanels, panel = chunk % _rowPanels, row = panel * Columns;
            int count = Math.Min(Columns, _rows - row);
            nint ld = (nint)_heads * _size;
            float* source = _source + row * ld + head * _size;
            if (Turned != null) Packing.Transpose(source, DType.F32, ld, count, _size, 1f, TurnedAt(head, row), Columns, Columns);
            if (Straight == null) return;
            for (int s = 0; s < _sizePanels; s++)
            {
                float* destination = StraightAt(head, row) + s * StraightPanel;
                Packing.Copy(source + s * Columns, DType.F32, ld, count, Math.Min(Columns, _size - s * Columns), 1f, destination, Columns, Columns);
                new Span<float>(destination + count * Columns, (Columns - count) * Columns).Clear();
            }
        }
    }

    /// <summary>The columns of a tile of scores that one group of rows (a kernel tile) sees at all.</summary>
    private struct Visible
    {
        public int From, To;

        /// <summary>Fills one entry per group of rows, relative to column <paramref name="column"/>; false when no row sees any.</summary>
        public static bool Find(int[] start, int[] end, int row, int rows, int column, int columns, Visible* groups)
        {
            bool any = false;
            for (int first = 0; first < rows; first += MaxRows)
            {
                int from = columns, to = 0;
                for (int i = row + first; i < row + Math.Min(rows, first + MaxRows); i++)
                {
                    int s = Math.Clamp(start[i] - column, 0, columns), e = Math.Clamp(end[i] - column, 0, columns);
                    if (e <= s) continue;
                    from = Math.Min(from, s);
                    to = Math.Max(to, e);
                }
                any |= to > from;
                *groups++ = to > from ? new Visible { From = from, To = to } : default;
            }
            return any;
        }
    }

    /// <summary>Scores: c[rows, keys] = a[rows, size] · panels, only the panels that a group of rows sees.</summary>
    private static void Scores(float* a, nint lda, int rows, float* panels, int size, float* c, nint ldc, Visible* groups)
    {
        TileArguments t = new() { AStride = lda, BStride = Columns, Depth = size, CStride = ldc };
        for (int row = 0; row < rows; row += MaxRows, groups++)
        {
            t.A = a + row * lda;
            for (int panel = groups->From / Columns; panel * Columns < groups->To; panel++)
            {
                t.B = panels + (nint)panel * size * Columns;
                t.C = c + row * ldc + panel * Columns;
                TileKernel<TSimd, TVector>.Run<PanelF32, PlainRows>(Math.Min(MaxRows, rows - row), &t);
            }
        }
    }

    /// <summary>Weighted sums: c[rows, panels·Columns] += a[rows, keys] · panels, only the keys that a group of rows sees.</summary>
    private static void Sums(float* a, nint lda, int rows, float* panels, nint panelStride, int count, float* c, nint ldc, Visible* groups)
    {
        TileArguments t = new() { AStride = lda, BStride = Columns, CStride = ldc, LoadC = true };
        for (int row = 0; row < rows; row += MaxRows, groups++)
        {
            t.Depth = groups->To - groups->From;
            if (t.Depth == 0) continue;
            t.A = a + row * lda + groups->From;
            for (int panel = 0; panel < count; panel++)
            {
                t.B = panels + panel * panelStride + groups->From * Columns;
                t.C = c + row * ldc + panel * Columns;
                TileKernel<TSimd, TVector>.Run<PanelF32, PlainRows>(Math.Min(MaxRows, rows - row), &t);
            }
        }
    }

    /// <summary>One head and one block of queries.</summary>
    private struct ForwardAction : IChunkAction
    {
        public AttentionProblem P;
        public HeadPanels Keys, Values;
        public int Tiles;

        public readonly void Invoke(int chunk)
        {
            // Late blocks of a causal layout see most keys: they go first, so that the end is balanced.
            int tile = Tiles - 1 - chunk / P.Heads, head = chunk % P.Heads, group = head / P.HeadsPerGroup;
            int row = tile * TileRows, rows = Math.Min(TileRows, P.Queries - row), size = P.HeadSize;
            nint ldq = (nint)P.Heads * size;
            int padded = Values.SizePanels * Columns;
            float* scores = ThreadScratch.Floats(Use.Attention, (long)TileRows * (TileColumns + padded + 2));
            float* sums = scores + TileRows * TileColumns;
            float* max = sums + TileRows * padded;
            float* total = max + TileRows;
            Visible* groups = stackalloc Visible[4];
            int[] keyStart = P.Layout.KeyStart, keyEnd = P.Layout.KeyEnd;
            int first = int.MaxValue, last = 0;
            for (int i = 0; i < rows; i++)
            {
                max[i] = float.NegativeInfinity;
                total[i] = 0f;
                if (keyEnd[row + i] <= keyStart[row + i]) continue;
                first = Math.Min(first, keyStart[row + i]);
                last = Math.Max(last, keyEnd[row + i]);
            }
            new Span<float>(sums, rows * padded).Clear();
            float* q = P.Query + row * ldq + head * size;
            for (int key = first / Columns * Columns; key < last; key += TileColumns)
            {
                int keys = Math.Min(TileColumns, last - key);
                if (!Visible.Find(keyStart, keyEnd, row, rows, key, keys, groups)) continue;
                Scores(q, ldq, rows, Keys.TurnedAt(group, key), size, scores, TileColumns, groups);
                for (int i = 0; i < rows; i++)
                {
                    int from = Math.Clamp(keyStart[row + i] - key, 0, keys), to = Math.Clamp(keyEnd[row + i] - key, 0, keys);
                    float* s = scores + i * TileColumns;
                    if (to <= from)
                    {
                        new Span<float>(s, keys).Clear();
                        continue;
                    }
                    new Span<float>(s, from).Clear();
                    new Span<float>(s + to, keys - to).Clear();
                    float top = ScaleMax(s + from, to - from, P.Scale, P.SoftCap);
                    float highest = MathF.Max(max[i], top);
                    if (highest > max[i])
                    {
                        float correction = MathF.Exp(max[i] - highest);
                        total[i] *= correction;
                        ScaleRow(sums + i * padded, padded, correction);
                        max[i] = highest;
                    }
                    total[i] += RowMath<TSimd, TVector>.ExpSum(s + from, highest, s + from, to - from);
                }
                Sums(scores, TileColumns, rows, Values.StraightAt(group, key), Values.StraightPanel, Values.SizePanels, sums, padded, groups);
            }
            for (int i = 0; i < rows; i++)
            {
                float* o = P.Output + (row + i) * ldq + head * size;
                bool none = keyEnd[row + i] <= keyStart[row + i];
                P.LogSumExp[(nint)(row + i) * P.Heads + head] = none ? float.NegativeInfinity : max[i] + MathF.Log(total[i]);
                if (none) new Span<float>(o, size).Clear();
                else CopyScaled(sums + i * padded, o, size, 1f / total[i]);
            }
        }
    }

    /// <summary>One query row and one group of heads: scores as rows times rows, then weighted rows of values.</summary>
    private struct FewQueriesAction : IChunkAction
    {
        public AttentionProblem P;

        public readonly void Invoke(int chunk)
        {
            int row = chunk / P.KeyValueHeads, group = chunk % P.KeyValueHeads, heads = P.HeadsPerGroup, size = P.HeadSize;
            int from = P.Layout.KeyStart[row], keys = P.Layout.KeyEnd[row] - from;
            nint at = (nint)row * P.Heads * size + (nint)group * heads * size, ld = (nint)P.KeyValueHeads * size;
            float* o = P.Output + at;
            float* lse = P.LogSumExp + (nint)row * P.Heads + group * heads;
            if (keys <= 0)
            {
                new Span<float>(o, heads * size).Clear();
                new Span<float>(lse, heads).Fill(float.NegativeInfinity);
                return;
            }
            float* scores = ThreadScratch.Floats(Use.Attention, (long)heads * keys);
            DotKernel<TSimd, TVector>.Run<PanelF32>(
                P.Query + at, size, heads, (byte*)(P.Key + from * ld + group * size), ld, keys, size, 1f, null, scores, keys, false);
            for (int h = 0; h < heads; h++)
            {
                float* s = scores + (nint)h * keys;
                float max = ScaleMax(s, keys, P.Scale, P.SoftCap);
                float total = RowMath<TSimd, TVector>.ExpSum(s, max, s, keys);
                lse[h] = max + MathF.Log(total);
                ScaleRow(s, keys, 1f / total);
            }
            float* values = P.Value + from * ld + group * size;
            int column = 0;
            for (; column + Columns <= size; column += Columns)
            {
                for (int h = 0; h < heads; h += MaxRows)
                {
                    TileArguments t = new()
                    {
                        A = scores + (nint)h * keys,
                        AStride = keys,
                        B = values + column,
                        BStride = ld,
                        Depth = keys,
                        C = o + h * size + column,
                        CStride = size,
                    };
                    TileKernel<TSimd, TVector>.Run<PanelF32, PlainRows>(Math.Min(MaxRows, heads - h), &t);
                }
            }
            if (column == size) return;
            for (int h = 0; h < heads; h++)
            {
                float* rest = o + h * size + column;
                new Span<float>(rest, size - column).Clear();
                for (int key = 0; key < keys; key++)
                    RowMath<TSimd, TVector>.AddScaled(scores[(nint)h * keys + key], values + key * ld + column, rest, size - column);
            }
        }
    }

    /// <summary>s = cap(scale·s); returns the maximum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float ScaleMax(float* s, int count, float scale, float softCap)
    {
        TVector factor = TSimd.Broadcast(scale), top = TSimd.Broadcast(float.NegativeInfinity);
        TVector cap = TSimd.Broadcast(softCap), inverse = TSimd.Broadcast(1f / softCap);
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width)
        {
            TVector x = TSimd.Multiply(TSimd.Load(s + i), factor);
            if (softCap > 0f) x = SoftCapOperator.Invoke<TSimd, TVector>(x, cap, inverse);
            top = TSimd.Max(top, x);
            TSimd.Store(x, s + i);
        }
        float max = TSimd.MaxElement(top);
        for (; i < count; i++)
        {
            float x = s[i] * scale;
            if (softCap > 0f) x = SoftCapOperator.Invoke<SimdScalar, float>(x, softCap, 1f / softCap);
            max = x > max ? x : max;
            s[i] = x;
        }
        return max;
    }

    private static void ScaleRow(float* s, int count, float factor) => CopyScaled(s, s, count, factor);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyScaled(float* x, float* y, int count, float factor)
    {
        TVector f = TSimd.Broadcast(factor);
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width) TSimd.Store(TSimd.Multiply(TSimd.Load(x + i), f), y + i);
        for (; i < count; i++) y[i] = x[i] * factor;
    }
}
