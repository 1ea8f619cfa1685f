using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

/// <summary>A few large cases of each operation: whole tiles beside partial ones in every dimension, rows as long as a model's,
/// and enough elements that a backend spreads them over threads or blocks.</summary>
public abstract partial class BackendConformance
{
    /// <summary>False where one large case takes minutes, as on an emulated device.</summary>
    protected virtual bool LargeCases => true;

    [Property(MaxTest = 4)]
    public void Large_linear(bool lowRank, bool accumulate, Stored stored, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int n, int k, int r) = (TileSize(c), TileSize(c), TileSize(c), c.Random.GetItems([1, 8, 33, 64, 128], 1)[0]);
        Pair x = c.Input("x", m, k), dy = c.Input("dy", m, n);
        WeightPair w = c.Weight(stored, n, k);
        Pair? left = lowRank ? c.Input("left", m, r) : null;
        Pair? b = lowRank ? c.Parameter("b", n, r) : null, a = lowRank ? c.Parameter("a", r, k) : null;
        Pair y = c.Output("y", [m, n], accumulate, Math.Sqrt(k + r)), dx = c.Output("dx", [m, k], accumulate, Math.Sqrt(n + r));
        c.Run(s =>
        {
            s.Backend.Linear(s[x], s[w], null, s.LowRank(left, b), s[y], accumulate);
            s.Backend.LinearBackwardInput(s[dy], s[w], s.LowRank(left, a), s[dx], accumulate);
        });
    }

    [Property(MaxTest = 6)]
    public void Large_matmul(MatMulKind kind, bool accumulate, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int n, int k) = (TileSize(c), TileSize(c), TileSize(c));
        Pair a = c.Input("a", shape: kind == MatMulKind.TN ? [k, m] : [m, k]);
        Pair b = c.Input("b", shape: kind == MatMulKind.NT ? [n, k] : [k, n]);
        Pair y = c.Output("c", [m, n], accumulate, Math.Sqrt(k), parameter: kind == MatMulKind.TN);
        c.Run(s => s.Backend.MatMul(kind, s[a], s[b], s[y], 0.5f, accumulate));
    }

    [Property(MaxTest = 4)]
    public void Large_attention(bool causal, bool windowed, bool capped, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        HeadShape heads = new(4, 2, c.Random.GetItems([32, 64, 128], 1)[0]);
        int[] lengths = [c.Random.Next(1, 90), c.Random.Next(128, 200), c.Random.Next(1, 70)];
        AttentionLayout layout = AttentionLayout.Packed(lengths, causal, windowed ? 50 : 0);
        int rows = layout.Queries, columns = heads.Heads * heads.HeadSize, keyColumns = heads.KeyValueHeads * heads.HeadSize;
        (Pair q, Pair k, Pair v) = QueryKeyValue(c, layout, heads);
        (float[] output, float[] denominators) = ReferenceForward(q, k, v, layout, heads, capped);
        Pair o = c.Input("o", output, rows, columns), lse = c.Parameter("lse", denominators, rows, heads.Heads), dO = c.Input("do", rows, columns);
        double tolerance = AttentionTolerance(Backend.ComputeType);
        Pair o2 = c.Output("output", [rows, columns], tolerance: tolerance), lse2 = c.Output("log-sum-exp", [rows, heads.Heads], parameter: true);
        Pair dq = c.Output("dq", [rows, columns], tolerance: tolerance);
        Pair dk = c.Output("dk", [rows, keyColumns], tolerance: tolerance), dv = c.Output("dv", [rows, keyColumns], tolerance: tolerance);
        c.Run(s =>
        {
            s.Backend.Attention(Operands(s[q], s[k], s[v], s[o2], s[lse2], layout, heads, capped));
            s.Backend.AttentionBackward(Operands(s[q], s[k], s[v], s[o], s[lse], layout, heads, capped), s[dO], s[dq], s[dk], s[dv]);
        });
    }

    [Property(MaxTest = 4)]
    public void Large_norms(bool tall, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int k) = Matrix(c, tall);
        Pair x = c.Input("x", m, k), w = c.Parameter("w", k), b = c.Parameter("b", k), dy = c.Input("dy", m, k);
        (float[] means, float[] reciprocals) = RowStatistics(c.Values(x), m, k, 1e-5, centre: true);
        (_, float[] rootMeans) = RowStatistics(c.Values(x), m, k, 1e-5, centre: false);
        Pair mean = c.Parameter("mean", means, m), rstd = c.Parameter("rstd", reciprocals, m), rms = c.Parameter("rms", rootMeans, m);
        Pair y1 = c.Output("rms y", [m, k]), y2 = c.Output("layer y", [m, k]), dx1 = c.Output("rms dx", [m, k], floor: 2), dx2 = c.Output("layer dx", [m, k], floor: 2);
        Pair s1 = c.Output("rms rstd", [m], parameter: true), s2 = c.Output("layer mean", [m], parameter: true), s3 = c.Output("layer rstd", [m], parameter: true);
        double floor = Math.Sqrt(m);
        Pair dw1 = c.Output("rms dw", [k], true, floor, parameter: true), dw2 = c.Output("layer dw", [k], true, floor, parameter: true);
        Pair db = c.Output("layer db", [k], true, floor, parameter: true);
        c.Run(s =>
        {
            s.Backend.RmsNorm(s[x], s[w], 1e-5f, 1, s[y1], s[s1]);
            s.Backend.LayerNorm(s[x], s[w], s[b], 1e-5f, s[y2], s[s2], s[s3]);
            s.Backend.RmsNormBackward(s[dy], s[x], s[w], 1, s[rms], s[dx1], false, s[dw1]);
            s.Backend.LayerNormBackward(s[dy], s[x], s[w], s[mean], s[rstd], s[dx2], false, s[dw2], s[db]);
        });
    }

    [Property(MaxTest = 4)]
    public void Large_pointwise(Activation kind, bool tall, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int n) = Matrix(c, tall);
        DropoutKey key = new((ulong)c.Random.NextInt64(), 3);
        Pair a = c.Input("a", m, n), b = c.Input("b", m, n), row = c.Parameter("row", n), column = c.Parameter("column", m);
        Pair[] y = Enumerable.Range(0, 12).Select(i => c.Output($"y{i}", [m, n], accumulate: i is 1 or 5 or 6 or 9)).ToArray();
        c.Run(s =>
        {
            s.Backend.Activate(kind, s[a], s[y[0]]);
            s.Backend.ActivateBackward(kind, s[a], s[b], s[y[1]], accumulate: true);
            s.Backend.GatedActivate(kind, s[a], s[b], s[y[2]]);
            s.Backend.GatedActivateBackward(kind, s[b], s[a], s[b], s[y[3]], s[y[4]]);
            s.Backend.Scale(s[a], 0.3f, s[y[5]], accumulate: true);
            s.Backend.ScaleColumns(s[a], s[row], s[y[6]], accumulate: true);
            s.Backend.ScaleRows(s[a], s[column], s[y[7]]);
            s.Backend.AddRow(s[a], s[row], s[y[8]]);
            s.Backend.Dropout(s[a], 0.1f, key, 12345, s[y[9]], accumulate: true);
            s.Backend.Add(s[a], s[b], s[y[10]]);
            s.Backend.SoftCap(s[a], 2, s[y[11]]);
        });
    }

    [Property(MaxTest = 4)]
    public void Large_reductions(bool tall, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int n) = Matrix(c, tall);
        Pair a = c.Input("a", m, n), b = c.Input("b", m, n), g = c.Parameter("g", m, n), loss = c.Parameter("loss", 1);
        Pair sum = c.Output("sum", [1], floor: Math.Sqrt((double)m * n), parameter: true), stats = c.Output("stats", [3], parameter: true);
        Pair columns = c.Output("columns", [n], true, Math.Sqrt(m), parameter: true), products = c.Output("products", [n], true, Math.Sqrt(m), parameter: true);
        c.Run(s =>
        {
            s.Backend.Sum(s[a], s[sum]);
            s.Backend.ColumnSum(s[a], null, 1, s[columns], true);
            s.Backend.ColumnSum(s[a], s[b], 1, s[products], true);
            s.Backend.GradientNorm([s[g], s[g]], 1, s[loss], s[stats]);
        });
    }

    [Property(MaxTest = 3)]
    public void Large_rows(bool tall, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        (int m, int n) = Matrix(c, tall);
        int count = m / 2 + 1;
        Pair x = c.Input("x", m, n), part = c.Input("part", count, n);
        Pair numbers = c.Index("rows", RowNumbers(c, count, m));
        Pair gathered = c.Output("gathered", [count, n], tolerance: 0), wide = c.Overwrite(c.Input("wide", m, n + 3), tolerance: 0);
        Pair scattered = c.Output("scattered", [m, n], accumulate: true, floor: 4);
        c.Run(s =>
        {
            s.Backend.GatherRows(s[x], s[numbers], s[gathered]);
            s.Backend.ScatterAddRows(s[part], s[numbers], s[scattered]);
            s.Backend.CopyColumns(s[x], 0, s[wide], 2, n);
        });
    }

    [Property(MaxTest = 3)]
    public void Large_rope(DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        int m = c.Random.Next(300, 700), length = 2000;
        float[] angles = c.Normal(length * 32L);
        Pair x = c.Input("x", m, 512), y = c.Output("y", [m, 512]);
        Pair cos = c.Parameter("cos", Array.ConvertAll(angles, MathF.Cos), length, 32), sin = c.Parameter("sin", Array.ConvertAll(angles, MathF.Sin), length, 32);
        Pair positions = c.Index("positions", Enumerable.Range(0, m).Select(_ => c.Random.Next(length)).ToArray());
        c.Run(s => s.Backend.Rope(s[x], s[cos], s[sin], s[positions], 64, false, s[y]));
    }

    [Property(MaxTest = 2)]
    public void Large_cross_entropy(bool capped, DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        int m = c.Random.Next(30, 60), v = c.Random.Next(9000, 12000);
        Pair logits = c.Overwrite(c.Input("logits", c.Normal((long)m * v, 3), m, v), 1e-3);
        Pair targets = c.Index("targets", Enumerable.Range(0, m).Select(_ => c.Random.Next(-1, v)).ToArray());
        Pair loss = c.Output("loss", [m], parameter: true);
        c.Run(s => s.Backend.CrossEntropy(s[logits], s[targets], 0.01f, capped ? 30 : 0, s[loss], s[logits]));
    }

    [Property(MaxTest = 2)]
    public void Large_adamw(DataSeed seed)
    {
        if (!LargeCases) return;
        using Case c = Start(seed);
        int n = c.Random.Next(200_000, 400_000);
        Pair p = c.Overwrite(c.Parameter("p", n)), g = c.Parameter("g", n), m = c.Overwrite(c.Parameter("m", c.Normal(n, 0.1), n), 0.1);
        Pair v = c.Overwrite(c.Parameter("v", Array.ConvertAll(c.Normal(n, 0.1), x => x * x), n), 0.01), stats = c.Parameter("stats", [1, 0.5f, 1], 3);
        c.Run(s => s.Backend.AdamW([new AdamWTensor(s[p], s[g], s[m], s[v], 0.01f, 0.1f)], new AdamWSettings(0.9f, 0.999f, 1e-8f, 7), s[stats]));
    }

    private static int TileSize(Case c) => c.Random.GetItems([64, 96, 128, 129, 160, 200, 255, 256, 257, 320], 1)[0];

    /// <summary>Some 200 to 400 thousand elements, with many rows or with long ones.</summary>
    private static (int Rows, int Columns) Matrix(Case c, bool tall) =>
        tall ? (c.Random.Next(3000, 5000), c.Random.Next(50, 90)) : (c.Random.Next(30, 50), c.Random.Next(5000, 9000));
}
