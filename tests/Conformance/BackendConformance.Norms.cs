using FsCheck.Xunit;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void RmsNorm(Size m, Size columns, bool gemma, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        int k = Math.Max(1, (int)columns);
        Pair x = c.Input("x", m, k), w = c.Parameter("w", k);
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, k]);
        Pair rstd = c.Output("rstd", [m], parameter: true);
        c.Run(s => s.Backend.RmsNorm(s[x], s[w], 1e-6f, gemma ? 1 : 0, s[y], s[rstd]));
    }

    [Property]
    public void AddRmsNorm(Size m, Size columns, bool gemma, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        int k = Math.Max(1, (int)columns);
        // Eighths, whose sums every type holds: what is normed is the rounded sum, and the reference in double does not round.
        float[] Eighths() => Array.ConvertAll(new float[m * k], _ => c.Random.Next(-63, 64) / 8f);
        Pair a = c.Input("a", Eighths(), m, k), b = c.Input("b", Eighths(), m, k), w = c.Parameter("w", k);
        Pair sum = alias ? c.Overwrite(a) : c.Output("sum", [m, k]), y = c.Output("y", [m, k]);
        Pair rstd = c.Output("rstd", [m], parameter: true);
        c.Run(s => s.Backend.AddRmsNorm(s[a], s[b], s[w], 1e-6f, gemma ? 1 : 0, s[sum], s[y], s[rstd]));
    }

    [Property]
    public void RmsNormBackward(Size m, Size columns, bool gemma, bool alias, bool accumulate, bool weightGradient, DataSeed seed)
    {
        using Case c = Start(seed);
        int k = Math.Max(1, (int)columns);
        Pair dy = c.Input("dy", m, k), x = c.Input("x", m, k), w = c.Parameter("w", k);
        (_, float[] reciprocal) = RowStatistics(c.Values(x), m, k, 1e-6, centre: false);
        Pair rstd = c.Parameter("rstd", reciprocal, m);
        // The gradient is orthogonal to x: in one column it cancels to nothing, and only rounding of the terms is left.
        double floor = 2 * (1 + reciprocal.DefaultIfEmpty().Max());
        alias &= !accumulate;
        Pair dx = alias ? c.Overwrite(dy, floor) : c.Output("dx", [m, k], accumulate, floor);
        Pair? dw = weightGradient ? c.Output("dw", [k], true, Math.Sqrt(m + 1), parameter: true) : null;
        c.Run(s => s.Backend.RmsNormBackward(s[dy], s[x], s[w], gemma ? 1 : 0, s[rstd], s[dx], accumulate, s.Optional(dw)));
    }

    [Property]
    public void LayerNorm(Size m, Size columns, bool bias, bool shifted, DataSeed seed)
    {
        using Case c = Start(seed);
        int k = Math.Max(1, (int)columns);
        // A mean far from 0 shows a variance taken as the difference of two large sums.
        Pair x = c.Input("x", c.Normal((long)m * k, shift: shifted ? 100 : 0), m, k), w = c.Parameter("w", k);
        Pair? b = bias ? c.Parameter("b", k) : null;
        (float[] means, float[] reciprocal) = RowStatistics(c.Values(x), m, k, 1e-5, centre: true);
        // x − mean carries the rounding of the mean, magnified by rstd where a row hardly varies.
        double magnified = Enumerable.Range(0, m).Select(i => 0.1 * (1 + Math.Abs(means[i])) * reciprocal[i]).DefaultIfEmpty().Max();
        Pair y = c.Output("y", [m, k], floor: 1 + magnified);
        Pair mean = c.Output("mean", [m], parameter: true);
        Pair rstd = c.Output("rstd", [m], floor: magnified, parameter: true);
        c.Run(s => s.Backend.LayerNorm(s[x], s[w], s.Optional(b), 1e-5f, s[y], s[mean], s[rstd]));
    }

    [Property]
    public void LayerNormBackward(Size m, Size columns, bool alias, bool accumulate, bool weightGradient, bool biasGradient, DataSeed seed)
    {
        using Case c = Start(seed);
        int k = Math.Max(1, (int)columns);
        Pair dy = c.Input("dy", m, k), x = c.Input("x", m, k), w = c.Parameter("w", k);
        (float[] means, float[] reciprocal) = RowStatistics(c.Values(x), m, k, 1e-5, centre: true);
        Pair mean = c.Parameter("mean", means, m), rstd = c.Parameter("rstd", reciprocal, m);
        double floor = 2 * (1 + reciprocal.DefaultIfEmpty().Max());
        alias &= !accumulate;
        Pair dx = alias ? c.Overwrite(dy, floor) : c.Output("dx", [m, k], accumulate, floor);
        Pair? dw = weightGradient ? c.Output("dw", [k], true, Math.Sqrt(m + 1), parameter: true) : null;
        Pair? db = biasGradient ? c.Output("db", [k], true, Math.Sqrt(m + 1), parameter: true) : null;
        c.Run(s => s.Backend.LayerNormBackward(
            s[dy], s[x], s[w], s[mean], s[rstd], s[dx], accumulate, s.Optional(dw), s.Optional(db)));
    }

    private static (float[] Mean, float[] Rstd) RowStatistics(float[] x, int m, int k, double eps, bool centre)
    {
        float[] mean = new float[m], rstd = new float[m];
        for (int i = 0; i < m; i++)
        {
            ReadOnlySpan<float> row = x.AsSpan(i * k, k);
            double sum = 0, squares = 0;
            foreach (float value in row) sum += value;
            double average = centre ? sum / k : 0;
            foreach (float value in row) squares += (value - average) * (value - average);
            mean[i] = (float)average;
            rstd[i] = (float)(1 / Math.Sqrt(squares / k + eps));
        }
        return (mean, rstd);
    }
}
