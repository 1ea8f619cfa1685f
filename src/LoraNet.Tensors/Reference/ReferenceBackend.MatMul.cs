namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void Linear(Tensor x, Weight w, Tensor? bias, LowRank? lowRank, Tensor y, bool accumulate = false)
    {
        int m = x.Rows, n = w.Rows, k = w.Columns;
        Require.Matrix(x, m, k);
        Require.Matrix(y, m, n);
        double[] result = Elements.Start(y, accumulate);
        Product(Elements.Read(x), k, 1, Form(w), 1, k, m, n, k, 1, result);
        if (bias is not null) AddToRows(bias, m, n, result);
        if (lowRank is { } second)
        {
            int r = second.Left.Columns;
            Require.Matrix(second.Left, m, r);
            Require.Matrix(second.Right, n, r);
            Product(Elements.Read(second.Left), r, 1, Elements.Read(second.Right), 1, r, m, n, r, 1, result);
        }
        Elements.Write(result, y);
    }

    /// <inheritdoc/>
    public override void LinearBackwardInput(Tensor dy, Weight w, LowRank? lowRank, Tensor dx, bool accumulate = false)
    {
        int m = dy.Rows, n = w.Rows, k = w.Columns;
        Require.Matrix(dy, m, n);
        Require.Matrix(dx, m, k);
        double[] result = Elements.Start(dx, accumulate);
        Product(Elements.Read(dy), n, 1, Form(w), k, 1, m, k, n, 1, result);
        if (lowRank is { } second)
        {
            int r = second.Left.Columns;
            Require.Matrix(second.Left, m, r);
            Require.Matrix(second.Right, r, k);
            Product(Elements.Read(second.Left), r, 1, Elements.Read(second.Right), k, 1, m, k, r, 1, result);
        }
        Elements.Write(result, dx);
    }

    /// <inheritdoc/>
    public override void MatMul(MatMulKind kind, Tensor a, Tensor b, Tensor c, float alpha = 1, bool accumulate = false, Tensor? bias = null)
    {
        if (accumulate && bias is not null) throw new ArgumentException("A bias is added only without accumulate.", nameof(bias));
        int m = c.Rows, n = c.Columns;
        int k = kind == MatMulKind.TN ? a.Rows : a.Columns;
        if (kind == MatMulKind.TN) Require.Matrix(a, k, m);
        else Require.Matrix(a, m, k);
        if (kind == MatMulKind.NT) Require.Matrix(b, n, k);
        else Require.Matrix(b, k, n);

        double[] result = Elements.Start(c, accumulate);
        (int aRow, int aInner) = kind == MatMulKind.TN ? (1, m) : (k, 1);
        (int bInner, int bColumn) = kind == MatMulKind.NT ? (1, k) : (n, 1);
        Product(Elements.Read(a), aRow, aInner, Elements.Read(b), bInner, bColumn, m, n, k, alpha, result);
        if (bias is not null) AddToRows(bias, m, n, result);
        Elements.Write(result, c);
    }

    /// <inheritdoc/>
    public override void DoraNorm(Tensor w2, Tensor c, Tensor b, Tensor g, float scale, Tensor norm)
    {
        int n = b.Rows, r = b.Columns;
        Require.Count(w2, n);
        Require.Matrix(c, r, n);
        Require.Matrix(g, r, r);
        Require.Count(norm, n);
        double[] squares = Elements.Read(w2), cs = Elements.Read(c), bs = Elements.Read(b), gs = Elements.Read(g);
        double[] result = new double[n];
        double s = scale;
        for (long i = 0; i < n; i++)
        {
            double cross = 0, own = 0;
            for (int j = 0; j < r; j++)
            {
                cross += cs[j * (long)n + i] * bs[i * r + j];
                double bg = 0;
                for (int l = 0; l < r; l++) bg += bs[i * r + l] * gs[(long)l * r + j];
                own += bg * bs[i * r + j];
            }
            // Never negative in exact arithmetic; rounding of the operands may make it so where s·B·A cancels W.
            result[i] = Math.Sqrt(Math.Max(0, squares[i] + 2 * s * cross + s * s * own));
        }
        Elements.Write(result, norm);
    }

    /// <summary>result[i,j] += alpha·Σₗ a[i·aRow + l·aInner]·b[l·bInner + j·bColumn].</summary>
    private static void Product(
        double[] a, long aRow, long aInner, double[] b, long bInner, long bColumn, int m, int n, int k, double alpha, double[] result)
    {
        for (long i = 0; i < m; i++)
        {
            for (long j = 0; j < n; j++)
            {
                double sum = 0;
                for (long l = 0; l < k; l++) sum += a[i * aRow + l * aInner] * b[l * bInner + j * bColumn];
                result[i * n + j] += alpha * sum;
            }
        }
    }

    private static void AddToRows(Tensor bias, int m, int n, double[] result)
    {
        Require.Count(bias, n);
        double[] values = Elements.Read(bias);
        for (long i = 0; i < m; i++)
            for (int j = 0; j < n; j++)
                result[i * n + j] += values[j];
    }
}
