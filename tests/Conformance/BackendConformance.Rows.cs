using FsCheck.Xunit;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void ScaleColumns(Size m, Size n, bool accumulate, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", m, n), v = c.Parameter("v", n);
        Pair y = alias && !accumulate ? c.Overwrite(x) : c.Output("y", [m, n], accumulate);
        c.Run(s => s.Backend.ScaleColumns(s[x], s[v], s[y], accumulate));
    }

    [Property]
    public void ScaleRows(Size m, Size n, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", m, n), v = c.Parameter("v", m);
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, n]);
        c.Run(s => s.Backend.ScaleRows(s[x], s[v], s[y]));
    }

    [Property]
    public void AddRow(Size m, Size n, bool alias, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", m, n), v = c.Parameter("v", n);
        Pair y = alias ? c.Overwrite(x) : c.Output("y", [m, n]);
        c.Run(s => s.Backend.AddRow(s[x], s[v], s[y]));
    }

    [Property]
    public void ColumnSum(Size m, Size n, bool product, bool accumulate, bool tall, DataSeed seed)
    {
        using Case c = Start(seed);
        int rows = tall ? m * 9 : m;
        Pair x = c.Input("x", rows, n);
        Pair? other = product ? c.Input("other", rows, n) : null;
        Pair sum = c.Output("sum", [n], accumulate, Math.Sqrt(rows + 1), parameter: true);
        c.Run(s => s.Backend.ColumnSum(s[x], s.Optional(other), 0.3f, s[sum], accumulate));
    }

    [Property]
    public void CopyColumns(Size m, Size left, Size count, Size right, bool accumulate, DataSeed seed)
    {
        using Case c = Start(seed);
        int other = c.Random.Next(0, 9);
        Pair x = c.Input("x", m, left + count + other);
        // Columns outside the copied ones must keep their values, so y cannot start as NaN throughout.
        float[] values = c.Normal((long)m * (right + count + left));
        int width = right + count + left;
        for (int i = 0; !accumulate && i < m; i++) values.AsSpan(i * width + right, count).Fill(float.NaN);
        Pair y = c.Overwrite(c.Input("y", values, m, width), tolerance: accumulate ? null : 0);
        c.Run(s => s.Backend.CopyColumns(s[x], left, s[y], right, count, accumulate));
    }

    [Property]
    public void GatherRows(Size rows, Size n, Size count, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", rows, n);
        Pair numbers = c.Index("rows", RowNumbers(c, count, rows));
        Pair y = c.Output("y", [count, n], tolerance: 0);
        c.Run(s => s.Backend.GatherRows(s[x], s[numbers], s[y]));
    }

    [Property]
    public void ScatterAddRows(Size rows, Size n, Size count, bool toParameter, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", count, n);
        Pair numbers = c.Index("rows", RowNumbers(c, count, rows));
        Pair y = c.Output("y", [rows, n], accumulate: true, floor: Math.Sqrt(count + 1), parameter: toParameter);
        c.Run(s => s.Backend.ScatterAddRows(s[x], s[numbers], s[y]));
    }

    [Property(MaxTest = 6)]
    public void ScatterAddRows_of_many_rows(bool few, bool toParameter, bool odd, DataSeed seed)
    {
        // Rows named hundreds of times beside rows named once, and more of them than a kernel looks at in one go.
        using Case c = Start(seed);
        int rows = few ? c.Random.Next(1, 5) : c.Random.Next(150, 300), count = c.Random.Next(300, 700), n = odd ? 7 : 20;
        Pair x = c.Input("x", count, n);
        Pair numbers = c.Index("rows", RowNumbers(c, count, rows));
        Pair y = c.Output("y", [rows, n], accumulate: true, floor: Math.Sqrt(few ? count : 4), parameter: toParameter);
        c.Run(s => s.Backend.ScatterAddRows(s[x], s[numbers], s[y]));
    }

    /// <summary>Row numbers with repetitions and −1.</summary>
    private static int[] RowNumbers(Case c, int count, int rows) =>
        Enumerable.Range(0, count).Select(_ => c.Random.Next(5) == 0 ? -1 : c.Random.Next(Math.Max(1, rows)) - (rows == 0 ? 1 : 0)).ToArray();
}
