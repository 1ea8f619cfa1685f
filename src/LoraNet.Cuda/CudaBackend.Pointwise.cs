using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Pointwise operations, and operations along rows and columns.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    public override void Activate(Activation kind, Tensor x, Tensor y) =>
        LaunchFlat(_kernels.Activate.Get(kind, x.DType, y.DType), x.Count, new ActivationArgs { X = x.Address, Y = y.Address, Count = x.Count });

    /// <inheritdoc/>
    public override void ActivateBackward(Activation kind, Tensor dy, Tensor x, Tensor dx, bool accumulate = false) =>
        LaunchFlat(_kernels.ActivateBackward.Get(kind, dy.DType, x.DType, dx.DType), x.Count, new ActivationArgs
        {
            Dy = dy.Address,
            X = x.Address,
            Y = dx.Address,
            Count = x.Count,
            Accumulate = accumulate ? 1 : 0,
        });

    /// <inheritdoc/>
    public override void GatedActivate(Activation kind, Tensor gate, Tensor up, Tensor y) =>
        LaunchFlat(_kernels.Gated.Get(kind, gate.DType, up.DType, y.DType), gate.Count, new ActivationArgs
        {
            X = gate.Address,
            Up = up.Address,
            Y = y.Address,
            Count = gate.Count,
        }, 8);

    /// <inheritdoc/>
    public override void GatedActivateBackward(Activation kind, Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp)
    {
        if (gate.DType != up.DType || dGate.DType != dUp.DType)
            throw new ArgumentException($"gate and up, and their gradients, must have one type each, not {gate.DType}, {up.DType} and {dGate.DType}, {dUp.DType}.");
        LaunchFlat(_kernels.GatedBackward.Get(kind, dy.DType, gate.DType, dGate.DType), gate.Count, new ActivationArgs
        {
            Dy = dy.Address,
            X = gate.Address,
            Up = up.Address,
            Y = dGate.Address,
            DUp = dUp.Address,
            Count = gate.Count,
        }, 8);
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y) =>
        LaunchFlat(_kernels.Add.Get(a.DType, b.DType, y.DType), y.Count, new PointwiseArgs { A = a.Address, B = b.Address, Y = y.Address, Count = y.Count }, 8);

    /// <inheritdoc/>
    public override void Scale(Tensor x, float alpha, Tensor y, bool accumulate = false)
    {
        if (x.DType == y.DType && alpha == 1 && !accumulate)
        {
            if (x.Address != y.Address && x.Bytes > 0) _device.Copy(x.Address, y.Address, x.Bytes);
        }
        else
        {
            ScaleInto(x.Address, x.DType, alpha, y.Address, y.DType, x.Count, accumulate);
        }
        RefreshCopy(y.Address);
    }

    private void ScaleInto(nint x, DType xType, float alpha, nint y, DType yType, long count, bool accumulate) =>
        LaunchFlat(_kernels.Scale.Get(xType, yType), count, new PointwiseArgs { A = x, Y = y, Count = count, Alpha = alpha, Flag = accumulate ? 1 : 0 });

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y) =>
        LaunchFlat(_kernels.SoftCap.Get(x.DType, y.DType), x.Count, new PointwiseArgs { A = x.Address, Y = y.Address, Count = x.Count, Alpha = cap });

    /// <inheritdoc/>
    public override void VectorBinary(bool divide, Tensor a, Tensor b, Tensor y)
    {
        RequireF32(a, b, y);
        LaunchFlat(_kernels.Binary.Get(), y.Count, new PointwiseArgs { A = a.Address, B = b.Address, Y = y.Address, Count = y.Count, Flag = divide ? 1 : 0 });
    }

    /// <inheritdoc/>
    public override void ScaleColumns(Tensor x, Tensor v, Tensor y, bool accumulate = false) =>
        LaunchMatrix(_kernels.ScaleColumns, x, v, y, accumulate);

    /// <inheritdoc/>
    public override void ScaleRows(Tensor x, Tensor v, Tensor y) => LaunchMatrix(_kernels.ScaleRows, x, v, y, false);

    /// <inheritdoc/>
    public override void AddRow(Tensor x, Tensor v, Tensor y) => LaunchMatrix(_kernels.AddRow, x, v, y, false);

    /// <inheritdoc/>
    public override void Rope(Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize, bool inverse, Tensor y)
    {
        RequireF32(cos, sin);
        int half = cos.Columns, heads = x.Columns / headSize;
        // Eight items a thread where the kernel takes octets.
        int items = ((headSize | half) & 7) == 0 ? (headSize - half) / 8 : headSize - half;
        LaunchRows(_kernels.Rope.Get(x.DType, y.DType), x.Rows, (long)heads * items, Turning(x, cos, sin, positions, headSize, y) with { Sign = inverse ? -1 : 1 });
    }

    /// <inheritdoc/>
    public override void AppendKeyValues(in KeyValueAppend a)
    {
        DType type = a.Query.DType;
        if (a.Key.DType != type || a.Value.DType != type || a.Keys.DType != type || a.Values.DType != type)
        {
            base.AppendKeyValues(a);
            return;
        }
        if (a.Cos is not null && a.Sin is not null) RequireF32(a.Cos, a.Sin);
        RopeArgs turn = Turning(a.Query, a.Cos, a.Sin, a.Positions, a.HeadSize, a.Query);
        int each = ((a.HeadSize | turn.Half) & 7) == 0 ? 8 : 1;
        long items = (a.Cos is null ? 0 : a.Query.Columns) + a.Key.Columns + a.Value.Columns;
        LaunchRows(_kernels.Append.Get(type), a.Query.Rows, Divide(items, each), new AppendArgs
        {
            Turn = turn,
            Key = a.Key.Address,
            Value = a.Value.Address,
            Rows = a.Rows.Address,
            Keys = a.Keys.Address,
            Values = a.Values.Address,
            KeyHeads = a.Key.Columns / a.HeadSize,
        });
    }

    private static RopeArgs Turning(Tensor x, Tensor? cos, Tensor? sin, Tensor positions, int headSize, Tensor y)
    {
        int half = cos?.Columns ?? 0;
        if (x.Columns % headSize != 0 || 2 * half > headSize)
            throw new ArgumentException($"{x.ShapeText} does not consist of heads of {headSize} with {2 * half} rotated columns.");
        return new RopeArgs
        {
            X = x.Address,
            Cos = cos?.Address ?? 0,
            Sin = sin?.Address ?? 0,
            Positions = positions.Address,
            Y = y.Address,
            Rows = x.Rows,
            Heads = x.Columns / headSize,
            HeadSize = headSize,
            Half = half,
            Sign = 1,
        };
    }

    /// <inheritdoc/>
    public override void Dropout(Tensor x, float p, DropoutKey key, long rowOffset, Tensor y, bool accumulate = false)
    {
        LaunchRows(_kernels.Dropout.Get(x.DType, y.DType), x.Rows, Divide(x.Columns, 8), new DropoutArgs
        {
            X = x.Address,
            Y = y.Address,
            RowOffset = rowOffset,
            Rows = x.Rows,
            Columns = x.Columns,
            Accumulate = accumulate ? 1 : 0,
            KeyLow = (uint)key.Hash,
            KeyHigh = (uint)(key.Hash >> 32),
            Step = key.Step,
            StepAddress = StepAddress(key.Step),
            Threshold = Philox.Threshold(p),
            Scale = 1 / (1 - p),
        });
    }

    private void LaunchMatrix(KernelFamily<RowArgs> family, Tensor x, Tensor v, Tensor y, bool accumulate) =>
        LaunchRows(family.Get(x.DType, y.DType), x.Rows, Divide(x.Columns, 4), new RowArgs
        {
            X = x.Address,
            V = v.Address,
            VKind = StorageTypes.Kind(v.DType),
            Y = y.Address,
            Rows = x.Rows,
            Columns = x.Columns,
            Accumulate = accumulate ? 1 : 0,
        });

    private static void RequireF32(params ReadOnlySpan<Tensor> tensors)
    {
        foreach (Tensor t in tensors)
            if (t.DType != DType.F32) throw new ArgumentException($"An F32 tensor was expected, not {t.DType} {t.ShapeText}.");
    }
}
