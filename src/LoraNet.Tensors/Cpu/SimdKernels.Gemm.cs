using LoraNet.Tensors.Operators;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// Matrix products. The usual three levels (Goto &amp; van de Geijn, 2008): a panel of B stays in the first-level cache
/// while all row panels of A pass; A is packed once per product, B once per model (or on the fly, per thread).
/// </summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>(WorkerPool pool) : CpuKernels(pool)
    where TSimd : struct, ISimd<TVector> where TVector : unmanaged
{
    /// <summary>Largest depth of a block: a widened panel of B stays in the second-level cache, from where it streams; longer blocks read and write C less often.</summary>
    private const int DepthBlock = 1024;

    /// <summary>Columns up to which a product counts as skinny: rows times rows instead of tiles.</summary>
    private const int SkinnyColumns = 64;

    /// <summary>Bytes of packed A at one time: every panel of B passes over all of it, so it must not be pushed out of the caches.</summary>
    private const long PackedABytes = 2L * 1024 * 1024;

    /// <summary>Rows this many bytes apart fall on the same set of a first-level cache (64 sets of 64 bytes).</summary>
    private const int CachePage = 4096;

    private static int MaxRows => TileKernel<TSimd, TVector>.MaxRows;

    private static int Columns => TileKernel<TSimd, TVector>.Columns;

    /// <inheritdoc/>
    public override int PanelWidth => Columns;

    /// <inheritdoc/>
    public override void Gemm(ref GemmProblem p)
    {
        if (p.M == 0 || p.N == 0) return;
        if (p.BSource == BSource.Rows && p.N <= SkinnyColumns && p.M > MaxRows && p.K > 0)
        {
            if (p.ATransposed)
            {
                if (p.M > p.N && p.BType == DType.F32 && p.R == 0)
                {
                    GemmTransposed(ref p);
                    return;
                }
            }
            else
            {
                // A thin B is turned once, so that rows meet rows.
                float* turned = ThreadScratch.Floats(Use.Transposed, (long)p.N * p.K);
                Packing.Transpose(p.B, p.BType, p.BLd, p.K, p.N, 1f, turned, p.K, 0);
                GemmProblem dots = p;
                dots.BSource = BSource.Columns;
                dots.BType = DType.F32;
                dots.B = turned;
                dots.BLd = p.K;
                Gemm(ref dots);
                return;
            }
        }
        if (p.BSource == BSource.Columns && !p.ATransposed && (p.M <= MaxRows || p.N <= SkinnyColumns))
        {
            GemmDots(ref p);
            return;
        }
        GemmTiles(ref p);
    }

    /// <summary>C = Aᵀ-product with few columns, computed as its transpose, whose rows are few and whose columns are many.</summary>
    private void GemmTransposed(ref GemmProblem p)
    {
        float* product = ThreadScratch.Floats(Use.Product, (long)p.M * p.N);
        GemmProblem t = new()
        {
            M = p.N,
            N = p.M,
            K = p.K,
            A = (float*)p.B,
            ALd = p.BLd,
            ATransposed = true,
            Alpha = p.Alpha,
            BSource = BSource.Rows,
            BType = DType.F32,
            B = p.A,
            BLd = p.ALd,
            C = product,
            CLd = p.M,
        };
        GemmTiles(ref t);
        TurnAction turn = new() { Product = product, Bias = p.Bias, C = p.C, CLd = p.CLd, M = p.M, N = p.N, Accumulate = p.Accumulate };
        Run((p.M + TurnAction.Block - 1) / TurnAction.Block, (long)p.M * p.N, ref turn);
    }

    /// <summary>c[m, n] (+)= product[n, m] + bias[n] for a block of rows.</summary>
    private struct TurnAction : IChunkAction
    {
        public const int Block = 256;
        public float* Product, Bias, C;
        public nint CLd;
        public int M, N;
        public bool Accumulate;

        public readonly void Invoke(int chunk)
        {
            int first = chunk * Block, last = Math.Min(M, first + Block);
            for (int m = first; m < last; m++)
            {
                float* c = C + m * CLd;
                for (int n = 0; n < N; n++)
                {
                    float value = Product[(nint)n * M + m];
                    if (Bias != null) value += Bias[n];
                    c[n] = Accumulate ? c[n] + value : value;
                }
            }
        }
    }

    private void GemmDots(ref GemmProblem p)
    {
        DotsAction action = new() { Problem = p, ByRows = p.M > MaxRows };
        action.Block = action.ByRows ? 24 : Math.Max(8, (p.N / (8 * Pool.Threads) + 7) / 8 * 8);
        int chunks = ((action.ByRows ? p.M : p.N) + action.Block - 1) / action.Block;
        Run(chunks, (long)p.M * p.N * p.K / 8, ref action);
        if (p.R == 0) return;
        GemmProblem low = new()
        {
            M = p.M,
            N = p.N,
            K = p.R,
            A = p.LowA,
            ALd = p.R,
            Alpha = 1f,
            B = p.LowB,
            BLd = p.LowBLd,
            BType = DType.F32,
            BSource = p.LowBColumns ? BSource.Columns : BSource.Rows,
            C = p.C,
            CLd = p.CLd,
            Accumulate = true,
        };
        Gemm(ref low);
    }

    private struct DotsAction : IChunkAction
    {
        public GemmProblem Problem;
        public bool ByRows;
        public int Block;

        public readonly void Invoke(int chunk)
        {
            switch (Problem.BType)
            {
                case DType.F32: Invoke<PanelF32>(chunk); break;
                case DType.BF16: Invoke<PanelBF16>(chunk); break;
                default: Invoke<PanelF16>(chunk); break;
            }
        }

        private readonly void Invoke<TPanel>(int chunk) where TPanel : struct, IPanelType
        {
            int first = chunk * Block;
            if (ByRows)
            {
                DotKernel<TSimd, TVector>.Run<TPanel>(
                    Problem.A + first * Problem.ALd, Problem.ALd, Math.Min(Block, Problem.M - first), (byte*)Problem.B, Problem.BLd, Problem.N,
                    Problem.K, Problem.Alpha, Problem.Bias, Problem.C + first * Problem.CLd, Problem.CLd, Problem.Accumulate);
                return;
            }
            DotKernel<TSimd, TVector>.Run<TPanel>(
                Problem.A, Problem.ALd, Problem.M, (byte*)Problem.B + first * Problem.BLd * TPanel.Size, Problem.BLd, Math.Min(Block, Problem.N - first),
                Problem.K, Problem.Alpha, Problem.Bias == null ? null : Problem.Bias + first, Problem.C + first, Problem.CLd, Problem.Accumulate);
        }
    }

    private void GemmTiles(ref GemmProblem p)
    {
        int panels = (p.N + Columns - 1) / Columns;
        int threads = Pool.Threads;
        GemmAction action = new() { P = p, Panels = panels, Ahead = threads };
        // One row panel takes B where it lies; so do a few of a transposed A, whose rows already lie side by side (gradients of LoRA).
        action.Whole = p.Alpha == 1f && (p.M <= MaxRows || (p.M <= 3 * MaxRows && p.ATransposed && p.BSource == BSource.Rows && p.R == 0));
        // Row-major A is read where it lies too, unless its rows would compete for the same places in the first-level cache.
        action.Direct = action.Whole || (p.Alpha == 1f && !p.ATransposed && p.ALd * sizeof(float) % CachePage != 0);
        if (p.R > 0)
        {
            action.LowB = ThreadScratch.Floats(Use.LowB, (long)panels * Columns * p.R);
            if (!action.Direct) action.LowA = ThreadScratch.Floats(Use.LowA, (long)p.M * p.R);
            else if (p.ATransposed)
            {
                action.LowA = ThreadScratch.Floats(Use.LowA, (long)p.M * p.R);
                Packing.Transpose(p.LowA, DType.F32, p.R, p.M, p.R, 1f, action.LowA, p.M, 0);
            }
            else action.LowA = p.LowA;
        }
        // Blocks of equal depth, a multiple of the panel width so that both orientations of a packed weight are cut between panels.
        int blocks = Math.Max(1, (p.K + DepthBlock - 1) / DepthBlock);
        action.Block = action.Whole ? Math.Max(1, p.K) : ((p.K + blocks - 1) / blocks + Columns - 1) / Columns * Columns;
        int superBlock = action.Whole ? action.Block : action.Block * (int)Math.Max(1, PackedABytes / (sizeof(float) * (long)Math.Max(1, action.Block) * p.M));
        superBlock = Math.Max(1, superBlock);
        // Small chunks cost little and end together; few panels are split by rows too.
        action.Group = Math.Clamp(panels / (4 * threads), 1, p.M > 2 * MaxRows ? 1 : 4);
        int groups = (panels + action.Group - 1) / action.Group;
        int rowPanels = (p.M + MaxRows - 1) / MaxRows;
        int rowSplits = threads == 1 ? 1 : Math.Clamp(4 * threads / groups, 1, Math.Max(1, rowPanels / 4));
        action.RowBlock = (rowPanels + rowSplits - 1) / rowSplits * MaxRows;
        action.Groups = groups;
        int chunks = groups * ((p.M + action.RowBlock - 1) / action.RowBlock);
        long work = (long)p.M * p.N * Math.Max(p.K, p.R) / 16;
        for (int k0 = 0; k0 < Math.Max(1, p.K); k0 += superBlock)
        {
            action.K0 = k0;
            action.K1 = Math.Min(p.K, k0 + superBlock);
            if (!action.Direct || (p.R > 0 && k0 == 0))
            {
                if (!action.Direct) action.PackedA = ThreadScratch.Floats(Use.PackedA, (long)p.M * Math.Max(1, action.K1 - k0));
                PackAction pack = new() { Gemm = action, First = k0 == 0, RowPanels = action.Direct ? 0 : rowPanels };
                int packs = pack.RowPanels + (pack.First && p.R > 0 ? panels : 0);
                Run(packs, action.Direct ? (long)p.N * p.R : (long)p.M * (action.K1 - k0), ref pack);
            }
            Run(chunks, work, ref action);
        }
    }

    /// <summary>Packs a row panel of A (all depth blocks of the super-block), then the panels of the low-rank phase.</summary>
    private struct PackAction : IChunkAction
    {
        public GemmAction Gemm;
        public bool First;
        public int RowPanels;

        public readonly void Invoke(int chunk)
        {
            ref readonly GemmProblem p = ref Gemm.P;
            if (chunk >= RowPanels)
            {
                int panel = chunk - RowPanels;
                int columns = Math.Min(Columns, p.N - panel * Columns);
                float* low = Gemm.LowB + (long)panel * Columns * p.R;
                if (p.LowBColumns) Packing.Transpose(p.LowB + (nint)panel * Columns * p.LowBLd, DType.F32, p.LowBLd, columns, p.R, 1f, low, Columns, Columns);
                else Packing.Copy(p.LowB + panel * Columns, DType.F32, p.LowBLd, p.R, columns, 1f, low, Columns, Columns);
                return;
            }
            int row = chunk * MaxRows;
            int rows = Math.Min(MaxRows, p.M - row);
            for (int k = Gemm.K0; k < Gemm.K1; k += Gemm.Block)
            {
                int depth = Math.Min(Gemm.Block, Gemm.K1 - k);
                float* destination = Gemm.PackedA + (nint)(k - Gemm.K0) * p.M + (nint)row * depth;
                if (p.ATransposed) Packing.Copy(p.A + k * p.ALd + row, DType.F32, p.ALd, depth, rows, p.Alpha, destination, rows, rows);
                else Packing.Transpose(p.A + row * p.ALd + k, DType.F32, p.ALd, rows, depth, p.Alpha, destination, rows, rows);
            }
            if (First && p.R > 0) Packing.Transpose(p.LowA + (nint)row * p.R, DType.F32, p.R, rows, p.R, 1f, Gemm.LowA + (nint)row * p.R, rows, rows);
        }
    }

    private struct GemmAction : IChunkAction
    {
        public GemmProblem P;
        public int Panels, Group, Groups, RowBlock, Block, K0, K1;

        /// <summary>How many panels further this thread's next chunk probably lies.</summary>
        public int Ahead;

        /// <summary>A is read where it lies.</summary>
        public bool Direct;

        /// <summary>So is B, over the whole depth at once.</summary>
        public bool Whole;
        public float* PackedA, LowA, LowB;

        public readonly void Invoke(int chunk)
        {
            int firstPanel = chunk % Groups * Group;
            int lastPanel = Math.Min(Panels, firstPanel + Group);
            int firstRow = chunk / Groups * RowBlock;
            int lastRow = Math.Min(P.M, firstRow + RowBlock);
            for (int panel = firstPanel; panel < lastPanel; panel++)
            {
                if (Whole && IsDirect(panel))
                {
                    InPlace(panel, K0, K1 - K0, firstRow, lastRow, default);
                    continue;
                }
                int k = K0;
                do
                {
                    int depth = Math.Min(Block, K1 - k);
                    int nextK = k + depth, nextPanel = panel;
                    if (nextK >= K1)
                    {
                        nextK = K0;
                        nextPanel = panel + (panel + 1 < lastPanel ? 1 : Ahead);
                    }
                    Upcoming next = Coming(nextPanel, nextK, Math.Min(Block, K1 - nextK));
                    // Wide enough a block of rows is worth one widened copy of the panel: the inner loop then only multiplies.
                    if (P.BSource == BSource.Panels && (P.BType == DType.F32 || lastRow - firstRow < 4 * MaxRows))
                        InPlace(panel, k, depth, firstRow, lastRow, next);
                    else Rows<PanelF32>(panel, PackPanel(panel, k, depth), Columns, k, depth, firstRow, lastRow, next);
                    k += depth;
                }
                while (k < K1);
            }
        }

        /// <summary>Where the elements of a block of a frozen weight lie that is read soon.</summary>
        private readonly Upcoming Coming(int panel, int k, int depth)
        {
            if (panel >= Panels || depth <= 0) return default;
            int size = P.BType.Size();
            byte* b = (byte*)P.B;
            nint columns = Math.Min(Columns, P.N - (nint)panel * Columns);
            return P.BSource switch
            {
                BSource.Panels => new Upcoming(b + ((nint)panel * P.BLd + k) * Columns * size, 0, 1, depth * Columns * size),
                BSource.PanelsAcross => new Upcoming(
                    b + ((nint)(k / Columns) * P.BLd + (nint)panel * Columns) * Columns * size, P.BLd * Columns * size, (depth + Columns - 1) / Columns, (int)columns * Columns * size),
                BSource.Columns => new Upcoming(b + ((nint)panel * Columns * P.BLd + k) * size, P.BLd * size, (int)columns, depth * size),
                _ => new Upcoming(b + (k * P.BLd + (nint)panel * Columns) * size, P.BLd * size, depth, (int)columns * size),
            };
        }

        /// <summary>True when the tile kernel can read the panel where it lies.</summary>
        private readonly bool IsDirect(int panel) => P.BSource == BSource.Panels || (P.BSource == BSource.Rows && (panel + 1) * Columns <= P.N);

        private readonly void InPlace(int panel, int k, int depth, int firstRow, int lastRow, Upcoming next)
        {
            bool packed = P.BSource == BSource.Panels;
            nint start = packed ? ((nint)panel * P.BLd + k) * Columns : k * P.BLd + (nint)panel * Columns;
            nint stride = packed ? Columns : P.BLd;
            switch (P.BType)
            {
                case DType.F32: Rows<PanelF32>(panel, (float*)P.B + start, stride, k, depth, firstRow, lastRow, next); break;
                case DType.BF16: Rows<PanelBF16>(panel, (ushort*)P.B + start, stride, k, depth, firstRow, lastRow, next); break;
                default: Rows<PanelF16>(panel, (ushort*)P.B + start, stride, k, depth, firstRow, lastRow, next); break;
            }
        }

        /// <summary>Widens and turns one panel of B into this thread's working memory.</summary>
        private readonly float* PackPanel(int panel, int k, int depth)
        {
            float* packed = ThreadScratch.Floats(Use.PackedB, (long)Block * Columns);
            int columns = Math.Min(Columns, P.N - panel * Columns);
            int size = P.BType.Size();
            byte* b = (byte*)P.B;
            switch (P.BSource)
            {
                case BSource.Panels:
                    Packing.Widen<TSimd, TVector>(b + ((nint)panel * P.BLd + k) * Columns * size, P.BType, depth * Columns, packed);
                    break;
                case BSource.Rows:
                    Packing.Copy(b + (k * P.BLd + (nint)panel * Columns) * size, P.BType, P.BLd, depth, columns, 1f, packed, Columns, Columns);
                    break;
                case BSource.Columns:
                    Packing.Transpose(b + ((nint)panel * Columns * P.BLd + k) * size, P.BType, P.BLd, columns, depth, 1f, packed, Columns, Columns);
                    break;
                default:
                    // k runs across the packed panels, whose depth index is this product's column.
                    for (int done = 0; done < depth;)
                    {
                        int source = (k + done) / Columns, offset = (k + done) % Columns;
                        int part = Math.Min(Columns - offset, depth - done);
                        Packing.Transpose(
                            b + (((nint)source * P.BLd + (nint)panel * Columns) * Columns + offset) * size, P.BType, Columns, columns, part, 1f,
                            packed + (nint)done * Columns, Columns, Columns);
                        done += part;
                    }
                    break;
            }
            return packed;
        }

        /// <summary>All row panels against one panel of B.</summary>
        private readonly void Rows<TPanel>(int panel, void* b, nint bStride, int k, int depth, int firstRow, int lastRow, Upcoming next) where TPanel : struct, IPanelType
        {
            int column = panel * Columns;
            int columns = Math.Min(Columns, P.N - column);
            bool last = k + depth == P.K && P.R > 0;
            bool load = P.Accumulate || k > 0;
            TileArguments t = new()
            {
                B = b,
                BStride = bStride,
                Depth = depth,
                LoadC = load,
                Bias = P.Bias == null ? null : P.Bias + column,
                LowDepth = last ? P.R : 0,
                LowB = LowB + (nint)panel * Columns * P.R,
                LowBStride = Columns,
            };
            bool edge = columns < Columns;
            int steps = (lastRow - firstRow + MaxRows - 1) / MaxRows;
            float* tile = edge ? ThreadScratch.Floats(Use.Tile, MaxRows * Columns) : null;
            for (int row = firstRow; row < lastRow; row += MaxRows)
            {
                int rows = Math.Min(MaxRows, lastRow - row);
                next.Fetch(steps--);
                float* c = P.C + row * P.CLd + column;
                if (edge)
                {
                    // The last, narrower panel goes through a full tile.
                    for (int i = 0; i < rows; i++)
                    {
                        for (int j = 0; j < Columns; j++)
                            tile[i * Columns + j] = j >= columns ? 0 : load ? c[i * P.CLd + j] : P.Bias != null ? P.Bias[column + j] : 0;
                    }
                    t.C = tile;
                    t.CStride = Columns;
                    t.LoadC = true;
                }
                else
                {
                    t.C = c;
                    t.CStride = P.CLd;
                }
                if (Direct)
                {
                    t.A = P.ATransposed ? P.A + k * P.ALd + row : P.A + row * P.ALd + k;
                    t.AStride = P.ALd;
                    t.LowA = P.ATransposed ? LowA + row : LowA + (nint)row * P.R;
                    t.LowAStride = P.ATransposed ? P.M : P.R;
                }
                else
                {
                    t.A = PackedA + (nint)(k - K0) * P.M + (nint)row * depth;
                    t.AStride = rows;
                    t.LowA = LowA + (nint)row * P.R;
                    t.LowAStride = rows;
                }
                if (Direct && P.ATransposed && bStride > Columns) TileKernel<TSimd, TVector>.Run<TPanel, PackedRowsFarB>(rows, &t);
                else if (Direct && !P.ATransposed) TileKernel<TSimd, TVector>.Run<TPanel, PlainRows>(rows, &t);
                else TileKernel<TSimd, TVector>.Run<TPanel, PackedRows>(rows, &t);
                if (!edge) continue;
                for (int i = 0; i < rows; i++) new ReadOnlySpan<float>(tile + i * Columns, columns).CopyTo(new Span<float>(c + i * P.CLd, columns));
            }
        }
    }
}
