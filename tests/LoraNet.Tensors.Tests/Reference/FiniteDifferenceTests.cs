using FsCheck.Xunit;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>Every backward operation of the contract against central differences of its forward, in double.</summary>
[SeededProperties(Arbitrary = [typeof(Arbitraries)], MaxTest = 25)]
public class FiniteDifferenceTests
{
    [Property]
    public void Linear_by_input_and_both_lora_factors(Size m, Size n, Size k, Size rank, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int outputs, int inputs, int r) = (Small(m), Small(n), Small(k), Small(rank));
        const float Scaling = 1.5f;
        Tensor x = g.Normal(rows, inputs), a = g.Normal(r, inputs), b = g.Normal(outputs, r), bias = g.Normal(outputs);
        Weight w = g.Weight(outputs, inputs);
        Tensor u = g.Normal(rows, outputs);
        Tensor p = g.Empty(rows, r), y = g.Empty(rows, outputs);

        // y = x·Wᵀ + bias + P·Bᵀ with P = s·x·Aᵀ; Q = s·dy·B, dA = Qᵀ·x, dB = dyᵀ·P, dx = dy·W + Q·A.
        Forward();
        Tensor q = g.Empty(rows, r), dx = g.Empty(rows, inputs), dA = g.Zeros(r, inputs), dB = g.Zeros(outputs, r), dBias = g.Zeros(outputs);
        g.Backend.MatMul(MatMulKind.NN, u, b, q, Scaling);
        g.Backend.MatMul(MatMulKind.TN, q, x, dA, accumulate: true);
        g.Backend.MatMul(MatMulKind.TN, u, p, dB, accumulate: true);
        g.Backend.LinearBackwardInput(u, w, new LowRank(q, a), dx);
        g.Backend.ColumnSum(u, null, 1, dBias, true);

        Gradients.Check("dx", x, dx, Forward);
        Gradients.Check("dA", a, dA, Forward);
        Gradients.Check("dB", b, dB, Forward);
        Gradients.Check("dBias", bias, dBias, Forward);

        double Forward()
        {
            g.Backend.MatMul(MatMulKind.NT, x, a, p, Scaling);
            g.Backend.Linear(x, w, bias, new LowRank(p, b), y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void MatMul_by_both_factors(Size m, Size n, Size k, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns, int inner) = (Small(m), Small(n), Small(k));
        Tensor u = g.Normal(rows, columns), c = g.Empty(rows, columns);
        Check(MatMulKind.NT, g.Normal(rows, inner), g.Normal(columns, inner), (MatMulKind.NN, false), (MatMulKind.TN, false));
        Check(MatMulKind.NN, g.Normal(rows, inner), g.Normal(inner, columns), (MatMulKind.NT, false), (MatMulKind.TN, true));
        Check(MatMulKind.TN, g.Normal(inner, rows), g.Normal(inner, columns), (MatMulKind.NT, true), (MatMulKind.NN, true));

        // The gradient by one factor is a product of u and the other factor, which comes first when the flag is set.
        void Check(MatMulKind kind, Tensor a, Tensor b, (MatMulKind Kind, bool OtherFirst) byA, (MatMulKind Kind, bool OtherFirst) byB)
        {
            Tensor dA = g.Zeros(a.GetShape()), dB = g.Zeros(b.GetShape());
            g.Backend.MatMul(byA.Kind, byA.OtherFirst ? b : u, byA.OtherFirst ? u : b, dA, 2, accumulate: true);
            g.Backend.MatMul(byB.Kind, byB.OtherFirst ? a : u, byB.OtherFirst ? u : a, dB, 2, accumulate: true);
            Gradients.Check($"dA {kind}", a, dA, Forward);
            Gradients.Check($"dB {kind}", b, dB, Forward);

            double Forward()
            {
                g.Backend.MatMul(kind, a, b, c, 2);
                return Gradients.Dot(u, c);
            }
        }
    }

    [Property]
    public void RmsNorm_by_input_and_weight(Size m, Size k, bool gemma, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(k));
        Tensor x = g.Normal(rows, columns), w = g.Normal(columns), u = g.Normal(rows, columns);
        Tensor y = g.Empty(rows, columns), rstd = g.Empty(rows);
        int offset = gemma ? 1 : 0;
        // A large ε keeps third derivatives of order 1 even where a row is near 0.
        Forward();
        Tensor dx = g.Empty(rows, columns), dw = g.Zeros(columns);
        g.Backend.RmsNormBackward(u, x, w, offset, rstd, dx, false, dw);
        Gradients.Check("dx", x, dx, Forward);
        Gradients.Check("dw", w, dw, Forward);

        double Forward()
        {
            g.Backend.RmsNorm(x, w, 0.1f, offset, y, rstd);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void LayerNorm_by_input_weight_and_bias(Size m, Size k, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(k));
        Tensor x = g.Normal(rows, columns), w = g.Normal(columns), b = g.Normal(columns), u = g.Normal(rows, columns);
        Tensor y = g.Empty(rows, columns), mean = g.Empty(rows), rstd = g.Empty(rows);
        Forward();
        Tensor dx = g.Empty(rows, columns), dw = g.Zeros(columns), db = g.Zeros(columns);
        g.Backend.LayerNormBackward(u, x, w, mean, rstd, dx, false, dw, db);
        Gradients.Check("dx", x, dx, Forward);
        Gradients.Check("dw", w, dw, Forward);
        Gradients.Check("db", b, db, Forward);

        double Forward()
        {
            g.Backend.LayerNorm(x, w, b, 0.1f, y, mean, rstd);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void Rope_by_input(Size m, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        int rows = Small(m);
        Tensor x = g.Normal(rows, 2 * 6), u = g.Normal(rows, 2 * 6), y = g.Empty(rows, 2 * 6), dx = g.Empty(rows, 2 * 6);
        Tensor cos = g.Normal(9, 2), sin = g.Normal(9, 2);
        Tensor positions = g.Index(Enumerable.Range(0, rows).Select(_ => g.Random.Next(9)).ToArray());
        g.Backend.Rope(u, cos, sin, positions, 6, inverse: true, dx);
        Gradients.Check("dx", x, dx, Forward);

        double Forward()
        {
            g.Backend.Rope(x, cos, sin, positions, 6, inverse: false, y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void Attention_by_query_key_and_value(LayoutKind kind, Size m, bool capped, bool grouped, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        AttentionLayout layout = Layouts.Random(kind, Small(m), g.Random);
        (int heads, int keyValueHeads, int d) = (2, grouped ? 1 : 2, 1 + g.Random.Next(4));
        Tensor q = g.Normal(layout.Queries, heads * d), k = g.Normal(layout.Keys, keyValueHeads * d), v = g.Normal(layout.Keys, keyValueHeads * d);
        Tensor o = g.Empty(layout.Queries, heads * d), logSumExp = g.Empty(layout.Queries, heads), u = g.Normal(layout.Queries, heads * d);
        AttentionOperands operands = new(q, k, v, o, logSumExp, layout, heads, keyValueHeads, 0.7f, capped ? 1.5f : 0);
        Forward();
        Tensor dq = g.Empty(q.GetShape()), dk = g.Empty(k.GetShape()), dv = g.Empty(v.GetShape());
        g.Backend.AttentionBackward(operands, u, dq, dk, dv);
        Gradients.Check("dq", q, dq, Forward);
        Gradients.Check("dk", k, dk, Forward);
        Gradients.Check("dv", v, dv, Forward);

        double Forward()
        {
            g.Backend.Attention(operands);
            return Gradients.Dot(u, o);
        }
    }

    [Property]
    public void Activations_by_input(Activation kind, Size m, Size n, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(n));
        Tensor x = AwayFromZero(g.Normal(rows, columns)), u = g.Normal(rows, columns);
        Tensor y = g.Empty(rows, columns), dx = g.Empty(rows, columns);
        g.Backend.ActivateBackward(kind, u, x, dx);
        Gradients.Check("dx", x, dx, Forward);

        double Forward()
        {
            g.Backend.Activate(kind, x, y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void Gated_activations_by_gate_and_up(Activation kind, Size m, Size n, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(n));
        Tensor gate = AwayFromZero(g.Normal(rows, columns)), up = g.Normal(rows, columns), u = g.Normal(rows, columns);
        Tensor y = g.Empty(rows, columns), dGate = g.Empty(rows, columns), dUp = g.Empty(rows, columns);
        g.Backend.GatedActivateBackward(kind, u, gate, up, dGate, dUp);
        Gradients.Check("dGate", gate, dGate, Forward);
        Gradients.Check("dUp", up, dUp, Forward);

        double Forward()
        {
            g.Backend.GatedActivate(kind, gate, up, y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void Dropout_is_its_own_backward(Size m, Size n, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(n));
        DropoutKey key = new((ulong)seed.Value, 3);
        Tensor x = g.Normal(rows, columns), u = g.Normal(rows, columns), y = g.Empty(rows, columns), dx = g.Empty(rows, columns);
        g.Backend.Dropout(u, 0.3f, key, 11, dx);
        Gradients.Check("dx", x, dx, Forward);

        double Forward()
        {
            g.Backend.Dropout(x, 0.3f, key, 11, y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void CrossEntropy_by_logits(Size m, Size n, bool capped, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int classes) = (Small(m), Small(n));
        Tensor logits = g.Normal(rows, classes), loss = g.Empty(rows), dLogits = g.Empty(rows, classes);
        Tensor targets = g.Index(Enumerable.Range(0, rows).Select(_ => g.Random.Next(-1, classes)).ToArray());
        float cap = capped ? 2 : 0;
        const float Scale = 0.25f;
        g.Backend.CrossEntropy(logits, targets, Scale, cap, loss, dLogits);
        Gradients.Check("dLogits", logits, dLogits, () =>
        {
            g.Backend.CrossEntropy(logits, targets, Scale, cap, loss, null);
            return Scale * loss.Span<double>().ToArray().Sum();
        });
    }

    [Property]
    public void Scaled_columns_and_added_rows_by_vector_and_input(Size m, Size n, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns) = (Small(m), Small(n));
        Tensor x = g.Normal(rows, columns), v = g.Normal(columns), b = g.Normal(columns), u = g.Normal(rows, columns);
        Tensor y = g.Empty(rows, columns), dx = g.Empty(rows, columns), dv = g.Zeros(columns), db = g.Zeros(columns);
        g.Backend.ScaleColumns(u, v, dx);
        g.Backend.ColumnSum(u, x, 1, dv, true);
        g.Backend.ColumnSum(u, null, 1, db, true);
        Gradients.Check("dx", x, dx, Forward);
        Gradients.Check("dv", v, dv, Forward);
        Gradients.Check("db", b, db, Forward);

        double Forward()
        {
            g.Backend.ScaleColumns(x, v, y);
            g.Backend.AddRow(y, b, y);
            return Gradients.Dot(u, y);
        }
    }

    [Property]
    public void Gathered_rows_and_copied_columns_by_input(Size m, Size n, Size count, DataSeed seed)
    {
        using Gradients g = new(seed.Value);
        (int rows, int columns, int taken) = (Small(m), Small(n), Small(count));
        Tensor x = g.Normal(rows, columns), u = g.Normal(taken, columns + 2);
        Tensor gathered = g.Empty(taken, columns), wide = g.Zeros(taken, columns + 2);
        Tensor numbers = g.Index(Enumerable.Range(0, taken).Select(_ => g.Random.Next(-1, rows)).ToArray());
        Tensor dGathered = g.Empty(taken, columns), dx = g.Zeros(rows, columns);
        g.Backend.CopyColumns(u, 2, dGathered, 0, columns);
        g.Backend.ScatterAddRows(dGathered, numbers, dx);
        Gradients.Check("dx", x, dx, Forward);

        double Forward()
        {
            g.Backend.GatherRows(x, numbers, gathered);
            g.Backend.CopyColumns(gathered, 0, wide, 2, columns);
            return Gradients.Dot(u, wide);
        }
    }

    /// <summary>1 to 6: every element is perturbed twice.</summary>
    private static int Small(Size size) => 1 + size % 6;

    /// <summary>ReLU has no derivative at 0, so that no difference may step across it.</summary>
    private static Tensor AwayFromZero(Tensor tensor)
    {
        foreach (ref double value in tensor.Span<double>()) value += value < 0 ? -1e-3 : 1e-3;
        return tensor;
    }
}
