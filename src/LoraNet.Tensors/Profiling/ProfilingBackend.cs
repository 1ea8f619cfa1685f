using System.Diagnostics;
using System.Globalization;

namespace LoraNet.Tensors.Profiling;

/// <summary>
/// A backend around another that times every operation, for backends whose operations have finished when they return (those of the
/// host). It computes exactly what the other computes; a call costs some fifty nanoseconds more.
/// </summary>
/// <example><code>
/// using ProfilingBackend backend = new(new CpuBackend());
/// // train on backend
/// foreach (OperationTime time in backend.Times) Console.WriteLine(time);
/// </code></example>
public sealed class ProfilingBackend : Backend
{
    private readonly Backend _inner;
    private readonly Dictionary<(string Name, int From, int To), Sums> _sums = [];

    /// <summary>Wraps a backend, which is disposed with this one.</summary>
    /// <param name="inner">A host backend.</param>
    /// <exception cref="ArgumentException">The backend queues its operations.</exception>
    public ProfilingBackend(Backend inner)
    {
        if (!inner.IsHost) throw new ArgumentException("Operations that are queued cannot be timed by their calls.", nameof(inner));
        _inner = inner;
    }

    /// <summary>The backend that computes.</summary>
    public Backend Inner => _inner;

    /// <summary>What was called since the start or the last <see cref="Reset"/>, the longest first.</summary>
    public IReadOnlyList<OperationTime> Times =>
    [
        .. _sums.Select(static e => new OperationTime(
                e.Key.From == 0 ? e.Key.Name : string.Create(CultureInfo.InvariantCulture, $"{e.Key.Name} {e.Key.From} → {e.Key.To}"),
                e.Value.Calls, e.Value.Ticks * 1e3 / Stopwatch.Frequency, e.Value.Flops, e.Value.Bytes))
            .OrderByDescending(static t => t.Milliseconds),
    ];

    /// <summary>Forgets all times, for example those of warm-up steps.</summary>
    public void Reset() => _sums.Clear();

    /// <inheritdoc/>
    public override string Name => _inner.Name;

    /// <inheritdoc/>
    public override bool IsHost => true;

    /// <inheritdoc/>
    public override DType ComputeType => _inner.ComputeType;

    /// <inheritdoc/>
    public override long AvailableBytes => _inner.AvailableBytes;

    /// <inheritdoc/>
    public override long PeakBytes => _inner.PeakBytes;

    /// <inheritdoc/>
    public override nint AllocateMemory(long bytes) => _inner.AllocateMemory(bytes);

    /// <inheritdoc/>
    public override void FreeMemory(nint address) => _inner.FreeMemory(address);

    /// <inheritdoc/>
    public override void UploadBytes(ReadOnlySpan<byte> source, Tensor destination) => _inner.UploadBytes(source, destination);

    /// <inheritdoc/>
    public override void DownloadBytes(Tensor source, Span<byte> destination) => _inner.DownloadBytes(source, destination);

    /// <inheritdoc/>
    public override void Synchronize() => _inner.Synchronize();

    /// <inheritdoc/>
    public override void Prepare(Weight weight)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Prepare(weight);
        Count(start, "prepare weights", 0, 0, 0, 2 * Size(weight));
    }

    /// <inheritdoc/>
    public override void Drop(Weight weight) => _inner.Drop(weight);

    /// <inheritdoc/>
    public override void Linear(Tensor x, Weight w, Tensor? bias, LowRank? lowRank, Tensor y, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Linear(x, w, bias, lowRank, y, accumulate);
        Count(start, "linear", w.Columns, w.Rows, 2.0 * x.Rows * w.Rows * (w.Columns + (lowRank?.Left.Columns ?? 0)), Size(w) + Size(x, y));
    }

    /// <inheritdoc/>
    public override void LinearBackwardInput(Tensor dy, Weight w, LowRank? lowRank, Tensor dx, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.LinearBackwardInput(dy, w, lowRank, dx, accumulate);
        Count(start, "linear backward", w.Rows, w.Columns, 2.0 * dy.Rows * w.Columns * (w.Rows + (lowRank?.Left.Columns ?? 0)), Size(w) + Size(dy, dx));
    }

    /// <inheritdoc/>
    public override void MatMul(MatMulKind kind, Tensor a, Tensor b, Tensor c, float alpha = 1, bool accumulate = false, Tensor? bias = null)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.MatMul(kind, a, b, c, alpha, accumulate, bias);
        int depth = kind == MatMulKind.TN ? a.Rows : a.Columns;
        string name = kind switch { MatMulKind.NT => "product NT", MatMulKind.NN => "product NN", _ => "product TN" };
        // A gradient's depth is the number of tokens, which is not part of its name.
        Count(start, name, kind == MatMulKind.TN ? c.Rows : depth, c.Columns, 2.0 * c.Count * depth, Size(a, b, c));
    }

    /// <inheritdoc/>
    public override void RowSquaredNorms(Weight w, Tensor norms)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.RowSquaredNorms(w, norms);
        Count(start, "row norms", 0, 0, 0, Size(w));
    }

    /// <inheritdoc/>
    public override void DoraNorm(Tensor w2, Tensor c, Tensor b, Tensor g, float scale, Tensor norm)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.DoraNorm(w2, c, b, g, scale, norm);
        Count(start, "DoRA norm", 0, 0, 0, Size(c, b));
    }

    /// <inheritdoc/>
    public override void RmsNorm(Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.RmsNorm(x, w, eps, offset, y, rstd);
        Count(start, "RMS norm", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void AddRmsNorm(Tensor a, Tensor b, Tensor w, float eps, float offset, Tensor sum, Tensor y, Tensor rstd)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AddRmsNorm(a, b, w, eps, offset, sum, y, rstd);
        Count(start, "add, RMS norm", 0, 0, 0, Size(a, b, sum) + Size(y));
    }

    /// <inheritdoc/>
    public override void RmsNormBackward(Tensor dy, Tensor x, Tensor w, float offset, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.RmsNormBackward(dy, x, w, offset, rstd, dx, accumulate, dw);
        Count(start, "RMS norm backward", 0, 0, 0, Size(dy, x, dx) + (accumulate ? Size(dx) : 0));
    }

    /// <inheritdoc/>
    public override void LayerNorm(Tensor x, Tensor w, Tensor? b, float eps, Tensor y, Tensor mean, Tensor rstd)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.LayerNorm(x, w, b, eps, y, mean, rstd);
        Count(start, "layer norm", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void LayerNormBackward(Tensor dy, Tensor x, Tensor w, Tensor mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.LayerNormBackward(dy, x, w, mean, rstd, dx, accumulate, dw, db);
        Count(start, "layer norm backward", 0, 0, 0, Size(dy, x, dx) + (accumulate ? Size(dx) : 0));
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize, bool inverse, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Rope(x, cos, sin, positions, headSize, inverse, y);
        Count(start, "rotation", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void Attention(in AttentionOperands operands)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Attention(operands);
        Count(start, "attention", 0, 0, 4 * Scores(operands), Size(operands.Query, operands.Key, operands.Value) + Size(operands.Output));
    }

    /// <inheritdoc/>
    public override void AttentionBackward(in AttentionOperands operands, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AttentionBackward(operands, dOutput, dQuery, dKey, dValue);
        Count(start, "attention backward", 0, 0, 10 * Scores(operands), 2 * (Size(operands.Query, operands.Key, operands.Value) + Size(operands.Output)));
    }

    /// <inheritdoc/>
    public override void Activate(Activation kind, Tensor x, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Activate(kind, x, y);
        Count(start, "activation", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void ActivateBackward(Activation kind, Tensor dy, Tensor x, Tensor dx, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ActivateBackward(kind, dy, x, dx, accumulate);
        Count(start, "activation backward", 0, 0, 0, Size(dy, x, dx));
    }

    /// <inheritdoc/>
    public override void GatedActivate(Activation kind, Tensor gate, Tensor up, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GatedActivate(kind, gate, up, y);
        Count(start, "gated activation", 0, 0, 0, Size(gate, up, y));
    }

    /// <inheritdoc/>
    public override void GatedActivateBackward(Activation kind, Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GatedActivateBackward(kind, dy, gate, up, dGate, dUp);
        Count(start, "gated activation backward", 0, 0, 0, Size(dy, gate, up) + Size(dGate, dUp));
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Add(a, b, y);
        Count(start, "add", 0, 0, 0, Size(a, b, y));
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float alpha, Tensor y, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Scale(x, alpha, y, accumulate);
        Count(start, "scale or copy", 0, 0, 0, Size(x, y) + (accumulate ? Size(y) : 0));
    }

    /// <inheritdoc/>
    public override void ScaleColumns(Tensor x, Tensor v, Tensor y, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ScaleColumns(x, v, y, accumulate);
        Count(start, "scale columns", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void ScaleRows(Tensor x, Tensor v, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ScaleRows(x, v, y);
        Count(start, "scale rows", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void AddRow(Tensor x, Tensor v, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AddRow(x, v, y);
        Count(start, "add a row", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void ColumnSum(Tensor x, Tensor? other, float alpha, Tensor sum, bool accumulate)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ColumnSum(x, other, alpha, sum, accumulate);
        Count(start, "column sum", 0, 0, 0, Size(x) + (other is null ? 0 : Size(other)));
    }

    /// <inheritdoc/>
    public override void VectorBinary(bool divide, Tensor a, Tensor b, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.VectorBinary(divide, a, b, y);
        Count(start, "vector product or quotient", 0, 0, 0, Size(a, b, y));
    }

    /// <inheritdoc/>
    public override void CopyColumns(Tensor x, int xColumn, Tensor y, int yColumn, int count, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.CopyColumns(x, xColumn, y, yColumn, count, accumulate);
        Count(start, "copy columns", 0, 0, 0, 2.0 * x.Rows * count * x.DType.Size());
    }

    /// <inheritdoc/>
    public override void GatherRows(Tensor x, Tensor rows, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GatherRows(x, rows, y);
        Count(start, "gather rows", 0, 0, 0, 2 * Size(y));
    }

    /// <inheritdoc/>
    public override void ScatterAddRows(Tensor x, Tensor rows, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ScatterAddRows(x, rows, y);
        Count(start, "scatter rows", 0, 0, 0, 3 * Size(x));
    }

    /// <inheritdoc/>
    public override void Embedding(Weight w, Tensor ids, float scale, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Embedding(w, ids, scale, y);
        Count(start, "embedding", 0, 0, 0, 2 * Size(y));
    }

    /// <inheritdoc/>
    public override void Dropout(Tensor x, float p, DropoutKey key, long rowOffset, Tensor y, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Dropout(x, p, key, rowOffset, y, accumulate);
        Count(start, "dropout", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void CrossEntropy(Tensor logits, Tensor targets, float gradScale, float softCap, Tensor loss, Tensor? dLogits)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.CrossEntropy(logits, targets, gradScale, softCap, loss, dLogits);
        Count(start, "cross-entropy", 0, 0, 0, Size(logits) + (dLogits is null ? 0 : Size(dLogits)));
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.SoftCap(x, cap, y);
        Count(start, "soft cap", 0, 0, 0, Size(x, y));
    }

    /// <inheritdoc/>
    public override void Sum(Tensor x, Tensor sum, bool accumulate = false)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Sum(x, sum, accumulate);
        Count(start, "sum", 0, 0, 0, Size(x));
    }

    /// <inheritdoc/>
    public override void GradientNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor lossSum, Tensor stats)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.GradientNorm(gradients, maxNorm, lossSum, stats);
        Count(start, "gradient norm", 0, 0, 0, Size(gradients));
    }

    /// <inheritdoc/>
    public override void AdamW(IReadOnlyList<AdamWTensor> tensors, AdamWSettings settings, Tensor stats)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.AdamW(tensors, settings, stats);
        double bytes = 0;
        // Parameter and both moments are read and written, the gradient is read.
        for (int i = 0; i < tensors.Count; i++) bytes += 7.0 * tensors[i].Parameter.Bytes;
        Count(start, "AdamW", 0, 0, 0, bytes);
    }

    /// <inheritdoc/>
    public override void ZeroAll(IReadOnlyList<Tensor> tensors)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.ZeroAll(tensors);
        Count(start, "zero", 0, 0, 0, Size(tensors));
    }

    /// <inheritdoc/>
    public override void Zero(Tensor x)
    {
        long start = Stopwatch.GetTimestamp();
        _inner.Zero(x);
        Count(start, "zero", 0, 0, 0, Size(x));
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _inner.Dispose();
        GC.SuppressFinalize(this);
    }

    private sealed class Sums
    {
        public long Calls, Ticks;
        public double Flops, Bytes;
    }

    // Called from the threads that call operations.
    private void Count(long start, string name, int from, int to, double flops, double bytes)
    {
        long ticks = Stopwatch.GetTimestamp() - start;
        lock (_sums)
        {
            if (!_sums.TryGetValue((name, from, to), out Sums? sums)) _sums[(name, from, to)] = sums = new Sums();
            sums.Calls++;
            sums.Ticks += ticks;
            sums.Flops += flops;
            sums.Bytes += bytes;
        }
    }

    private static double Size(Weight weight) => (double)weight.Rows * weight.Columns * weight.Source.DType.Size();

    private static double Size(Tensor a) => a.Bytes;

    private static double Size(Tensor a, Tensor b) => (double)a.Bytes + b.Bytes;

    private static double Size(Tensor a, Tensor b, Tensor c) => (double)a.Bytes + b.Bytes + c.Bytes;

    private static double Size(IReadOnlyList<Tensor> tensors)
    {
        double sum = 0;
        for (int i = 0; i < tensors.Count; i++) sum += tensors[i].Bytes;
        return sum;
    }

    /// <summary>Pairs of a query and a visible key, times the width of all heads.</summary>
    private static double Scores(in AttentionOperands operands)
    {
        long pairs = 0;
        AttentionLayout layout = operands.Layout;
        for (int i = 0; i < layout.Queries; i++) pairs += layout.KeyEnd[i] - layout.KeyStart[i];
        return (double)pairs * operands.Query.Columns;
    }
}
