using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void AppendKeyValues(Size m, HeadShape heads, bool turned, bool partial, DataSeed seed)
    {
        using Case c = Start(seed);
        int size = heads.HeadSize, half = partial ? c.Random.Next(size / 2 + 1) : size / 2, positions = m + 3, width = heads.KeyValueHeads * size, rows = m + 5;
        Pair? cos = turned ? c.Parameter("cos", positions, half) : null, sin = turned ? c.Parameter("sin", positions, half) : null;
        Pair place = c.Index("positions", [.. Enumerable.Range(0, m).Select(_ => c.Random.Next(positions))]);
        int[] order = [.. Enumerable.Range(0, rows)];
        c.Random.Shuffle(order);
        Pair target = c.Index("rows", order[..(int)m]);
        Pair q = c.Input("q", m, heads.Heads * size), k = c.Input("k", m, width), v = c.Input("v", m, width);
        Pair keys = c.Input("keys", new float[rows * width], rows, width), values = c.Input("values", new float[rows * width], rows, width);
        foreach (Pair written in (Pair[])[q, k, keys, values]) c.Overwrite(written);
        c.Run(s => s.Backend.AppendKeyValues(new KeyValueAppend(
            s[q], s[k], s[v], s.Optional(cos), s.Optional(sin), s[place], size, s[target], s[keys], s[values])));
    }

    [Property]
    public void Rope(Size m, HeadShape heads, bool inverse, bool alias, bool partial, DataSeed seed)
    {
        using Case c = Start(seed);
        int half = partial ? c.Random.Next(heads.HeadSize / 2 + 1) : heads.HeadSize / 2;
        int length = c.Random.Next(1, 50);
        float[] angles = c.Normal((long)length * half);
        Pair x = c.Input("x", m, heads.Heads * heads.HeadSize);
        Pair cos = c.Parameter("cos", Array.ConvertAll(angles, MathF.Cos), length, half);
        Pair sin = c.Parameter("sin", Array.ConvertAll(angles, MathF.Sin), length, half);
        Pair positions = c.Index("positions", Enumerable.Range(0, m).Select(_ => c.Random.Next(length)).ToArray());
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, heads.Heads * heads.HeadSize]);
        c.Run(s => s.Backend.Rope(s[x], s[cos], s[sin], s[positions], heads.HeadSize, inverse, s[y]));
    }

    [Property]
    public void Attention(LayoutKind kind, Size rows, HeadShape heads, bool capped, DataSeed seed)
    {
        using Case c = Start(seed);
        AttentionLayout layout = Layouts.Random(kind, rows, c.Random);
        (Pair q, Pair k, Pair v) = QueryKeyValue(c, layout, heads);
        Pair o = c.Output("o", [layout.Queries, heads.Heads * heads.HeadSize], tolerance: AttentionTolerance(Backend.ComputeType));
        Pair logSumExp = c.Output("log-sum-exp", [layout.Queries, heads.Heads], parameter: true);
        c.Run(s => s.Backend.Attention(Operands(s[q], s[k], s[v], s[o], s[logSumExp], layout, heads, capped)));
    }

    [Property]
    public void AttentionBackward(LayoutKind kind, Size rows, HeadShape heads, bool capped, DataSeed seed)
    {
        using Case c = Start(seed);
        AttentionLayout layout = Layouts.Random(kind, rows, c.Random);
        (Pair q, Pair k, Pair v) = QueryKeyValue(c, layout, heads);
        (float[] output, float[] denominators) = ReferenceForward(q, k, v, layout, heads, capped);
        Pair o = c.Input("o", output, layout.Queries, heads.Heads * heads.HeadSize);
        Pair logSumExp = c.Parameter("log-sum-exp", denominators, layout.Queries, heads.Heads);
        Pair dO = c.Input("do", layout.Queries, heads.Heads * heads.HeadSize);
        double tolerance = AttentionTolerance(Backend.ComputeType);
        int keyColumns = heads.KeyValueHeads * heads.HeadSize;
        Pair dq = c.Output("dq", [layout.Queries, heads.Heads * heads.HeadSize], tolerance: tolerance);
        Pair dk = c.Output("dk", [layout.Keys, keyColumns], tolerance: tolerance);
        Pair dv = c.Output("dv", [layout.Keys, keyColumns], tolerance: tolerance);
        c.Run(s => s.Backend.AttentionBackward(
            Operands(s[q], s[k], s[v], s[o], s[logSumExp], layout, heads, capped), s[dO], s[dq], s[dk], s[dv]));
    }

    [Property]
    public void Attention_with_scores_that_overflow_a_plain_exponential(Size rows, DataSeed seed)
    {
        using Case c = Start(seed);
        AttentionLayout layout = Layouts.Random(LayoutKind.Causal, rows, c.Random);
        HeadShape heads = new(1, 1, 8);
        // Every score is ±1024 exactly: the sum of exponentials overflows or vanishes unless the maximum is taken out.
        Pair q = c.Input("q", Signs(c, layout.Queries, 8, 32), layout.Queries, 8);
        Pair k = c.Input("k", Signs(c, layout.Keys, 8, 32), layout.Keys, 8);
        Pair v = c.Input("v", layout.Keys, 8);
        Pair o = c.Output("o", [layout.Queries, 8], tolerance: AttentionTolerance(Backend.ComputeType));
        Pair logSumExp = c.Output("log-sum-exp", [layout.Queries, 1], parameter: true);
        c.Run(s => s.Backend.Attention(new AttentionOperands(s[q], s[k], s[v], s[o], s[logSumExp], layout, 1, 1, 0.125f, 0)));

        // A row of one sign throughout, so that a product of two rows is ±8·32².
        static float[] Signs(Case c, int rows, int columns, float magnitude) =>
            Enumerable.Range(0, rows).SelectMany(_ => Enumerable.Repeat(c.Random.Next(2) == 0 ? magnitude : -magnitude, columns)).ToArray();
    }

    private static (Pair Query, Pair Key, Pair Value) QueryKeyValue(Case c, AttentionLayout layout, HeadShape heads)
    {
        int keyColumns = heads.KeyValueHeads * heads.HeadSize;
        return (c.Input("q", layout.Queries, heads.Heads * heads.HeadSize), c.Input("k", layout.Keys, keyColumns), c.Input("v", layout.Keys, keyColumns));
    }

    private static AttentionOperands Operands(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, AttentionLayout layout, HeadShape heads, bool capped) =>
        new(q, k, v, o, logSumExp, layout, heads.Heads, heads.KeyValueHeads, 1 / MathF.Sqrt(heads.HeadSize), capped ? 1.5f : 0);

    private (float[] Output, float[] LogSumExp) ReferenceForward(Pair q, Pair k, Pair v, AttentionLayout layout, HeadShape heads, bool capped)
    {
        Backend reference = q.Expected.Backend;
        Tensor o = reference.Create(q.Expected.DType, q.Expected.GetShape());
        Tensor logSumExp = reference.Create(reference.ParameterType, layout.Queries, heads.Heads);
        reference.Attention(Operands(q.Expected, k.Expected, v.Expected, o, logSumExp, layout, heads, capped));
        (float[], float[]) result = (reference.Download(o), reference.Download(logSumExp));
        reference.Free(o);
        reference.Free(logSumExp);
        return result;
    }
}
