using CommunityToolkit.HighPerformance;
using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void ScaleColumns(Tensor x, Tensor v, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        Require.Count(v, x.Columns);
        float* c = Write(y, Use.Operand2, accumulate);
        _kernels.ScaleColumns(Read(x, Use.Operand0), Read(v, Use.Operand1), c, x.Rows, x.Columns, accumulate);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void ScaleRows(Tensor x, Tensor v, Tensor y)
    {
        Require.Same(y, x);
        Require.Count(v, x.Rows);
        float* c = Write(y, Use.Operand2);
        _kernels.ScaleRows(Read(x, Use.Operand0), Read(v, Use.Operand1), c, x.Rows, x.Columns);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void AddRow(Tensor x, Tensor v, Tensor y)
    {
        Require.Same(y, x);
        Require.Count(v, x.Columns);
        float* c = Write(y, Use.Operand2);
        _kernels.AddRow(Read(x, Use.Operand0), Read(v, Use.Operand1), c, x.Rows, x.Columns);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void ColumnSum(Tensor x, Tensor? other, float alpha, Tensor sum, bool accumulate)
    {
        Require.Count(sum, x.Columns);
        if (other is not null) Require.Same(other, x);
        float* c = Write(sum, Use.Operand2, accumulate);
        _kernels.ColumnSum(Read(x, Use.Operand0), ReadOptional(other, Use.Operand1), null, alpha, c, x.Rows, x.Columns, accumulate);
        Finish(sum, c);
    }

    /// <inheritdoc/>
    public override void DoraNorm(Tensor w2, Tensor c, Tensor b, Tensor g, float scale, Tensor norm)
    {
        int n = (int)w2.Count, r = b.Columns;
        Require.Matrix(b, n, r);
        Require.Matrix(c, r, n);
        Require.Matrix(g, r, r);
        Require.Count(norm, n);
        float* squares = Read(w2, Use.Operand0), cross = Read(c, Use.Operand1), right = Read(b, Use.Operand2), gram = Read(g, Use.Operand3);
        float* result = Write(norm, Use.Operand4);
        // Double: the three terms cancel when an adapter undoes its weight.
        for (int i = 0; i < n; i++)
        {
            float* row = right + (nint)i * r;
            double linear = 0, quadratic = 0;
            for (int j = 0; j < r; j++)
            {
                linear += (double)cross[(nint)j * n + i] * row[j];
                double product = 0;
                for (int k = 0; k < r; k++) product += (double)row[k] * gram[k * r + j];
                quadratic += product * row[j];
            }
            result[i] = (float)Math.Sqrt(Math.Max(0, squares[i] + 2.0 * scale * linear + (double)scale * scale * quadratic));
        }
        Finish(norm, result);
    }

    /// <inheritdoc/>
    public override void CopyColumns(Tensor x, int xColumn, Tensor y, int yColumn, int count, bool accumulate = false)
    {
        if (x.Rows != y.Rows) throw new ArgumentException($"{x.ShapeText} and {y.ShapeText} differ in rows.", nameof(y));
        if (count < 0 || xColumn < 0 || xColumn + count > x.Columns || yColumn < 0 || yColumn + count > y.Columns)
            throw new ArgumentException($"{count} columns from {xColumn} of {x.ShapeText} to {yColumn} of {y.ShapeText}.");
        if (count == 0 || x.Rows == 0) return;
        float* a = Read(x, Use.Operand0), c = Write(y, Use.Operand1, load: true);
        Span2D<float> source = new(a + xColumn, x.Rows, count, x.Columns - count);
        Span2D<float> target = new(c + yColumn, y.Rows, count, y.Columns - count);
        if (!accumulate) source.CopyTo(target);
        else
        {
            for (int row = 0; row < x.Rows; row++)
            {
                Span<float> sum = target.GetRowSpan(row);
                System.Numerics.Tensors.TensorPrimitives.Add(sum, source.GetRowSpan(row), sum);
            }
        }
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void GatherRows(Tensor x, Tensor rows, Tensor y)
    {
        int columns = x.Columns;
        Require.Matrix(y, (int)rows.Count, columns);
        int* index = Indices(rows);
        float* a = Read(x, Use.Operand0), c = Write(y, Use.Operand1);
        for (int i = 0; i < rows.Count; i++)
        {
            Span<float> target = new(c + (nint)i * columns, columns);
            if (index[i] < 0) target.Clear();
            else new ReadOnlySpan<float>(a + (nint)index[i] * columns, columns).CopyTo(target);
        }
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void ScatterAddRows(Tensor x, Tensor rows, Tensor y)
    {
        int columns = x.Columns;
        Require.Matrix(x, (int)rows.Count, columns);
        Require.Matrix(y, y.Rows, columns);
        int* index = Indices(rows);
        float* a = Read(x, Use.Operand0), c = Write(y, Use.Operand1, load: true);
        for (int i = 0; i < rows.Count; i++)
        {
            if (index[i] < 0) continue;
            Span<float> target = new(c + (nint)index[i] * columns, columns);
            System.Numerics.Tensors.TensorPrimitives.Add(target, new ReadOnlySpan<float>(a + (nint)i * columns, columns), target);
        }
        Finish(y, c);
    }
}
