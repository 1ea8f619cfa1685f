using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void RmsNorm(Tensor x, Tensor w, float eps, float offset, Tensor y, Tensor rstd)
    {
        Require.Same(y, x);
        Require.Count(w, x.Columns);
        Require.Count(rstd, x.Rows);
        float* c = Write(y, Use.Operand2), r = Write(rstd, Use.Operand3);
        _kernels.RmsNorm(Read(x, Use.Operand0), Read(w, Use.Operand1), eps, offset, c, r, x.Rows, x.Columns);
        Finish(y, c);
        Finish(rstd, r);
    }

    /// <inheritdoc/>
    public override void RmsNormBackward(Tensor dy, Tensor x, Tensor w, float offset, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw)
    {
        Require.Same(x, dy);
        Require.Same(dx, dy);
        Require.Count(w, x.Columns);
        Require.Count(rstd, x.Rows);
        float* d = Read(dy, Use.Operand0), a = Read(x, Use.Operand1), r = Read(rstd, Use.Operand3);
        // The weight's gradient comes first because dx may overwrite dy.
        NormWeightGradient(dw, d, a, null, r, x);
        float* c = Write(dx, Use.Operand4, accumulate);
        _kernels.RmsNormBackward(d, a, Read(w, Use.Operand2), offset, r, c, x.Rows, x.Columns, accumulate);
        Finish(dx, c);
    }

    /// <inheritdoc/>
    public override void LayerNorm(Tensor x, Tensor w, Tensor? b, float eps, Tensor y, Tensor mean, Tensor rstd)
    {
        Require.Same(y, x);
        Require.Count(w, x.Columns);
        if (b is not null) Require.Count(b, x.Columns);
        Require.Count(mean, x.Rows);
        Require.Count(rstd, x.Rows);
        float* c = Write(y, Use.Operand3), m = Write(mean, Use.Operand4), r = Write(rstd, Use.Operand5);
        _kernels.LayerNorm(Read(x, Use.Operand0), Read(w, Use.Operand1), ReadOptional(b, Use.Operand2), eps, c, m, r, x.Rows, x.Columns);
        Finish(y, c);
        Finish(mean, m);
        Finish(rstd, r);
    }

    /// <inheritdoc/>
    public override void LayerNormBackward(Tensor dy, Tensor x, Tensor w, Tensor mean, Tensor rstd, Tensor dx, bool accumulate, Tensor? dw, Tensor? db)
    {
        Require.Same(x, dy);
        Require.Same(dx, dy);
        Require.Count(w, x.Columns);
        Require.Count(mean, x.Rows);
        Require.Count(rstd, x.Rows);
        float* d = Read(dy, Use.Operand0), a = Read(x, Use.Operand1), r = Read(rstd, Use.Operand3), m = Read(mean, Use.Operand5);
        NormWeightGradient(dw, d, a, m, r, x);
        if (db is not null) ColumnSum(dy, null, 1f, db, accumulate: true);
        d = Read(dy, Use.Operand0);
        float* c = Write(dx, Use.Operand4, accumulate);
        _kernels.LayerNormBackward(d, a, Read(w, Use.Operand2), m, r, c, x.Rows, x.Columns, accumulate);
        Finish(dx, c);
    }

    private void NormWeightGradient(Tensor? dw, float* dy, float* x, float* mean, float* rstd, Tensor shape)
    {
        if (dw is null) return;
        Require.Count(dw, shape.Columns);
        float* c = Write(dw, Use.Operand6, load: true);
        _kernels.NormWeightGradient(dy, x, mean, rstd, c, shape.Rows, shape.Columns);
        Finish(dw, c);
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, Tensor cos, Tensor sin, Tensor positions, int headSize, bool inverse, Tensor y)
    {
        int columns = x.Columns, half = cos.Columns;
        Require.Same(y, x);
        Require.Same(sin, cos);
        Require.Count(positions, x.Rows);
        if (headSize <= 0 || columns % headSize != 0) throw new ArgumentException($"{columns} columns are not heads of {headSize}.", nameof(headSize));
        if (2 * half > headSize) throw new ArgumentException($"{2 * half} rotated elements in a head of {headSize}.", nameof(cos));
        float* c = Write(y, Use.Operand3);
        _kernels.Rope(
            Read(x, Use.Operand0), Read(cos, Use.Operand1), Read(sin, Use.Operand2), Indices(positions), headSize, 2 * half, inverse, c, x.Rows, columns);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void Dropout(Tensor x, float p, DropoutKey key, long rowOffset, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        _ = Philox.Threshold(p); // throws when p is no probability
        float* c = Write(y, Use.Operand1, accumulate);
        _kernels.Dropout(Read(x, Use.Operand0), p, key, rowOffset, c, x.Rows, x.Columns, accumulate);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void Attention(in AttentionOperands operands)
    {
        AttentionProblem p = Problem(operands);
        p.Output = Write(operands.Output, Use.Operand3);
        p.LogSumExp = Write(operands.LogSumExp, Use.Operand4);
        _kernels.Attention(p);
        Finish(operands.Output, p.Output);
        Finish(operands.LogSumExp, p.LogSumExp);
    }

    /// <inheritdoc/>
    public override void AttentionBackward(in AttentionOperands operands, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue)
    {
        AttentionProblem p = Problem(operands);
        Require.Same(dOutput, operands.Query);
        Require.Same(dQuery, operands.Query);
        Require.Same(dKey, operands.Key);
        Require.Same(dValue, operands.Value);
        p.Output = Read(operands.Output, Use.Operand3);
        p.LogSumExp = Read(operands.LogSumExp, Use.Operand4);
        float* d = Read(dOutput, Use.Operand5);
        float* dq = Write(dQuery, Use.Operand6), dk = Write(dKey, Use.Operand7), dv = Write(dValue, Use.Operand8);
        _kernels.AttentionBackward(p, d, dq, dk, dv);
        Finish(dQuery, dq);
        Finish(dKey, dk);
        Finish(dValue, dv);
    }

    private static AttentionProblem Problem(in AttentionOperands o)
    {
        if (o.Heads <= 0 || o.KeyValueHeads <= 0 || o.Heads % o.KeyValueHeads != 0 || o.Query.Columns % o.Heads != 0)
            throw new ArgumentException($"{o.Query.Columns} columns, {o.Heads} heads and {o.KeyValueHeads} key-value heads do not fit.");
        int size = o.Query.Columns / o.Heads, queries = o.Layout.Queries, keys = o.Layout.Keys;
        Require.Matrix(o.Query, queries, o.Heads * size);
        Require.Matrix(o.Key, keys, o.KeyValueHeads * size);
        Require.Matrix(o.Value, keys, o.KeyValueHeads * size);
        Require.Matrix(o.Output, queries, o.Heads * size);
        Require.Count(o.LogSumExp, (long)queries * o.Heads);
        return new AttentionProblem
        {
            Query = Read(o.Query, Use.Operand0),
            Key = Read(o.Key, Use.Operand1),
            Value = Read(o.Value, Use.Operand2),
            Layout = o.Layout,
            Queries = queries,
            Keys = keys,
            Heads = o.Heads,
            KeyValueHeads = o.KeyValueHeads,
            HeadSize = size,
            Scale = o.Scale,
            SoftCap = o.SoftCap,
        };
    }
}
