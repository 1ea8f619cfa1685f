using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>Operations of a matrix with a vector, and sums over rows.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <summary>Rows of a chunk so that it holds a useful number of elements; depends on the shape only.</summary>
    private static int RowsPerChunk(int columns) => Math.Max(1, 8 * 1024 / Math.Max(1, columns));

    private static int RowChunks(int rows, int columns) => (rows + RowsPerChunk(columns) - 1) / RowsPerChunk(columns);

    /// <inheritdoc/>
    public override void ScaleColumns(float* x, float* v, float* y, int rows, int columns, bool accumulate) =>
        MapRows(new ScaleColumnsRow(x, v, y, columns, accumulate), rows, columns);

    /// <inheritdoc/>
    public override void ScaleRows(float* x, float* v, float* y, int rows, int columns) =>
        MapRows(new ScaleRowsRow(x, v, y, columns), rows, columns);

    /// <inheritdoc/>
    public override void AddRow(float* x, float* v, float* y, int rows, int columns) =>
        MapRows(new AddRowRow(x, v, y, columns), rows, columns);

    private void MapRows<TRow>(TRow row, int rows, int columns) where TRow : struct, IRowAction
    {
        RowsAction<TRow> action = new() { Row = row, Rows = rows, Block = RowsPerChunk(columns) };
        Run(RowChunks(rows, columns), (long)rows * columns, ref action);
    }

    /// <summary>Work on one row.</summary>
    private interface IRowAction
    {
        void Invoke(int row);
    }

    private struct RowsAction<TRow> : IChunkAction where TRow : struct, IRowAction
    {
        public TRow Row;
        public int Rows, Block;

        public readonly void Invoke(int chunk)
        {
            int last = Math.Min(Rows, (chunk + 1) * Block);
            for (int row = chunk * Block; row < last; row++) Row.Invoke(row);
        }
    }

    private readonly struct ScaleColumnsRow(float* x, float* v, float* y, int columns, bool accumulate) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            float* a = x + (nint)row * columns, b = v, c = y + (nint)row * columns;
            int i = 0;
            if (accumulate)
            {
                for (; i + TSimd.Width <= columns; i += TSimd.Width) TSimd.Store(TSimd.MultiplyAdd(TSimd.Load(a + i), TSimd.Load(b + i), TSimd.Load(c + i)), c + i);
                for (; i < columns; i++) c[i] = SimdScalar.MultiplyAdd(a[i], b[i], c[i]);
                return;
            }
            for (; i + TSimd.Width <= columns; i += TSimd.Width) TSimd.Store(TSimd.Multiply(TSimd.Load(a + i), TSimd.Load(b + i)), c + i);
            for (; i < columns; i++) c[i] = a[i] * b[i];
        }
    }

    private readonly struct ScaleRowsRow(float* x, float* v, float* y, int columns) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            float* a = x + (nint)row * columns, c = y + (nint)row * columns;
            float factor = v[row];
            TVector b = TSimd.Broadcast(factor);
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width) TSimd.Store(TSimd.Multiply(TSimd.Load(a + i), b), c + i);
            for (; i < columns; i++) c[i] = a[i] * factor;
        }
    }

    private readonly struct AddRowRow(float* x, float* v, float* y, int columns) : IRowAction
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Invoke(int row)
        {
            float* a = x + (nint)row * columns, b = v, c = y + (nint)row * columns;
            int i = 0;
            for (; i + TSimd.Width <= columns; i += TSimd.Width) TSimd.Store(TSimd.Add(TSimd.Load(a + i), TSimd.Load(b + i)), c + i);
            for (; i < columns; i++) c[i] = a[i] + b[i];
        }
    }

    /// <inheritdoc/>
    public override void ColumnSum(float* x, float* other, float* rowFactor, float alpha, float* sum, int rows, int columns, bool accumulate)
    {
        ColumnAction action = new() { X = x, Other = other, RowFactor = rowFactor, Alpha = alpha, Total = sum, Rows = rows, Columns = columns, Accumulate = accumulate };
        Run((columns + ColumnBlock - 1) / ColumnBlock, (long)rows * columns, ref action);
    }

    /// <inheritdoc/>
    public override void NormWeightGradient(float* dy, float* x, float* mean, float* rstd, float* dw, int rows, int columns)
    {
        ColumnAction action = new() { X = x, Other = dy, Mean = mean, RowFactor = rstd, Alpha = 1f, Total = dw, Rows = rows, Columns = columns, Accumulate = true };
        Run((columns + ColumnBlock - 1) / ColumnBlock, (long)rows * columns, ref action);
    }

    /// <summary>Columns that one chunk sums over all rows: no partial sums, so the order never changes.</summary>
    private const int ColumnBlock = 64;

    private struct ColumnAction : IChunkAction
    {
        public float* X, Other, Mean, RowFactor, Total;
        public float Alpha;
        public int Rows, Columns;
        public bool Accumulate;

        public readonly void Invoke(int chunk)
        {
            int i = chunk * ColumnBlock;
            int end = Math.Min(Columns, i + ColumnBlock);
            for (; i + TSimd.Width <= end; i += TSimd.Width) Column<TSimd, TVector>(i);
            for (; i < end; i++) Column<SimdScalar, float>(i);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private readonly void Column<TS, TV>(int column) where TS : struct, ISimd<TV> where TV : unmanaged
        {
            TV total = TS.Broadcast(0f);
            TV compensation = TS.Broadcast(0f);
            for (int row = 0; row < Rows; row++)
            {
                nint at = (nint)row * Columns + column;
                TV value = TS.Load(X + at);
                if (Mean != null) value = TS.Subtract(value, TS.Broadcast(Mean[row]));
                if (RowFactor != null) value = TS.Multiply(value, TS.Broadcast(RowFactor[row]));
                if (Other != null) value = TS.Multiply(value, TS.Load(Other + at));
                // Kahan's compensation: thousands of rows of either sign.
                value = TS.Subtract(value, compensation);
                TV next = TS.Add(total, value);
                compensation = TS.Subtract(TS.Subtract(next, total), value);
                total = next;
            }
            total = TS.Multiply(total, TS.Broadcast(Alpha));
            TS.Store(Accumulate ? TS.Add(TS.Load(Total + column), total) : total, Total + column);
        }
    }
}
