namespace LoraNet.Tensors.Autograd;

/// <summary>y[i, :] = x[rows[i], :]: keeps only the rows that later steps need.</summary>
public sealed class GatherRowsOp : TapeNode
{
    private Tensor _x = null!, _rows = null!;

    /// <summary>See <see cref="Backend.GatherRows"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor x, Tensor rows)
    {
        Tensor y = tape.Rent((int)rows.Count, x.Columns);
        tape.Backend.GatherRows(x, rows, y);
        if (tape.Tracks(x))
        {
            GatherRowsOp node = tape.Record<GatherRowsOp>(y);
            node._x = node.SaveSlot(x);
            node._rows = node.Save(rows);
        }
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        if (!accumulate) tape.Backend.Zero(dx);
        tape.Backend.ScatterAddRows(outputGradient, _rows, dx);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = _rows = null!;
}

/// <summary>y = x[:, first .. first + count): one part of a fused projection.</summary>
public sealed class SliceColumnsOp : TapeNode
{
    private Tensor _x = null!;
    private int _first, _count;

    /// <summary>See <see cref="Backend.CopyColumns"/>.</summary>
    public static Tensor Forward(Tape tape, Tensor x, int first, int count)
    {
        Tensor y = tape.Rent(x.Rows, count);
        tape.Backend.CopyColumns(x, first, y, 0, count);
        if (tape.Tracks(x))
        {
            SliceColumnsOp node = tape.Record<SliceColumnsOp>(y);
            node._x = node.SaveSlot(x);
            (node._first, node._count) = (first, count);
        }
        return y;
    }

    /// <inheritdoc/>
    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Tensor dx = tape.GradientTarget(_x, out bool accumulate);
        if (!accumulate) tape.Backend.Zero(dx);
        tape.Backend.CopyColumns(outputGradient, 0, dx, _first, _count, accumulate: true);
    }

    /// <inheritdoc/>
    protected override void Forget() => _x = null!;
}
