using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>
/// A frozen linear layer with any number of LoRA layers, as one operation (Hu et al., 2021):
/// <code>
/// x̃ = dropout(x), P = s·x̃·Aᵀ,  y = x·Wᵀ + b + P·Bᵀ
/// Q = s·dy·B,  dA = Qᵀ·x̃,  dB = dyᵀ·P,  dx = dy·W + mask ⊙ (Q·A) / (1 − p)
/// </code>
/// B·A is never formed, W gets no gradient, and without dropout the low-rank part runs inside the frozen product.
/// In a mixed batch P and Q are 0 on the rows that use other adapters.
/// Shapes: x [M, in], W [out, in], A [r, in], B [out, r], P and Q [M, r].
/// </summary>
internal sealed class LoraLinearOp : TapeNode
{
    private readonly List<(LoraLayer Layer, Tensor P, DropoutKey Key, Tensor? Mask)> _layers = [];
    private LinearModule _linear = null!;
    private Tensor _x = null!;
    private Tensor? _trainedBias;
    private long _rowOffset;

    public static Tensor Forward(Tape tape, Tensor x, LinearModule linear, ForwardContext context)
    {
        Backend backend = tape.Backend;
        Tensor y = tape.Arena.Rent(linear.WideOutput ? backend.ParameterType : backend.ComputeType, x.Rows, linear.Out);
        Tensor? baseBias = linear.Bias?.Vector;
        RowAdapters? adapters = linear.Active.Count > 0 ? context.Adapters : null;
        Tensor? bias = adapters is null ? AddLoraBiases(tape, linear, baseBias) : baseBias;
        bool trains = tape.Recording && (x.RequiresGrad || baseBias is { RequiresGrad: true } || AnyTrainable(linear));
        LoraLinearOp? node = trains ? tape.Record<LoraLinearOp>(y) : null;

        LowRank? first = null;
        foreach (LoraLayer layer in linear.Active)
        {
            DropoutKey key = context.DropoutKey(layer);
            Tensor p = Down(tape, x, layer, key, context);
            Tensor? mask = adapters?.Mask(layer.Adapter);
            if (mask is not null) backend.ScaleRows(p, mask, p);
            node?._layers.Add((layer, node.Save(p), key, mask));
            if (first is null)
            {
                first = new LowRank(p, layer.B.Value);
                backend.Linear(x, linear.Weight.Weight!, bias, first, y);
            }
            else
            {
                backend.MatMul(MatMulKind.NT, p, layer.B.Value, y, accumulate: true);
            }
            Arena.Release(p);
        }
        if (first is null) backend.Linear(x, linear.Weight.Weight!, bias, null, y);
        if (adapters is not null) AddMaskedBiases(tape, linear, adapters, y);
        if (bias != baseBias) Arena.Release(bias);

        if (node is not null)
        {
            node._linear = linear;
            // Only the gradient of A reads x.
            node._x = linear.Active.Exists(static l => l.A.Trainable) ? node.SaveOrRebuild(tape, x) : x;
            node.SaveSlot(x);
            node._trainedBias = baseBias is { RequiresGrad: true } ? baseBias : null;
            node._rowOffset = context.RowOffset;
            node._training = context.Training;
        }
        return y;
    }

    private bool _training;

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        if (_trainedBias is not null) backend.ColumnSum(outputGradient, null, 1, _trainedBias.Grad!, accumulate: true);
        bool needsInput = _x.RequiresGrad;
        bool baseDone = false;
        foreach ((LoraLayer layer, Tensor p, DropoutKey key, Tensor? mask) in _layers)
        {
            float dropout = _training ? layer.Dropout : 0;
            if (layer.Bias is { Trainable: true }) BiasGradient(tape, outputGradient, layer, mask);
            if (layer.B.Trainable) backend.MatMul(MatMulKind.TN, outputGradient, p, layer.B.Gradient, accumulate: true);
            if (!layer.A.Trainable && !needsInput) continue;
            Tensor q = tape.Rent(outputGradient.Rows, layer.Rank);
            backend.MatMul(MatMulKind.NN, outputGradient, layer.B.Value, q, layer.Scaling);
            if (mask is not null) backend.ScaleRows(q, mask, q);
            if (layer.A.Trainable)
            {
                Load(tape, _x);
                Tensor dropped = Dropped(tape, _x, dropout, key, _rowOffset);
                backend.MatMul(MatMulKind.TN, q, dropped, layer.A.Gradient, accumulate: true);
                Arena.Release(dropped);
            }
            if (needsInput)
            {
                Tensor dx = tape.GradientTarget(_x, out bool accumulate);
                LowRank lowRank = new(q, layer.A.Value);
                if (dropout == 0 && !baseDone) backend.LinearBackwardInput(outputGradient, _linear.Weight.Weight!, lowRank, dx, accumulate);
                else
                {
                    if (!baseDone) backend.LinearBackwardInput(outputGradient, _linear.Weight.Weight!, null, dx, accumulate);
                    AddLowRankInput(tape, q, layer.A.Value, dropout, key, _rowOffset, dx);
                }
                baseDone = true;
            }
            Arena.Release(q);
        }
        if (needsInput && !baseDone)
        {
            Tensor dx = tape.GradientTarget(_x, out bool accumulate);
            backend.LinearBackwardInput(outputGradient, _linear.Weight.Weight!, null, dx, accumulate);
        }
    }

    protected override void Forget()
    {
        _layers.Clear();
        _linear = null!;
        _x = null!;
        _trainedBias = null;
    }

    /// <summary>P = s·dropout(x)·Aᵀ.</summary>
    internal static Tensor Down(Tape tape, Tensor x, LoraLayer layer, DropoutKey key, ForwardContext context)
    {
        Tensor p = tape.Rent(x.Rows, layer.Rank);
        Tensor dropped = Dropped(tape, x, context.Training ? layer.Dropout : 0, key, context.RowOffset);
        tape.Backend.MatMul(MatMulKind.NT, dropped, layer.A.Value, p, layer.Scaling);
        Arena.Release(dropped);
        return p;
    }

    /// <summary>dropout(x), or x itself with one more reference.</summary>
    internal static Tensor Dropped(Tape tape, Tensor x, float dropout, DropoutKey key, long rowOffset)
    {
        if (dropout == 0)
        {
            Arena.Retain(x);
            return x;
        }
        Tensor dropped = tape.Rent(x.Rows, x.Columns);
        tape.Backend.Dropout(x, dropout, key, rowOffset, dropped);
        return dropped;
    }

    /// <summary>dx += mask ⊙ (Q·A) / (1 − p).</summary>
    internal static void AddLowRankInput(Tape tape, Tensor q, Tensor a, float dropout, DropoutKey key, long rowOffset, Tensor dx)
    {
        if (dropout == 0)
        {
            tape.Backend.MatMul(MatMulKind.NN, q, a, dx, accumulate: true);
            return;
        }
        Tensor inner = tape.Rent(dx.Rows, dx.Columns);
        tape.Backend.MatMul(MatMulKind.NN, q, a, inner);
        tape.Backend.Dropout(inner, dropout, key, rowOffset, dx, accumulate: true);
        Arena.Release(inner);
    }

    /// <summary>bias + Σ s·b_B of the active layers: the base bias itself when no layer has one.</summary>
    internal static Tensor? AddLoraBiases(Tape tape, LinearModule linear, Tensor? baseBias)
    {
        Tensor? sum = null;
        foreach (LoraLayer layer in linear.Active)
        {
            if (layer.Bias is null) continue;
            if (sum is null)
            {
                sum = tape.Arena.Rent(tape.Backend.ParameterType, linear.Out);
                if (baseBias is null) tape.Backend.Zero(sum);
                else tape.Backend.Scale(baseBias, 1, sum);
            }
            tape.Backend.Scale(layer.Bias.Value, layer.Scaling, sum, accumulate: true);
        }
        return sum ?? baseBias;
    }

    /// <summary>y += Σ s·mask·b_Bᵀ: biases of the layers on the rows that use them.</summary>
    private static void AddMaskedBiases(Tape tape, LinearModule linear, RowAdapters adapters, Tensor y)
    {
        foreach (LoraLayer layer in linear.Active)
        {
            if (layer.Bias is null) continue;
            Tensor rows = tape.Arena.View(adapters.Mask(layer.Adapter), y.Rows, 1), columns = tape.Arena.View(layer.Bias.Value, linear.Out, 1);
            tape.Backend.MatMul(MatMulKind.NT, rows, columns, y, layer.Scaling, accumulate: true);
            Arena.Release(rows);
            Arena.Release(columns);
        }
    }

    /// <summary>db_B += s·Σ mask ⊙ dy.</summary>
    private static void BiasGradient(Tape tape, Tensor dy, LoraLayer layer, Tensor? mask)
    {
        if (mask is null)
        {
            tape.Backend.ColumnSum(dy, null, layer.Scaling, layer.Bias!.Gradient, accumulate: true);
            return;
        }
        Tensor masked = tape.Rent(dy.Rows, dy.Columns);
        tape.Backend.ScaleRows(dy, mask, masked);
        tape.Backend.ColumnSum(masked, null, layer.Scaling, layer.Bias!.Gradient, accumulate: true);
        Arena.Release(masked);
    }

    internal static bool AnyTrainable(LinearModule linear)
    {
        foreach (LoraLayer layer in linear.Active)
            if (layer.A.Trainable || layer.B.Trainable || layer.Bias is { Trainable: true } || layer.Magnitude is { Trainable: true }) return true;
        return false;
    }
}
