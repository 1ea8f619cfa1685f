using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>
/// A frozen linear layer whose active layers include DoRA (Liu et al., 2024), as PEFT computes it. Per DoRA layer, with
/// n = ‖W + s·B·A‖ per output row (detached), g = m / n and x̃ = dropout(x):
/// <code>
/// z = x̃·Wᵀ,  u = z + s·x̃·Aᵀ·Bᵀ,  y = x·Wᵀ + b + Σ (g ⊙ u − z)
/// du = g ⊙ dy,  dm = Σ dy ⊙ u / n,  Q = s·du·B,  dA = Qᵀ·x̃,  dB = duᵀ·P,  dx = dy·W + mask ⊙ ((du − dy)·W + Q·A) / (1 − p)
/// </code>
/// Without dropout and with one layer the sums collapse to y = g ⊙ u + b and dx = du·W + Q·A. Plain LoRA layers beside it add P·Bᵀ.
/// The norm costs O(out·r) by the identity of <see cref="Backend.DoraNorm"/>; W·Aᵀ is the only product with W.
/// </summary>
internal sealed class DoraLinearOp : TapeNode
{
    private readonly List<Part> _parts = [];
    private LinearModule _linear = null!;
    private Tensor _x = null!;
    private Tensor? _trainedBias;
    private long _rowOffset;
    private bool _training;
    private bool _collapsed;

    private readonly record struct Part(LoraLayer Layer, Tensor P, Tensor? U, Tensor? G, Tensor? Norm, DropoutKey Key);

    public static Tensor Forward(Tape tape, Tensor x, LinearModule linear, ForwardContext context)
    {
        Backend backend = tape.Backend;
        Weight w = linear.Weight.Weight!;
        Tensor y = tape.Rent(x.Rows, linear.Out);
        Tensor? baseBias = linear.Bias?.Vector;
        Tensor? bias = LoraLinearOp.AddLoraBiases(tape, linear, baseBias);
        bool trains = tape.Recording && (x.RequiresGrad || baseBias is { RequiresGrad: true } || LoraLinearOp.AnyTrainable(linear));
        DoraLinearOp? node = trains ? tape.Record<DoraLinearOp>(y) : null;
        bool collapsed = linear.Active.Count == 1 && (!context.Training || linear.Active[0].Dropout == 0);
        if (!collapsed) backend.Linear(x, w, bias, null, y);

        foreach (LoraLayer layer in linear.Active)
        {
            DropoutKey key = context.DropoutKey(layer);
            Tensor p = LoraLinearOp.Down(tape, x, layer, key, context);
            if (layer.Magnitude is null)
            {
                backend.MatMul(MatMulKind.NT, p, layer.B.Value, y, accumulate: true);
                node?._parts.Add(new Part(layer, node.Save(p), null, null, null, key));
                Arena.Release(p);
                continue;
            }
            Tensor norm = Norm(tape, linear, layer);
            Tensor g = tape.Arena.Rent(backend.ParameterType, linear.Out);
            backend.VectorBinary(divide: true, layer.Magnitude.Value, norm, g);
            Tensor u = tape.Rent(x.Rows, linear.Out);
            Tensor dropped = LoraLinearOp.Dropped(tape, x, context.Training ? layer.Dropout : 0, key, context.RowOffset);
            backend.Linear(dropped, w, null, new LowRank(p, layer.B.Value), u);
            backend.ScaleColumns(u, g, y, accumulate: !collapsed);
            if (collapsed)
            {
                if (bias is not null) backend.AddRow(y, bias, y);
            }
            else
            {
                Tensor z = tape.Rent(x.Rows, linear.Out);
                backend.Linear(dropped, w, null, null, z);
                backend.Scale(z, -1, y, accumulate: true);
                Arena.Release(z);
            }
            node?._parts.Add(new Part(layer, node.Save(p), node.Save(u), node.Save(g), node.Save(norm), key));
            Arena.Release(dropped);
            Arena.Release(p);
            Arena.Release(u);
            Arena.Release(g);
            Arena.Release(norm);
        }
        if (bias != baseBias) Arena.Release(bias);
        if (node is not null)
        {
            node._linear = linear;
            node._x = node.SaveSlot(node.SaveOrRebuild(tape, x));
            node._trainedBias = baseBias is { RequiresGrad: true } ? baseBias : null;
            (node._rowOffset, node._training, node._collapsed) = (context.RowOffset, context.Training, collapsed);
        }
        return y;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        Weight w = _linear.Weight.Weight!;
        if (_trainedBias is not null) backend.ColumnSum(outputGradient, null, 1, _trainedBias.Grad!, accumulate: true);
        bool needsInput = _x.RequiresGrad;
        if (needsInput && !_collapsed)
        {
            Tensor dx = tape.GradientTarget(_x, out bool accumulate);
            backend.LinearBackwardInput(outputGradient, w, null, dx, accumulate);
        }
        foreach (Part part in _parts)
        {
            LoraLayer layer = part.Layer;
            float dropout = _training ? layer.Dropout : 0;
            if (layer.Bias is { Trainable: true }) backend.ColumnSum(outputGradient, null, layer.Scaling, layer.Bias.Gradient, accumulate: true);
            Tensor du = outputGradient;
            Arena.Retain(du);
            if (part.G is not null)
            {
                if (layer.Magnitude!.Trainable) MagnitudeGradient(tape, outputGradient, part.U!, part.Norm!, layer.Magnitude);
                Arena.Release(du);
                du = tape.Rent(outputGradient.Rows, outputGradient.Columns);
                backend.ScaleColumns(outputGradient, part.G, du);
            }
            if (layer.B.Trainable) backend.MatMul(MatMulKind.TN, du, part.P, layer.B.Gradient, accumulate: true);
            Tensor q = tape.Rent(outputGradient.Rows, layer.Rank);
            backend.MatMul(MatMulKind.NN, du, layer.B.Value, q, layer.Scaling);
            if (layer.A.Trainable)
            {
                Load(tape, _x);
                Tensor dropped = LoraLinearOp.Dropped(tape, _x, dropout, part.Key, _rowOffset);
                backend.MatMul(MatMulKind.TN, q, dropped, layer.A.Gradient, accumulate: true);
                Arena.Release(dropped);
            }
            if (needsInput)
            {
                Tensor dx = tape.GradientTarget(_x, out bool accumulate);
                if (_collapsed) backend.LinearBackwardInput(du, w, new LowRank(q, layer.A.Value), dx, accumulate);
                else if (part.G is null) LoraLinearOp.AddLowRankInput(tape, q, layer.A.Value, dropout, part.Key, _rowOffset, dx);
                else
                {
                    backend.Scale(outputGradient, -1, du, accumulate: true);
                    Tensor inner = tape.Rent(dx.Rows, dx.Columns);
                    backend.LinearBackwardInput(du, w, new LowRank(q, layer.A.Value), inner);
                    if (dropout > 0) backend.Dropout(inner, dropout, part.Key, _rowOffset, dx, accumulate: true);
                    else backend.Scale(inner, 1, dx, accumulate: true);
                    Arena.Release(inner);
                }
            }
            Arena.Release(q);
            Arena.Release(du);
        }
    }

    /// <summary>‖W + s·B·A‖ per output row; W·Aᵀ and A·Aᵀ are the only products.</summary>
    internal static Tensor Norm(Tape tape, LinearModule linear, LoraLayer layer)
    {
        Backend backend = tape.Backend;
        Weight w = linear.Weight.Weight!;
        if (layer.SquaredNorms is null)
        {
            layer.SquaredNorms = backend.Create(backend.ParameterType, linear.Out);
            backend.RowSquaredNorms(w, layer.SquaredNorms);
        }
        int r = layer.Rank;
        // A enters the product as rows of x; the compute type may be narrower than A's.
        Tensor a = tape.Rent(r, linear.In), c = tape.Rent(r, linear.Out);
        backend.Scale(layer.A.Value, 1, a);
        backend.Linear(a, w, null, null, c);
        Tensor gram = tape.Arena.Rent(backend.ParameterType, r, r);
        backend.MatMul(MatMulKind.NT, layer.A.Value, layer.A.Value, gram);
        Tensor norm = tape.Arena.Rent(backend.ParameterType, linear.Out);
        backend.DoraNorm(layer.SquaredNorms, c, layer.B.Value, gram, layer.Scaling, norm);
        Arena.Release(a);
        Arena.Release(c);
        Arena.Release(gram);
        return norm;
    }

    /// <summary>dm += Σ dy ⊙ u / n.</summary>
    internal static void MagnitudeGradient(Tape tape, Tensor dy, Tensor u, Tensor norm, Parameter magnitude)
    {
        Backend backend = tape.Backend;
        Tensor sum = tape.Arena.Rent(backend.ParameterType, dy.Columns);
        backend.ColumnSum(dy, u, 1, sum, accumulate: false);
        backend.VectorBinary(divide: true, sum, norm, sum);
        backend.Scale(sum, 1, magnitude.Gradient, accumulate: true);
        Arena.Release(sum);
    }

    protected override void Forget()
    {
        _parts.Clear();
        _linear = null!;
        _x = null!;
        _trainedBias = null;
    }
}
