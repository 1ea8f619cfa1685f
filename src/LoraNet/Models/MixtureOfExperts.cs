using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace LoraNet.Models;

/// <summary>
/// Sparse mixture of experts (Shazeer et al., 2017) as Mixtral has it: each token uses the k experts with the largest router
/// logits, weighted by the softmax over those k: y[t] = Σₑ w[t,e]·expertₑ(x[t]). Expert choice is read back to the host, so
/// that each expert runs once on just its tokens.
/// </summary>
internal sealed class MixtureOfExperts(LinearModule router, IMlp[] experts, int expertsPerToken) : IMlp
{
    public Tensor Forward(Tape tape, Tensor x, ForwardContext context)
    {
        RowAdapters? adapters = context.Adapters;
        Tensor logits = router.Forward(tape, x, context);
        Tensor weights = RouteOp.Forward(tape, logits, expertsPerToken, out float[] values);
        Arena.Release(logits);
        Tensor sum = tape.Rent(x.Rows, x.Columns);
        tape.Backend.Zero(sum);
        for (int e = 0; e < experts.Length; e++)
        {
            List<int> rows = [];
            for (int t = 0; t < x.Rows; t++) if (values[t * experts.Length + e] != 0) rows.Add(t);
            if (rows.Count == 0) continue;
            Tensor index = tape.Arena.Rent(DType.I32, rows.Count);
            tape.Backend.UploadBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(rows)), index);
            Tensor input = GatherRowsOp.Forward(tape, x, index);
            context.Adapters = adapters?.Select(rows);
            Tensor output = experts[e].Forward(tape, input, context);
            context.Adapters = adapters;
            Arena.Release(input);
            Tensor next = CombineOp.Forward(tape, sum, output, weights, index, [.. rows], e);
            Arena.Release(output);
            Arena.Release(index);
            Arena.Release(sum);
            sum = next;
        }
        Arena.Release(weights);
        return sum;
    }
}

/// <summary>
/// Routing weights [tokens, experts]: the softmax over each token's k largest logits, 0 elsewhere (equal to softmax over all,
/// then top-k, then renormalised). Backward: dlogit[e] = w[e]·(dw[e] − Σ w·dw).
/// </summary>
internal sealed class RouteOp : TapeNode
{
    private Tensor _logits = null!;
    private float[] _weights = [];

    public static Tensor Forward(Tape tape, Tensor logits, int k, out float[] weights)
    {
        int tokens = logits.Rows, experts = logits.Columns;
        float[] values = tape.Backend.Download(logits);
        weights = new float[values.Length];
        int[] order = new int[experts];
        for (int t = 0; t < tokens; t++)
        {
            ReadOnlySpan<float> row = values.AsSpan(t * experts, experts);
            for (int e = 0; e < experts; e++) order[e] = e;
            float[] keys = row.ToArray();
            Array.Sort(order, (a, b) => keys[b] != keys[a] ? keys[b].CompareTo(keys[a]) : a.CompareTo(b));
            double sum = 0;
            for (int i = 0; i < k; i++) sum += Math.Exp(keys[order[i]] - (double)keys[order[0]]);
            for (int i = 0; i < k; i++) weights[t * experts + order[i]] = (float)(Math.Exp(keys[order[i]] - (double)keys[order[0]]) / sum);
        }
        Tensor output = tape.Arena.Rent(tape.Backend.ParameterType, tokens, experts);
        tape.Backend.Upload(weights, output);
        if (tape.Tracks(logits))
        {
            RouteOp node = tape.Record<RouteOp>(output);
            node._logits = node.SaveSlot(logits);
            node._weights = weights;
        }
        return output;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        int tokens = outputGradient.Rows, experts = outputGradient.Columns;
        float[] gradient = tape.Backend.Download(outputGradient);
        for (int t = 0; t < tokens; t++)
        {
            Span<float> g = gradient.AsSpan(t * experts, experts);
            ReadOnlySpan<float> w = _weights.AsSpan(t * experts, experts);
            float mean = TensorPrimitives.Dot<float>(g, w);
            for (int e = 0; e < experts; e++) g[e] = w[e] * (g[e] - mean);
        }
        Tensor dLogits = tape.Rent(tokens, experts);
        tape.Backend.Upload(gradient, dLogits);
        tape.AddGradient(_logits, dLogits);
        Arena.Release(dLogits);
    }

    protected override void Forget()
    {
        _logits = null!;
        _weights = [];
    }
}

/// <summary>y = sum, then y[rows[i]] += w[rows[i], expert]·x[i]. Backward: dsum = dy, dx[i] = w·dy[rows[i]], dw = dy[rows[i]]·x[i].</summary>
internal sealed class CombineOp : TapeNode
{
    private Tensor _sum = null!, _x = null!, _weights = null!, _index = null!;
    private int[] _rows = [];
    private int _expert;

    public static Tensor Forward(Tape tape, Tensor sum, Tensor x, Tensor weights, Tensor index, int[] rows, int expert)
    {
        Backend backend = tape.Backend;
        Tensor y = tape.Rent(sum.Rows, sum.Columns);
        backend.Scale(sum, 1, y);
        Tensor scaled = tape.Rent(x.Rows, x.Columns), w = Column(tape, weights, rows, expert);
        backend.ScaleRows(x, w, scaled);
        backend.ScatterAddRows(scaled, index, y);
        Arena.Release(scaled);
        Arena.Release(w);
        if (tape.Tracks(sum) || tape.Tracks(x) || tape.Tracks(weights))
        {
            CombineOp node = tape.Record<CombineOp>(y);
            node._sum = node.SaveSlot(sum);
            node._x = node.SaveSlot(node.Save(x));
            node._weights = node.SaveSlot(node.Save(weights));
            node._index = node.Save(index);
            (node._rows, node._expert) = (rows, expert);
        }
        return y;
    }

    public override void Backward(Tape tape, Tensor outputGradient)
    {
        Backend backend = tape.Backend;
        int count = _rows.Length, columns = outputGradient.Columns;
        Tensor gathered = tape.Rent(count, columns);
        backend.GatherRows(outputGradient, _index, gathered);
        if (_weights.RequiresGrad) AddWeightGradient(tape, gathered);
        if (_x.RequiresGrad)
        {
            Tensor w = Column(tape, _weights, _rows, _expert);
            Tensor dx = tape.Rent(count, columns);
            backend.ScaleRows(gathered, w, dx);
            tape.AddGradient(_x, dx);
            Arena.Release(dx);
            Arena.Release(w);
        }
        Arena.Release(gathered);
        tape.AddGradient(_sum, outputGradient);
    }

    protected override void Forget()
    {
        _sum = _x = _weights = _index = null!;
        _rows = [];
    }

    private void AddWeightGradient(Tape tape, Tensor gathered)
    {
        int columns = gathered.Columns, experts = _weights.Columns;
        float[] dy = tape.Backend.Download(gathered), x = tape.Backend.Download(_x), dw = new float[_weights.Count];
        for (int i = 0; i < _rows.Length; i++)
            dw[_rows[i] * experts + _expert] = TensorPrimitives.Dot<float>(dy.AsSpan(i * columns, columns), x.AsSpan(i * columns, columns));
        Tensor gradient = tape.Arena.Rent(_weights.DType, _weights.Rows, experts);
        tape.Backend.Upload(dw, gradient);
        tape.AddGradient(_weights, gradient);
        Arena.Release(gradient);
    }

    private static Tensor Column(Tape tape, Tensor weights, int[] rows, int expert)
    {
        float[] all = tape.Backend.Download(weights);
        float[] column = [.. rows.Select(r => all[r * weights.Columns + expert])];
        Tensor tensor = tape.Arena.Rent(tape.Backend.ParameterType, rows.Length);
        tape.Backend.Upload(column, tensor);
        return tensor;
    }
}
