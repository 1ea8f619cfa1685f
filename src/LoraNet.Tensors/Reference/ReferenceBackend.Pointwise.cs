namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void Activate(Activation kind, Tensor x, Tensor y)
    {
        Require.Same(y, x);
        double[] values = Elements.Read(x);
        for (long i = 0; i < values.LongLength; i++) values[i] = Activations.Value(kind, values[i]);
        Elements.Write(values, y);
    }

    /// <inheritdoc/>
    public override void ActivateBackward(Activation kind, Tensor dy, Tensor x, Tensor dx, bool accumulate = false)
    {
        Require.Same(dy, x);
        Require.Same(dx, x);
        double[] dys = Elements.Read(dy), xs = Elements.Read(x), dxs = Elements.Start(dx, accumulate);
        for (long i = 0; i < dxs.LongLength; i++) dxs[i] += dys[i] * Activations.Derivative(kind, xs[i]);
        Elements.Write(dxs, dx);
    }

    /// <inheritdoc/>
    public override void GatedActivate(Activation kind, Tensor gate, Tensor up, Tensor y)
    {
        Require.Same(up, gate);
        Require.Same(y, gate);
        double[] gates = Elements.Read(gate), ups = Elements.Read(up);
        for (long i = 0; i < ups.LongLength; i++) ups[i] *= Activations.Value(kind, gates[i]);
        Elements.Write(ups, y);
    }

    /// <inheritdoc/>
    public override void GatedActivateBackward(Activation kind, Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp)
    {
        Require.Same(dy, gate);
        Require.Same(up, gate);
        Require.Same(dGate, gate);
        Require.Same(dUp, gate);
        double[] dys = Elements.Read(dy), gates = Elements.Read(gate), ups = Elements.Read(up);
        double[] dGates = new double[dys.LongLength], dUps = new double[dys.LongLength];
        for (long i = 0; i < dys.LongLength; i++)
        {
            dGates[i] = dys[i] * ups[i] * Activations.Derivative(kind, gates[i]);
            dUps[i] = dys[i] * Activations.Value(kind, gates[i]);
        }
        Elements.Write(dGates, dGate);
        Elements.Write(dUps, dUp);
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Require.Same(b, a);
        Require.Same(y, a);
        double[] sums = Elements.Read(a), others = Elements.Read(b);
        for (long i = 0; i < sums.LongLength; i++) sums[i] += others[i];
        Elements.Write(sums, y);
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float alpha, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        double[] xs = Elements.Read(x), ys = Elements.Start(y, accumulate);
        for (long i = 0; i < ys.LongLength; i++) ys[i] += alpha * xs[i];
        Elements.Write(ys, y);
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        Require.Same(y, x);
        double[] values = Elements.Read(x);
        for (long i = 0; i < values.LongLength; i++) values[i] = cap * Math.Tanh(values[i] / cap);
        Elements.Write(values, y);
    }

    /// <inheritdoc/>
    public override void VectorBinary(bool divide, Tensor a, Tensor b, Tensor y)
    {
        Require.Count(b, a.Count);
        Require.Count(y, a.Count);
        double[] values = Elements.Read(a), others = Elements.Read(b);
        for (long i = 0; i < values.LongLength; i++) values[i] = divide ? values[i] / others[i] : values[i] * others[i];
        Elements.Write(values, y);
    }

    /// <inheritdoc/>
    public override void Dropout(Tensor x, float p, DropoutKey key, long rowOffset, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        ulong threshold = Philox.Threshold(p);
        int columns = x.Columns;
        double[] xs = Elements.Read(x), ys = Elements.Start(y, accumulate);
        for (long i = 0; i < ys.LongLength; i++)
        {
            // A dropped element adds nothing at all, even where x is not finite or p is 1.
            if (Philox.Word(key, rowOffset + i / columns, (int)(i % columns)) >= threshold) ys[i] += xs[i] / (1.0 - p);
        }
        Elements.Write(ys, y);
    }
}
