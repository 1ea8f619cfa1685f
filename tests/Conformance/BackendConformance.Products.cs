using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void Linear(Size m, Size n, Size k, Size rank, bool bias, bool lowRank, bool accumulate, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        int r = Math.Min(32, (int)rank);
        Pair x = c.Input("x", m, k);
        WeightPair w = c.Weight(stored, n, k);
        Pair? b = bias ? c.Typed("bias", AnyType(c), c.Normal(n), n) : null;
        Pair? left = lowRank ? c.Input("left", m, r) : null;
        Pair? right = lowRank ? c.Typed("right", AnyType(c), c.Normal((long)n * r), n, r) : null;
        Pair y = c.Output("y", [m, n], accumulate, Math.Sqrt(k + r + 1));
        c.Run(s => s.Backend.Linear(s[x], s[w], s.Optional(b), s.LowRank(left, right), s[y], accumulate));
    }

    [Property]
    public void LinearTogether(Size m, Size n, Size k, bool few, bool three, bool bias, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        // One and two rows, in whole units of 16 bytes, are what generation asks for.
        int rows = few ? 1 + c.Random.Next(2) : m, depth = few ? 8 * k : k;
        Pair x = c.Input("x", rows, depth);
        (WeightPair W, Pair? Bias, Pair Y)[] parts = new (WeightPair, Pair?, Pair)[three ? 3 : 2];
        for (int i = 0; i < parts.Length; i++)
        {
            int width = Math.Max(0, n - 3 * i);
            parts[i] = (c.Weight(stored, width, depth), bias ? c.Typed($"bias {i}", AnyType(c), c.Normal(width), width) : null, c.Output($"y {i}", [rows, width], floor: Math.Sqrt(depth + 1)));
        }
        c.Run(s => s.Backend.LinearTogether(s[x], [.. parts.Select(p => new LinearPart(s[p.W], s.Optional(p.Bias), s[p.Y]))]));
    }

    [Property]
    public void LinearBackwardInput(Size m, Size n, Size k, Size rank, bool lowRank, bool accumulate, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        int r = Math.Min(32, (int)rank);
        Pair dy = c.Input("dy", m, n);
        WeightPair w = c.Weight(stored, n, k);
        Pair? left = lowRank ? c.Input("left", m, r) : null;
        Pair? right = lowRank ? c.Typed("right", AnyType(c), c.Normal((long)k * r), r, k) : null;
        Pair dx = c.Output("dx", [m, k], accumulate, Math.Sqrt(n + r + 1));
        c.Run(s => s.Backend.LinearBackwardInput(s[dy], s[w], s.LowRank(left, right), s[dx], accumulate));
    }

    [Property]
    public void A_weight_may_be_prepared_twice_and_again_after_a_drop(Size m, Size n, Size k, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        Pair x = c.Input("x", m, k);
        WeightPair w = c.Weight(stored, n, k);
        Pair y = c.Output("y", [m, n], floor: Math.Sqrt(k + 1));
        c.Run(s =>
        {
            s.Backend.Prepare(s[w]);
            s.Backend.Drop(s[w]);
            s.Backend.Drop(s[w]);
            s.Backend.Prepare(s[w]);
            s.Backend.Prepare(s[w]);
            s.Backend.Linear(s[x], s[w], null, null, s[y]);
        });
    }

    [Property]
    public void MatMul(MatMulKind kind, Size m, Size n, Size k, bool accumulate, bool bias, DataSeed seed)
    {
        using Case c = Start(seed);
        float alpha = c.Random.Next(2) == 0 ? 1 : -0.37f;
        Pair a = c.Typed("a", AnyType(c), c.Normal((long)m * k), kind == MatMulKind.TN ? [k, m] : [m, k]);
        Pair b = c.Typed("b", AnyType(c), c.Normal((long)n * k), kind == MatMulKind.NT ? [n, k] : [k, n]);
        Pair? v = bias && !accumulate ? c.Parameter("bias", n) : null;
        Pair y = c.OutputOf("c", AnyType(c), [m, n], accumulate, Math.Sqrt(k + 1));
        c.Run(s => s.Backend.MatMul(kind, s[a], s[b], s[y], alpha, accumulate, s.Optional(v)));
    }

    [Property]
    public void MatMul_of_tall_matrices(MatMulKind kind, Size n, Size k, DataSeed seed)
    {
        // Many rows and a small rank: the shapes of LoRA's own products, where kernels split the long dimension.
        using Case c = Start(seed);
        (int small, int other, int tall) = (Math.Min(20, (int)n), Math.Min(20, (int)k), c.Random.Next(200, 1100));
        (int rows, int columns, int inner) = kind == MatMulKind.TN ? (small, other, tall) : (tall, small, other);
        Pair a = c.Input("a", shape: kind == MatMulKind.TN ? [inner, rows] : [rows, inner]);
        Pair b = c.Input("b", shape: kind == MatMulKind.NT ? [columns, inner] : [inner, columns]);
        Pair y = c.Output("c", [rows, columns], floor: Math.Sqrt(inner + 1), parameter: kind == MatMulKind.TN);
        c.Run(s => s.Backend.MatMul(kind, s[a], s[b], s[y]));
    }

    [Property]
    public void Embedding(Size vocabulary, Size columns, Size count, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        int n = Math.Max(1, (int)vocabulary);
        WeightPair w = c.Weight(stored, n, columns);
        Pair ids = c.Index("ids", Enumerable.Range(0, count).Select(_ => c.Random.Next(n)).ToArray());
        float scale = c.Random.Next(2) == 0 ? 1 : 5.5f;
        Pair y = c.Output("y", [count, columns]);
        c.Run(s => s.Backend.Embedding(s[w], s[ids], scale, s[y]));
    }

    [Property]
    public void RowSquaredNorms(Size n, Size k, Stored stored, DataSeed seed)
    {
        using Case c = Start(seed);
        WeightPair w = c.Weight(stored, n, k);
        Pair norms = c.Output("norms", [n], parameter: true);
        c.Run(s => s.Backend.RowSquaredNorms(s[w], s[norms]));
    }

    [Property]
    public void DoraNorm(Size n, Size k, Size rank, DataSeed seed)
    {
        using Case c = Start(seed);
        int r = Math.Min(32, (int)rank), inner = Math.Max(1, (int)k);
        float[] w = c.Normal((long)n * inner), a = c.Normal((long)r * inner), b = c.Normal((long)n * r, 0.3);
        Pair w2 = c.Parameter("w2", Gram(w, w, n, n, inner, diagonal: true), n);
        Pair cross = c.Parameter("c", Gram(a, w, r, n, inner), r, n);
        Pair right = c.Parameter("b", b, n, r);
        Pair g = c.Parameter("g", Gram(a, a, r, r, inner), r, r);
        Pair norm = c.Output("norm", [n], floor: Math.Sqrt(inner), parameter: true);
        c.Run(s => s.Backend.DoraNorm(s[w2], s[cross], s[right], s[g], 0.7f, s[norm]));
    }

    /// <summary>The compute or the parameter type: products take any mix of the two.</summary>
    private DType AnyType(Case c) => c.Random.Next(2) == 0 ? Backend.ComputeType : Backend.ParameterType;

    /// <summary>a · bᵀ, or only its diagonal.</summary>
    private static float[] Gram(float[] a, float[] b, int m, int n, int k, bool diagonal = false)
    {
        float[] result = new float[diagonal ? m : m * n];
        for (int i = 0; i < m; i++)
        {
            for (int j = diagonal ? i : 0; j < (diagonal ? i + 1 : n); j++)
            {
                double sum = 0;
                for (int l = 0; l < k; l++) sum += (double)a[i * k + l] * b[j * k + l];
                result[diagonal ? i : i * n + j] = (float)sum;
            }
        }
        return result;
    }
}
