using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>A trainable linear layer (modules_to_save, full fine-tuning): y = x·Wᵀ + b, dW = dyᵀ·x, dx = dy·W, db = Σ dy.</summary>
internal sealed class DenseLinearOp : TapeNode
{
    private Tensor _x = null!, _w = null!;
    private Tensor? _b;

    public static Tensor Forward(Tape tape, Tensor x, Tensor w, Tensor? b)
    {
        Tensor y = tape.Rent(x.Rows, w[0]);
        tape.Backend.MatMul(MatMulKind.NT, x, w, y, bias: b);
        if (tape.Tracks(x) || tape.Tracks(w) || (b is not null && tape.Tracks(b)))
        {
            DenseLinearOp node = tape.Record<DenseLinearOp>(y);
            node._x = node.SaveSlot(node.SaveOrRebuild(tape, x));
            (node._w, node._b) = (w, b);
        }
        return y;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        if (_w.RequiresGrad) Load(tape, _x);
        if (_w.RequiresGrad) backend.MatMul(MatMulKind.TN, outputGradient, _x, _w.Grad!, accumulate: true);
        if (_b is { RequiresGrad: true }) backend.ColumnSum(outputGradient, null, 1, _b.Grad!, accumulate: true);
        if (!_x.RequiresGrad) return;
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        backend.MatMul(MatMulKind.NN, outputGradient, _w, dx, accumulate: accumulate);
    }

    protected override void Forget()
    {
        _x = _w = null!;
        _b = null;
    }
}
