namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void ScaleColumns(Tensor x, Tensor v, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        Require.Count(v, x.Columns);
        double[] xs = Elements.Read(x), vs = Elements.Read(v), ys = Elements.Start(y, accumulate);
        for (long i = 0; i < ys.LongLength; i++) ys[i] += xs[i] * vs[i % x.Columns];
        Elements.Write(ys, y);
    }

    /// <inheritdoc/>
    public override void ScaleRows(Tensor x, Tensor v, Tensor y)
    {
        Require.Same(y, x);
        Require.Count(v, x.Rows);
        double[] xs = Elements.Read(x), vs = Elements.Read(v);
        for (long i = 0; i < xs.LongLength; i++) xs[i] *= vs[i / x.Columns];
        Elements.Write(xs, y);
    }

    /// <inheritdoc/>
    public override void AddRow(Tensor x, Tensor v, Tensor y)
    {
        Require.Same(y, x);
        Require.Count(v, x.Columns);
        double[] xs = Elements.Read(x), vs = Elements.Read(v);
        for (long i = 0; i < xs.LongLength; i++) xs[i] += vs[i % x.Columns];
        Elements.Write(xs, y);
    }

    /// <inheritdoc/>
    public override void ColumnSum(Tensor x, Tensor? other, float alpha, Tensor sum, bool accumulate)
    {
        int columns = x.Columns;
        Require.Count(sum, columns);
        if (other is not null) Require.Same(other, x);
        double[] xs = Elements.Read(x), sums = new double[columns], result = Elements.Start(sum, accumulate);
        double[]? others = other is null ? null : Elements.Read(other);
        for (long i = 0; i < xs.LongLength; i++) sums[i % columns] += others is null ? xs[i] : xs[i] * others[i];
        for (int j = 0; j < columns; j++) result[j] += alpha * sums[j];
        Elements.Write(result, sum);
    }

    /// <inheritdoc/>
    public override void CopyColumns(Tensor x, int xColumn, Tensor y, int yColumn, int count, bool accumulate = false)
    {
        if (x.Rows != y.Rows) throw new ArgumentException($"{x.ShapeText} and {y.ShapeText} differ in rows.", nameof(y));
        if (count < 0 || xColumn < 0 || xColumn + count > x.Columns || yColumn < 0 || yColumn + count > y.Columns)
            throw new ArgumentException($"{count} columns from {xColumn} of {x.ShapeText} to {yColumn} of {y.ShapeText}.");
        double[] xs = Elements.Read(x), ys = Elements.Read(y);
        for (long m = 0; m < x.Rows; m++)
        {
            for (int j = 0; j < count; j++)
            {
                long target = m * y.Columns + yColumn + j;
                ys[target] = xs[m * x.Columns + xColumn + j] + (accumulate ? ys[target] : 0);
            }
        }
        Elements.Write(ys, y);
    }

    /// <inheritdoc/>
    public override void GatherRows(Tensor x, Tensor rows, Tensor y)
    {
        int columns = x.Columns;
        int[] numbers = Elements.ReadIndices(rows);
        Require.Matrix(y, numbers.Length, columns);
        double[] xs = Elements.Read(x), ys = new double[y.Count];
        for (int i = 0; i < numbers.Length; i++)
        {
            if (numbers[i] == -1) continue;
            Require.Index(numbers[i], x.Rows, nameof(rows));
            for (int j = 0; j < columns; j++) ys[(long)i * columns + j] = xs[(long)numbers[i] * columns + j];
        }
        Elements.Write(ys, y);
    }

    /// <inheritdoc/>
    public override void ScatterAddRows(Tensor x, Tensor rows, Tensor y)
    {
        int columns = x.Columns;
        int[] numbers = Elements.ReadIndices(rows);
        Require.Matrix(x, numbers.Length, columns);
        Require.Matrix(y, y.Rows, columns);
        double[] xs = Elements.Read(x), ys = Elements.Read(y);
        for (int i = 0; i < numbers.Length; i++)
        {
            if (numbers[i] == -1) continue;
            Require.Index(numbers[i], y.Rows, nameof(rows));
            for (int j = 0; j < columns; j++) ys[(long)numbers[i] * columns + j] += xs[(long)i * columns + j];
        }
        Elements.Write(ys, y);
    }
}
