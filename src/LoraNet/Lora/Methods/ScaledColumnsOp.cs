using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>y = x ⊙ v for every row; dv = Σ dy ⊙ x, dx = dy ⊙ v.</summary>
internal sealed class ScaledColumnsOp : TapeNode
{
    private Tensor _x = null!;
    private Parameter _v = null!;

    public static Tensor Forward(Tape tape, Tensor x, Parameter v)
    {
        Tensor y = tape.Rent(x.Rows, x.Columns);
        tape.Backend.ScaleColumns(x, v.Value, y);
        if (tape.Recording && (x.RequiresGrad || v.Trainable))
        {
            ScaledColumnsOp node = tape.Record<ScaledColumnsOp>(y);
            node._x = node.SaveSlot(node.Save(x));
            node._v = v;
        }
        return y;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        if (_v.Trainable) tape.Backend.ColumnSum(outputGradient, _x, 1, _v.Gradient, accumulate: true);
        if (!_x.RequiresGrad) return;
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        tape.Backend.ScaleColumns(outputGradient, _v.Value, dx, accumulate);
    }

    protected override void Forget()
    {
        _x = null!;
        _v = null!;
    }
}
