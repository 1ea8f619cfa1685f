namespace LoraNet.Tensors.Autograd;

/// <summary>Root-mean-square norm over groups of <c>w.Count</c> columns (whole rows, or each head of a row).</summary>
public sealed class RmsNormOp : TapeNode, IRebuilds
{
    private Tensor _x = null!, _w = null!, _rstd = null!;
    private float _eps, _offset;

    /// <summary>y = x·rstd ⊙ (w + offset); see <see cref="Backend.RmsNorm"/>. Trains w when it requires a gradient.</summary>
    public static Tensor Forward(Tape tape, Tensor x, Tensor w, float eps, float offset)
    {
        Tensor y = tape.Rent(x.Rows, x.Columns);
        int group = (int)w.Count, rows = (int)(x.Count / group);
        Tensor rstd = tape.Arena.Rent(tape.Backend.ParameterType, rows);
        Tensor xv = tape.Arena.View(x, rows, group), yv = tape.Arena.View(y, rows, group);
        tape.Backend.RmsNorm(xv, w, eps, offset, yv, rstd);
        Arena.Release(xv);
        Arena.Release(yv);
        Record(tape, x, w, eps, offset, y, rstd);
        Arena.Release(rstd);
        return y;
    }

    /// <summary>sum = a + b and its norm over whole rows, in one pass where the backend has one; recorded as the two operations they are.</summary>
    public static (Tensor Sum, Tensor Normed) ForwardSum(Tape tape, Tensor a, Tensor b, Tensor w, float eps, float offset)
    {
        Tensor sum = tape.Rent(a.Rows, a.Columns), y = tape.Rent(a.Rows, a.Columns);
        Tensor rstd = tape.Arena.Rent(tape.Backend.ParameterType, a.Rows);
        tape.Backend.AddRmsNorm(a, b, w, eps, offset, sum, y, rstd);
        AddOp.Record(tape, a, b, sum);
        Record(tape, sum, w, eps, offset, y, rstd);
        Arena.Release(rstd);
        return (sum, y);
    }

    private static void Record(Tape tape, Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd)
    {
        if (!tape.Tracks(x) && !tape.Tracks(w)) return;
        RmsNormOp node = tape.Record<RmsNormOp>(y);
        node._x = node.Save(x);
        node.SaveSlot(x);
        node._w = w;
        node._rstd = node.Save(rstd);
        (node._eps, node._offset) = (eps, offset);
        y.Maker = node;
    }

    ActivationPolicy IRebuilds.From => ActivationPolicy.Norms;

    void IRebuilds.Rebuild(Tape tape, Tensor output)
    {
        int group = (int)_w.Count, rows = (int)(_x.Count / group);
        Tensor xv = tape.Arena.View(_x, rows, group), yv = tape.Arena.View(output, rows, group);
        tape.Backend.RmsNorm(xv, _w, _eps, _offset, yv, _rstd);
        Arena.Release(xv);
        Arena.Release(yv);
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        int group = (int)_w.Count, rows = (int)(_x.Count / group);
        Arena arena = tape.Arena;
        bool accumulate = false;
        Tensor dx = _x.RequiresGrad ? tape.GradientTarget(_x, out accumulate) : tape.Rent(_x.Rows, _x.Columns);
        Tensor dyv = arena.View(outputGradient, rows, group), xv = arena.View(_x, rows, group), dxv = arena.View(dx, rows, group);
        tape.Backend.RmsNormBackward(dyv, xv, _w, _offset, _rstd, dxv, accumulate, _w.RequiresGrad ? _w.Grad : null);
        Arena.Release(dyv);
        Arena.Release(xv);
        Arena.Release(dxv);
        if (!_x.RequiresGrad) Arena.Release(dx);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = _w = _rstd = null!;
}

/// <summary>Layer norm over whole rows.</summary>
public sealed class LayerNormOp : TapeNode
{
    private Tensor _x = null!, _w = null!, _mean = null!, _rstd = null!;
    private Tensor? _b;

    /// <summary>y = (x − mean)·rstd ⊙ w + b; see <see cref="Backend.LayerNorm"/>. Trains w and b when they require gradients.</summary>
    public static Tensor Forward(Tape tape, Tensor x, Tensor w, Tensor? b, float eps)
    {
        Tensor y = tape.Rent(x.Rows, x.Columns);
        Tensor mean = tape.Arena.Rent(tape.Backend.ParameterType, x.Rows);
        Tensor rstd = tape.Arena.Rent(tape.Backend.ParameterType, x.Rows);
        tape.Backend.LayerNorm(x, w, b, eps, y, mean, rstd);
        if (tape.Tracks(x) || tape.Tracks(w) || (b is not null && tape.Tracks(b)))
        {
            LayerNormOp node = tape.Record<LayerNormOp>(y);
            node._x = node.Save(x);
            node.SaveSlot(x);
            (node._w, node._b) = (w, b);
            node._mean = node.Save(mean);
            node._rstd = node.Save(rstd);
        }
        Arena.Release(mean);
        Arena.Release(rstd);
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        bool accumulate = false;
        Tensor dx = _x.RequiresGrad ? tape.GradientTarget(_x, out accumulate) : tape.Rent(_x.Rows, _x.Columns);
        tape.Backend.LayerNormBackward(outputGradient, _x, _w, _mean, _rstd, dx, accumulate,
            _w.RequiresGrad ? _w.Grad : null, _b is { RequiresGrad: true } ? _b.Grad : null);
        if (!_x.RequiresGrad) Arena.Release(dx);
    }

    /// <inheritdoc/>
    protected override void Forget()
    {
        _x = _w = _mean = _rstd = null!;
        _b = null;
    }
}
