namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void RmsNorm(Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd)
    {
        int m = x.Rows, k = x.Columns;
        Require.Count(w, k);
        Require.Same(y, x);
        Require.Count(rstd, m);
        double[] xs = Elements.Read(x), ws = Elements.Read(w);
        double[] ys = new double[y.Count], rs = new double[m];
        for (long i = 0; i < m; i++)
        {
            double squares = 0;
            for (int j = 0; j < k; j++) squares += xs[i * k + j] * xs[i * k + j];
            rs[i] = 1 / Math.Sqrt(squares / Math.Max(1, k) + eps);
            for (int j = 0; j < k; j++) ys[i * k + j] = xs[i * k + j] * rs[i] * (ws[j] + offset);
        }
        Elements.Write(ys, y);
        Elements.Write(rs, rstd);
    }

    /// <inheritdoc/>
    public override void RmsNormBackward(Tensor dy, Tensor x, Tensor w, float offset, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw) =>
        NormBackward(dy, x, w, offset, null, rstd, dx, accumulate, dw, null);

    /// <inheritdoc/>
    public override void LayerNorm(Tensor x, Tensor w, Tensor? b, float eps, Tensor y, Tensor mean, Tensor rstd)
    {
        int m = x.Rows, k = x.Columns;
        Require.Count(w, k);
        if (b is not null) Require.Count(b, k);
        Require.Same(y, x);
        Require.Count(mean, m);
        Require.Count(rstd, m);
        double[] xs = Elements.Read(x), ws = Elements.Read(w);
        double[] bs = b is null ? new double[k] : Elements.Read(b);
        double[] ys = new double[y.Count], means = new double[m], rs = new double[m];
        for (long i = 0; i < m; i++)
        {
            for (int j = 0; j < k; j++) means[i] += xs[i * k + j] / k;
            double variance = 0;
            for (int j = 0; j < k; j++) variance += (xs[i * k + j] - means[i]) * (xs[i * k + j] - means[i]) / k;
            rs[i] = 1 / Math.Sqrt(variance + eps);
            for (int j = 0; j < k; j++) ys[i * k + j] = (xs[i * k + j] - means[i]) * rs[i] * ws[j] + bs[j];
        }
        Elements.Write(ys, y);
        Elements.Write(means, mean);
        Elements.Write(rs, rstd);
    }

    /// <inheritdoc/>
    public override void LayerNormBackward(
        Tensor dy, Tensor x, Tensor w, Tensor mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db) =>
        NormBackward(dy, x, w, 0, mean, rstd, dx, accumulate, dw, db);

    /// <summary>Both norms: RMSNorm is the case without a mean, whose term Σg is then absent.</summary>
    private static void NormBackward(
        Tensor dy, Tensor x, Tensor w, float offset, Tensor? mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db)
    {
        int m = x.Rows, k = x.Columns;
        Require.Same(dy, x);
        Require.Same(dx, x);
        Require.Count(w, k);
        if (mean is not null) Require.Count(mean, m);
        Require.Count(rstd, m);
        if (dw is not null) Require.Count(dw, k);
        if (db is not null) Require.Count(db, k);
        double[] dys = Elements.Read(dy), xs = Elements.Read(x), ws = Elements.Read(w), rs = Elements.Read(rstd);
        double[] means = mean is null ? new double[m] : Elements.Read(mean);
        double[] dxs = Elements.Start(dx, accumulate);
        double[] dws = dw is null ? new double[k] : Elements.Read(dw);
        double[] dbs = db is null ? new double[k] : Elements.Read(db);
        for (long i = 0; i < m; i++)
        {
            double sumG = 0, sumGx = 0;
            for (int j = 0; j < k; j++)
            {
                double g = dys[i * k + j] * (ws[j] + offset);
                double xHat = (xs[i * k + j] - means[i]) * rs[i];
                sumG += g;
                sumGx += g * xHat;
                dws[j] += dys[i * k + j] * xHat;
                dbs[j] += dys[i * k + j];
            }
            if (mean is null) sumG = 0;
            for (int j = 0; j < k; j++)
            {
                double g = dys[i * k + j] * (ws[j] + offset);
                double xHat = (xs[i * k + j] - means[i]) * rs[i];
                dxs[i * k + j] += rs[i] / k * (k * g - sumG - xHat * sumGx);
            }
        }
        Elements.Write(dxs, dx);
        if (dw is not null) Elements.Write(dws, dw);
        if (db is not null) Elements.Write(dbs, db);
    }
}
