using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace LoraNet.Lora;

/// <summary>A low-rank change with learned diagonals: ΔW = s·diag(l)·B·diag(d)·A, where l may be absent and A and B may be frozen (VeRA, AdaLoRA).</summary>
public abstract class DiagonalLayer : MethodLayer
{
    /// <summary>Creates the layer.</summary>
    private protected DiagonalLayer(LinearModule module, string adapter, double scaling, double dropout, Parameter diagonal, Parameter? outer) : base(module, adapter) =>
        (Scaling, Dropout, Diagonal, Outer) = ((float)scaling, (float)dropout, diagonal, outer);

    /// <summary>s.</summary>
    public float Scaling { get; }

    /// <summary>Probability of dropping an input of A while training.</summary>
    public float Dropout { get; }

    /// <summary>d [r].</summary>
    public Parameter Diagonal { get; }

    /// <summary>l [out], or null.</summary>
    public Parameter? Outer { get; }

    /// <summary>A [r, in].</summary>
    internal abstract Tensor Down { get; }

    /// <summary>B [out, r].</summary>
    internal abstract Tensor Up { get; }

    /// <inheritdoc/>
    internal override int Rank => 2 * (int)Diagonal.Count + (Outer is null ? 0 : Module.Out);

    /// <inheritdoc/>
    internal override bool DropsInputs => Dropout > 0;

    /// <inheritdoc/>
    internal override Tensor Output(Tape tape, Tensor x, Tensor y, ForwardContext context)
    {
        DiagonalLowRankOp.Accumulate(tape, x, y, this, context);
        return y;
    }

    /// <inheritdoc/>
    internal override void MergeOutput(float[] w, int outputs, int inputs)
    {
        Backend backend = Diagonal.Value.Backend;
        float[] a = backend.Download(Down), b = backend.Download(Up), d = Diagonal.ToFile();
        float[]? outer = Outer?.ToFile();
        int rank = d.Length;
        Parallel.For(0, outputs, o =>
        {
            float[] change = new float[inputs];
            for (int r = 0; r < rank; r++) TensorPrimitives.MultiplyAdd(a.AsSpan(r * inputs, inputs), b[o * rank + r] * d[r], change, change);
            Span<float> row = w.AsSpan(o * inputs, inputs);
            TensorPrimitives.MultiplyAdd(change, Scaling * (outer?[o] ?? 1), row, row);
        });
    }
}

/// <summary>
/// y += s·(l ⊙)(x̃·Aᵀ ⊙ d)·Bᵀ with x̃ = dropout(x), in place:
/// <code>
/// H = s·x̃·Aᵀ,  P = H ⊙ d,  U = P·Bᵀ,  y += l ⊙ U
/// dU = l ⊙ dy,  dl = Σ dy ⊙ U,  dB = dUᵀ·P,  Q = dU·B,  dd = Σ Q ⊙ H,  dA = s·(Q ⊙ d)ᵀ·x̃,  dx += s·mask ⊙ ((Q ⊙ d)·A) / (1 − p)
/// </code>
/// </summary>
internal sealed class DiagonalLowRankOp : TapeNode
{
    private Tensor _x = null!, _y = null!, _h = null!, _p = null!;
    private Tensor? _u;
    private DiagonalLayer _layer = null!;
    private DropoutKey _key;
    private long _rowOffset;
    private float _dropout;
    private bool _yTracked;

    public static void Accumulate(Tape tape, Tensor x, Tensor y, DiagonalLayer layer, ForwardContext context)
    {
        Backend backend = tape.Backend;
        float dropout = context.Training ? layer.Dropout : 0;
        DropoutKey key = context.DropoutKey(layer.ModulePath, layer.Adapter, dropout);
        int rank = (int)layer.Diagonal.Count;
        Tensor dropped = LoraLinearOp.Dropped(tape, x, dropout, key, context.RowOffset);
        Tensor h = tape.Rent(x.Rows, rank), p = tape.Rent(x.Rows, rank);
        backend.MatMul(MatMulKind.NT, dropped, layer.Down, h, layer.Scaling);
        Arena.Release(dropped);
        backend.ScaleColumns(h, layer.Diagonal.Value, p);
        Tensor? u = null;
        if (layer.Outer is null) backend.MatMul(MatMulKind.NT, p, layer.Up, y, accumulate: true);
        else
        {
            u = tape.Rent(y.Rows, y.Columns);
            backend.MatMul(MatMulKind.NT, p, layer.Up, u);
            backend.ScaleColumns(u, layer.Outer.Value, y, accumulate: true);
        }
        bool yTracked = y.RequiresGrad;
        if (tape.Recording && (x.RequiresGrad || yTracked || layer.Parameters.Any(t => t.Trainable)))
        {
            DiagonalLowRankOp node = tape.Record<DiagonalLowRankOp>(y);
            node._y = node.SaveSlot(y);
            node._x = node.SaveSlot(layer.Down.RequiresGrad ? node.Save(x) : x);
            (node._h, node._p) = (node.Save(h), node.Save(p));
            node._u = u is null ? null : node.Save(u);
            (node._layer, node._key, node._rowOffset, node._dropout, node._yTracked) = (layer, key, context.RowOffset, dropout, yTracked);
        }
        Arena.Release(h);
        Arena.Release(p);
        Arena.Release(u);
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        Tensor dU = outputGradient;
        Arena.Retain(dU);
        if (_layer.Outer is { } outer)
        {
            if (outer.Trainable) backend.ColumnSum(outputGradient, _u, 1, outer.Gradient, accumulate: true);
            Arena.Release(dU);
            dU = tape.Rent(outputGradient.Rows, outputGradient.Columns);
            backend.ScaleColumns(outputGradient, outer.Value, dU);
        }
        if (_layer.Up.RequiresGrad) backend.MatMul(MatMulKind.TN, dU, _p, _layer.Up.Grad!, accumulate: true);
        Tensor q = tape.Rent(dU.Rows, _h.Columns);
        backend.MatMul(MatMulKind.NN, dU, _layer.Up, q);
        Arena.Release(dU);
        if (_layer.Diagonal.Trainable) backend.ColumnSum(q, _h, 1, _layer.Diagonal.Gradient, accumulate: true);
        backend.ScaleColumns(q, _layer.Diagonal.Value, q);
        if (_layer.Down.RequiresGrad)
        {
            Tensor dropped = LoraLinearOp.Dropped(tape, _x, _dropout, _key, _rowOffset);
            backend.MatMul(MatMulKind.TN, q, dropped, _layer.Down.Grad!, _layer.Scaling, accumulate: true);
            Arena.Release(dropped);
        }
        if (_x.RequiresGrad)
        {
            Tensor dx = tape.GradientTarget(_x, out bool accumulate);
            if (_dropout == 0) backend.MatMul(MatMulKind.NN, q, _layer.Down, dx, _layer.Scaling, accumulate);
            else
            {
                Tensor inner = tape.Rent(dx.Rows, dx.Columns);
                backend.MatMul(MatMulKind.NN, q, _layer.Down, inner, _layer.Scaling);
                backend.Dropout(inner, _dropout, _key, _rowOffset, dx, accumulate);
                Arena.Release(inner);
            }
        }
        Arena.Release(q);
        // The output was changed in place: whoever made it gets the same gradient.
        if (_yTracked) tape.AddGradient(_y, outputGradient);
    }

    protected override void Forget()
    {
        _x = _y = _h = _p = null!;
        _u = null;
        _layer = null!;
    }
}
