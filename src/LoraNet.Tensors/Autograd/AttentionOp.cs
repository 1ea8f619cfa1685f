namespace LoraNet.Tensors.Autograd;

/// <summary>Grouped-query attention over the visible keys of each row.</summary>
public sealed class AttentionOp : TapeNode
{
    private AttentionOperands _operands;

    /// <summary>o = softmax(cap(scale·q·kᵀ))·v; see <see cref="Backend.Attention"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor q, Tensor k, Tensor v, AttentionLayout layout, int heads, int keyValueHeads, float scale, float softCap)
    {
        Tensor output = tape.Rent(q.Rows, q.Columns);
        Tensor lse = tape.Arena.Rent(tape.Backend.ParameterType, q.Rows, heads);
        AttentionOperands operands = new(q, k, v, output, lse, layout, heads, keyValueHeads, scale, softCap);
        tape.Backend.Attention(operands);
        if (tape.Tracks(q) || tape.Tracks(k) || tape.Tracks(v))
        {
            AttentionOp node = tape.Record<AttentionOp>(output);
            node._operands = operands;
            node.SaveSlot(node.Save(q));
            node.SaveSlot(node.Save(k));
            node.SaveSlot(node.Save(v));
            node.Save(output);
            node.Save(lse);
        }
        Arena.Release(lse);
        return output;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tensor dq = tape.Rent(_operands.Query.Rows, _operands.Query.Columns);
        Tensor dk = tape.Rent(_operands.Key.Rows, _operands.Key.Columns);
        Tensor dv = tape.Rent(_operands.Value.Rows, _operands.Value.Columns);
        tape.Backend.AttentionBackward(_operands, outputGradient, dq, dk, dv);
        tape.AddGradient(_operands.Query, dq);
        tape.AddGradient(_operands.Key, dk);
        tape.AddGradient(_operands.Value, dv);
        Arena.Release(dq);
        Arena.Release(dk);
        Arena.Release(dv);
    }

    /// <inheritdoc/>
    protected override void Forget() => _operands = default;
}

/// <summary>Rotary position embedding, in place.</summary>
public sealed class RopeOp : TapeNode
{
    private Tensor _x = null!, _cos = null!, _sin = null!, _positions = null!;
    private int _headSize;

    /// <summary>Rotates x in a new tensor; see <see cref="Backend.Rope"/>. Takes over the caller's reference to <paramref name="x"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize)
    {
        // The rotation needs no saved input, so the new tensor is a view on the rotated memory of x.
        tape.Backend.Rope(x, cos, sin, positions, headSize, inverse: false, x);
        Tensor y = tape.Arena.View(x, x.Rows, x.Columns);
        if (tape.Tracks(x))
        {
            RopeOp node = tape.Record<RopeOp>(y);
            node._x = node.SaveSlot(x);
            (node._cos, node._sin, node._headSize) = (cos, sin, headSize);
            node._positions = node.Save(positions);
        }
        Arena.Release(x);
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        if (_x.Grad is null && outputGradient.References == 1)
        {
            tape.Backend.Rope(outputGradient, _cos, _sin, _positions, _headSize, inverse: true, outputGradient);
            tape.AddGradient(_x, outputGradient);
            return;
        }
        Tensor dx = tape.Rent(outputGradient.Rows, outputGradient.Columns);
        tape.Backend.Rope(outputGradient, _cos, _sin, _positions, _headSize, inverse: true, dx);
        tape.AddGradient(_x, dx);
        Arena.Release(dx);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = _cos = _sin = _positions = null!;
}
