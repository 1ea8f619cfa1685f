using FsCheck.Xunit;
using LoraNet.Tensors.Reference;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>Laws that the operations of the contract obey, stated without their formulas.</summary>
[SeededProperties(Arbitrary = [typeof(Arbitraries)], MaxTest = 50)]
public class ContractPropertyTests
{
    private const double Exactness = 1e-12;

    [Property]
    public void Attention_over_packed_segments_is_attention_over_each(bool causal, bool windowed, HeadShape heads, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        int d = Math.Min(8, heads.HeadSize), columns = heads.Heads * d, keyColumns = heads.KeyValueHeads * d;
        int window = windowed ? 3 : 0;
        int[] lengths = [4, 0, 1, 7];
        Tensor q = g.Normal(12, columns), k = g.Normal(12, keyColumns), v = g.Normal(12, keyColumns), dO = g.Normal(12, columns);
        List<double> parts = [];
        int first = 0;
        foreach (int length in lengths)
        {
            parts.AddRange(ForwardAndBackward(
                Rows(q, first, length), Rows(k, first, length), Rows(v, first, length), Rows(dO, first, length), [length], 0));
            first += length;
        }
        // Both lists hold o, lse, dq, dk, dv of one segment after the other.
        List<double> whole = [];
        for (int s = 0; s < lengths.Length; s++) whole.AddRange(ForwardAndBackward(q, k, v, dO, lengths, s, onlySegment: true));
        AssertClose(parts, whole);

        Tensor Rows(Tensor x, int start, int count) => g.Values(x.Span<double>().Slice(start * x.Columns, count * x.Columns), count, x.Columns);

        List<double> ForwardAndBackward(Tensor q, Tensor k, Tensor v, Tensor dO, int[] segments, int segment, bool onlySegment = false)
        {
            int rows = q.Rows;
            AttentionLayout layout = AttentionLayout.Packed(segments, causal, window);
            Tensor o = g.Empty(rows, columns), lse = g.Empty(rows, heads.Heads);
            AttentionOperands operands = new(q, k, v, o, lse, layout, heads.Heads, heads.KeyValueHeads, 0.5f, 0);
            g.Backend.Attention(operands);
            Tensor dq = g.Empty(rows, columns), dk = g.Empty(rows, keyColumns), dv = g.Empty(rows, keyColumns);
            g.Backend.AttentionBackward(operands, dO, dq, dk, dv);
            int start = onlySegment ? segments[..segment].Sum() : 0, count = onlySegment ? segments[segment] : rows;
            return new[] { o, lse, dq, dk, dv }
                .SelectMany(t => t.Span<double>().Slice(start * t.Columns, count * t.Columns).ToArray()).ToList();
        }
    }

    [Property]
    public void Attention_averages_values_with_weights_that_sum_to_one(LayoutKind kind, Size rows, bool capped, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        AttentionLayout layout = Layouts.Random(kind, rows % 20, g.Random);
        Tensor q = g.Normal(layout.Queries, 6), k = g.Normal(layout.Keys, 6), v = g.Empty(layout.Keys, 6);
        v.Span<double>().Fill(2.5);
        Tensor o = g.Empty(layout.Queries, 6), lse = g.Empty(layout.Queries, 2);
        g.Backend.Attention(new AttentionOperands(q, k, v, o, lse, layout, 2, 2, 1, capped ? 1 : 0));
        for (int i = 0; i < layout.Queries; i++)
        {
            bool blind = layout.KeyStart[i] >= layout.KeyEnd[i];
            for (int j = 0; j < 6; j++) Assert.Equal(blind ? 0 : 2.5, o.Span<double>()[i * 6 + j], Exactness);
            for (int h = 0; h < 2; h++) Assert.Equal(blind, double.IsNegativeInfinity(lse.Span<double>()[i * 2 + h]));
        }
    }

    [Property]
    public void Rope_is_undone_by_its_inverse_and_keeps_lengths(Size rows, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        int m = rows;
        (Tensor cos, Tensor sin) = RopeTables(g, 30, 3);
        Tensor positions = g.Index(Enumerable.Range(0, m).Select(_ => g.Random.Next(30)).ToArray());
        Tensor x = g.Normal(m, 16), y = g.Empty(m, 16), back = g.Empty(m, 16);
        g.Backend.Rope(x, cos, sin, positions, 8, inverse: false, y);
        g.Backend.Rope(y, cos, sin, positions, 8, inverse: true, back);
        AssertClose(x.Span<double>().ToArray(), back.Span<double>().ToArray());
        Assert.Equal(Gradients.Dot(x, x), Gradients.Dot(y, y), 1e-9);
        for (int i = 0; i < m; i++) // The last two of each head of eight are not rotated.
            Assert.Equal(x.Span<double>().Slice(i * 16 + 6, 2).ToArray(), y.Span<double>().Slice(i * 16 + 6, 2).ToArray());
    }

    [Property]
    public void Rope_scores_depend_on_the_distance_only(DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (Tensor cos, Tensor sin) = RopeTables(g, 40, 4);
        Tensor q = g.Normal(1, 8), k = g.Normal(1, 8), rotatedQ = g.Empty(1, 8), rotatedK = g.Empty(1, 8);
        int distance = g.Random.Next(20), shift = g.Random.Next(20);
        Assert.Equal(Score(distance, 0), Score(distance + shift, shift), 1e-10);

        double Score(int queryPosition, int keyPosition)
        {
            g.Backend.Rope(q, cos, sin, g.Index(queryPosition), 8, false, rotatedQ);
            g.Backend.Rope(k, cos, sin, g.Index(keyPosition), 8, false, rotatedK);
            return Gradients.Dot(rotatedQ, rotatedK);
        }
    }

    [Property]
    public void CrossEntropy_gradients_of_a_row_sum_to_zero(Size rows, Size size, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        int m = rows, classes = 1 + size;
        Tensor logits = g.Normal(m, classes), loss = g.Empty(m), dLogits = g.Empty(m, classes);
        int[] targets = Enumerable.Range(0, m).Select(_ => g.Random.Next(-1, classes)).ToArray();
        g.Backend.CrossEntropy(logits, g.Index(targets), 1, 0, loss, dLogits);
        for (int i = 0; i < m; i++)
        {
            double[] row = dLogits.Span<double>().Slice(i * classes, classes).ToArray();
            Assert.Equal(0, row.Sum(), Exactness);
            if (targets[i] < 0) Assert.All(row, gradient => Assert.Equal(0, gradient));
            // The target's probability is e^(−loss).
            else Assert.Equal(Math.Exp(-loss.Span<double>()[i]) - 1, row[targets[i]], Exactness);
        }
    }

    [Property]
    public void CrossEntropy_of_equal_logits_is_the_logarithm_of_their_number(Size size, int level)
    {
        using Gradients g = new(1);
        int classes = 1 + size;
        Tensor logits = g.Empty(1, classes), loss = g.Empty(1);
        logits.Span<double>().Fill(level);
        g.Backend.CrossEntropy(logits, g.Index(classes / 2), 1, 0, loss, null);
        Assert.Equal(Math.Log(classes), loss.Span<double>()[0], Exactness * (1 + Math.Abs((double)level)));
    }

    [Property]
    public void DoraNorm_is_the_norm_of_the_merged_rows(Size n, Size k, Size rank, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns, int r) = (n, 1 + k, rank % 9);
        const float Scaling = 0.75f;
        Weight w = g.Weight(rows, columns);
        Tensor a = g.Normal(r, columns), b = g.Normal(rows, r);
        Tensor w2 = g.Empty(rows), c = g.Empty(r, rows), gram = g.Empty(r, r), norm = g.Empty(rows);
        g.Backend.RowSquaredNorms(w, w2);
        g.Backend.Linear(a, w, null, null, c);
        g.Backend.MatMul(MatMulKind.NT, a, a, gram);
        g.Backend.DoraNorm(w2, c, b, gram, Scaling, norm);

        // The explicit way: row by row W + s·B·A, from an identity through the layer.
        Tensor identity = g.Zeros(columns, columns), merged = g.Empty(columns, rows), left = g.Empty(columns, r);
        for (int i = 0; i < columns; i++) identity.Span<double>()[i * columns + i] = 1;
        g.Backend.MatMul(MatMulKind.NT, identity, a, left, Scaling);
        g.Backend.Linear(identity, w, null, new LowRank(left, b), merged);
        for (int row = 0; row < rows; row++)
        {
            double squares = 0;
            for (int i = 0; i < columns; i++) squares += merged.Span<double>()[i * rows + row] * merged.Span<double>()[i * rows + row];
            Assert.Equal(Math.Sqrt(squares), norm.Span<double>()[row], 1e-9 * (1 + Math.Sqrt(squares)));
        }
    }

    [Property]
    public void Accumulating_twice_adds_twice(Size rows, Size size, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int m, int n, int k) = (rows % 9, size % 9, 3);
        Tensor x = g.Normal(m, k), dy = g.Normal(m, n), v = g.Normal(n), gamma = g.Normal(n), rstd = g.Normal(m);
        Tensor b = g.Normal(k, n);
        Weight w = g.Weight(n, k);
        Check([m, n], (y, accumulate) => g.Backend.Linear(x, w, v, null, y, accumulate));
        Check([m, k], (y, accumulate) => g.Backend.LinearBackwardInput(dy, w, null, y, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.MatMul(MatMulKind.NN, x, b, y, 0.3f, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.RmsNormBackward(dy, dy, gamma, 0, rstd, y, accumulate, null));
        Check([m, n], (y, accumulate) => g.Backend.ActivateBackward(Activation.Silu, dy, dy, y, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.Scale(dy, 0.3f, y, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.ScaleColumns(dy, v, y, accumulate));
        Check([n], (y, accumulate) => g.Backend.ColumnSum(dy, null, 0.3f, y, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.CopyColumns(dy, 0, y, 0, n, accumulate));
        Check([m, n], (y, accumulate) => g.Backend.Dropout(dy, 0.5f, new DropoutKey(5, 6), 7, y, accumulate));
        Check([1], (y, accumulate) => g.Backend.Sum(dy, y, accumulate));

        void Check(int[] shape, Action<Tensor, bool> operation)
        {
            Tensor once = g.Empty(shape), sum = g.Normal(shape);
            double[] start = sum.Span<double>().ToArray();
            operation(once, false);
            operation(sum, true);
            operation(sum, true);
            AssertClose(start.Select((s, i) => s + 2 * once.Span<double>()[i]).ToArray(), sum.Span<double>().ToArray());
        }
    }

    [Property]
    public void Scattering_is_the_adjoint_of_gathering(Size rows, Size columns, Size count, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        Tensor x = g.Normal(1 + rows, columns), u = g.Normal(count, columns), gathered = g.Empty(count, columns), scattered = g.Zeros(1 + rows, columns);
        Tensor numbers = g.Index(Enumerable.Range(0, count).Select(_ => g.Random.Next(-1, 1 + rows)).ToArray());
        g.Backend.GatherRows(x, numbers, gathered);
        g.Backend.ScatterAddRows(u, numbers, scattered);
        Assert.Equal(Gradients.Dot(gathered, u), Gradients.Dot(x, scattered), 1e-9);
    }

    private static (Tensor Cos, Tensor Sin) RopeTables(Gradients g, int length, int half)
    {
        Tensor cos = g.Empty(length, half), sin = g.Empty(length, half);
        for (int p = 0; p < length; p++)
        {
            for (int i = 0; i < half; i++)
            {
                double angle = p * Math.Pow(10000, -(double)i / half);
                (sin.Span<double>()[p * half + i], cos.Span<double>()[p * half + i]) = Math.SinCos(angle);
            }
        }
        return (cos, sin);
    }

    private static void AssertClose(IReadOnlyList<double> expected, IReadOnlyList<double> actual)
    {
        Assert.Equal(expected.Count, actual.Count);
        for (int i = 0; i < expected.Count; i++)
            Assert.True(expected[i].Equals(actual[i]) || Math.Abs(expected[i] - actual[i]) <= Exactness * (1 + Math.Abs(expected[i])), $"[{i}] is {actual[i]}, not {expected[i]}.");
    }
}
