using FsCheck.Xunit;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void CrossEntropy(Size m, Size size, bool capped, bool gradient, bool alias, bool large, DataSeed seed)
    {
        using Case c = Start(seed);
        int rows = large ? Math.Min(9, (int)m) : m;
        int v = large ? c.Random.Next(1000, 5000) : Math.Max(1, (int)size);
        Pair logits = c.Input("logits", c.Normal((long)rows * v, 3), rows, v);
        // −100 is the label of the token that is not trained.
        Pair targets = c.Index("targets", Enumerable.Range(0, rows).Select(_ => c.Random.Next(4) == 0 ? -100 : c.Random.Next(v)).ToArray());
        float scale = 1f / (1 + rows);
        Pair loss = c.Output("loss", [rows], parameter: true);
        Pair? dLogits = !gradient ? null : alias ? c.Overwrite(logits, scale) : c.Output("dLogits", [rows, v], floor: scale);
        c.Run(s => s.Backend.CrossEntropy(s[logits], s[targets], scale, capped ? 5 : 0, s[loss], s.Optional(dLogits)));
    }

    [Property]
    public void CrossEntropy_of_far_logits(Size m, Size size, DataSeed seed)
    {
        // Logits of ±1000 overflow a plain exponential; the loss is then the distance to the largest.
        using Case c = Start(seed);
        int v = Math.Max(1, (int)size);
        float[] values = Array.ConvertAll(c.Normal((long)m * v), x => x < 0 ? -1000f : 1000f);
        Pair logits = c.Input("logits", values, m, v);
        Pair targets = c.Index("targets", Enumerable.Range(0, m).Select(_ => c.Random.Next(v)).ToArray());
        Pair loss = c.Output("loss", [m], parameter: true), dLogits = c.Output("dLogits", [m, v]);
        c.Run(s => s.Backend.CrossEntropy(s[logits], s[targets], 1, 0, s[loss], s[dLogits]));
    }

    [Property]
    public void Sum(Size m, Size n, bool accumulate, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Typed("x", AnyType(c), c.Normal((long)m * n), m, n);
        Pair sum = c.Output("sum", [1], accumulate, Math.Sqrt(m * n + 1), parameter: true);
        c.Run(s => s.Backend.Sum(s[x], s[sum], accumulate));
    }
}
