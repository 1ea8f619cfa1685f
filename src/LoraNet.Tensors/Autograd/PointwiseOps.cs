namespace LoraNet.Tensors.Autograd;

/// <summary>y = f(x).</summary>
public sealed class ActivationOp : TapeNode
{
    private Tensor _x = null!;
    private Activation _kind;

    /// <summary>See <see cref="Backend.Activate"/>.</summary>
    public static Tensor Forward(Tape tape, Activation kind, Tensor x)
    {
        Tensor y = tape.Rent(x.Rows, x.Columns);
        tape.Backend.Activate(kind, x, y);
        if (tape.Tracks(x))
        {
            ActivationOp node = tape.Record<ActivationOp>(y);
            node._x = node.SaveSlot(node.Save(x));
            node._kind = kind;
        }
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        tape.Backend.ActivateBackward(_kind, outputGradient, _x, dx, accumulate);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = null!;
}

/// <summary>y = f(gate) ⊙ up: SwiGLU and GeGLU.</summary>
public sealed class GatedActivationOp : TapeNode, IRebuilds
{
    private Tensor _gate = null!, _up = null!;
    private Activation _kind;

    /// <summary>See <see cref="Backend.GatedActivate"/>.</summary>
    public static Tensor Forward(Tape tape, Activation kind, Tensor gate, Tensor up)
    {
        Tensor y = tape.Rent(gate.Rows, gate.Columns);
        tape.Backend.GatedActivate(kind, gate, up, y);
        if (tape.Tracks(gate) || tape.Tracks(up))
        {
            GatedActivationOp node = tape.Record<GatedActivationOp>(y);
            node._gate = node.SaveSlot(node.Save(gate));
            node._up = node.SaveSlot(node.Save(up));
            node._kind = kind;
            y.Maker = node;
        }
        return y;
    }

    ActivationPolicy IRebuilds.From => ActivationPolicy.Selective;

    void IRebuilds.Rebuild(Tape tape, Tensor output) => tape.Backend.GatedActivate(_kind, _gate, _up, output);

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        // Both gradients are as large as what they are computed from, which nothing else reads any more: they take its place.
        Tensor dGate = tape.Arena.TakeOver(_gate), dUp = tape.Arena.TakeOver(_up);
        tape.Backend.GatedActivateBackward(_kind, outputGradient, _gate, _up, dGate, dUp);
        tape.AddGradient(_gate, dGate);
        tape.AddGradient(_up, dUp);
        Arena.Release(dGate);
        Arena.Release(dUp);
    }

    /// <inheritdoc/>
    protected override void Forget() => _gate = _up = null!;
}

/// <summary>y = a + b: the residual connection. Its gradient is passed on without a copy.</summary>
public sealed class AddOp : TapeNode
{
    private Tensor _a = null!, _b = null!;

    /// <summary>See <see cref="Backend.Add"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor a, Tensor b)
    {
        Tensor y = tape.Rent(a.Rows, a.Columns);
        tape.Backend.Add(a, b, y);
        Record(tape, a, b, y);
        return y;
    }

    /// <summary>Records that <paramref name="y"/> was computed as a + b.</summary>
    internal static void Record(Tape tape, Tensor a, Tensor b, Tensor y)
    {
        if (tape.Tracks(a) || tape.Tracks(b))
        {
            AddOp node = tape.Record<AddOp>(y);
            node._a = node.SaveSlot(a);
            node._b = node.SaveSlot(b);
        }
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        tape.AddGradient(_a, outputGradient);
        tape.AddGradient(_b, outputGradient);
    }

    /// <inheritdoc/>
    protected override void Forget() => _a = _b = null!;
}

/// <summary>y = alpha·x.</summary>
public sealed class ScaleOp : TapeNode
{
    private Tensor _x = null!;
    private float _alpha;

    /// <summary>See <see cref="Backend.Scale"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor x, float alpha)
    {
        Tensor y = tape.Rent(x.Rows, x.Columns);
        tape.Backend.Scale(x, alpha, y);
        if (tape.Tracks(x))
        {
            ScaleOp node = tape.Record<ScaleOp>(y);
            node._x = node.SaveSlot(x);
            node._alpha = alpha;
        }
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        tape.Backend.Scale(outputGradient, _alpha, dx, accumulate);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = null!;
}
