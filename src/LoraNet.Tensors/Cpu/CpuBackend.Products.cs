using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void Linear(Tensor x, Weight w, Tensor? bias, LowRank? lowRank, Tensor y, bool accumulate = false)
    {
        int m = x.Rows, n = w.Rows, k = w.Columns;
        Require.Matrix(x, m, k);
        Require.Matrix(y, m, n);
        float* c = Write(y, Use.Operand1, accumulate);
        GemmProblem p = new() { M = m, N = n, K = k, A = Read(x, Use.Operand0), ALd = k, Alpha = 1f, C = c, CLd = n, Accumulate = accumulate };
        SetWeight(ref p, w, forward: true);
        if (bias is not null)
        {
            Require.Count(bias, n);
            float* b = Read(bias, Use.Operand2);
            if (accumulate) _kernels.AddRow(c, b, c, m, n);
            else p.Bias = b;
        }
        if (lowRank is { } low)
        {
            int r = low.Left.Columns;
            Require.Matrix(low.Left, m, r);
            Require.Matrix(low.Right, n, r);
            SetLowRank(ref p, low, r, columns: true);
        }
        _kernels.Gemm(ref p);
        GC.KeepAlive(w.Source.Owner);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void LinearBackwardInput(Tensor dy, Weight w, LowRank? lowRank, Tensor dx, bool accumulate = false)
    {
        int m = dy.Rows, n = w.Rows, k = w.Columns;
        Require.Matrix(dy, m, n);
        Require.Matrix(dx, m, k);
        float* c = Write(dx, Use.Operand1, accumulate);
        GemmProblem p = new() { M = m, N = k, K = n, A = Read(dy, Use.Operand0), ALd = n, Alpha = 1f, C = c, CLd = k, Accumulate = accumulate };
        SetWeight(ref p, w, forward: false);
        if (lowRank is { } low)
        {
            int r = low.Left.Columns;
            Require.Matrix(low.Left, m, r);
            Require.Matrix(low.Right, r, k);
            SetLowRank(ref p, low, r, columns: false);
        }
        _kernels.Gemm(ref p);
        GC.KeepAlive(w.Source.Owner);
        Finish(dx, c);
    }

    /// <inheritdoc/>
    public override void MatMul(MatMulKind kind, Tensor a, Tensor b, Tensor c, float alpha = 1, bool accumulate = false, Tensor? bias = null)
    {
        if (accumulate && bias is not null) throw new ArgumentException("A bias is added only without accumulate.", nameof(bias));
        int m = c.Rows, n = c.Columns, k = kind == MatMulKind.TN ? a.Rows : a.Columns;
        Require.Matrix(a, kind == MatMulKind.TN ? k : m, kind == MatMulKind.TN ? m : k);
        Require.Matrix(b, kind == MatMulKind.NT ? n : k, kind == MatMulKind.NT ? k : n);
        if (bias is not null) Require.Count(bias, n);
        float* target = Write(c, Use.Operand1, accumulate);
        GemmProblem p = new()
        {
            M = m,
            N = n,
            K = k,
            A = Read(a, Use.Operand0),
            ALd = kind == MatMulKind.TN ? m : k,
            ATransposed = kind == MatMulKind.TN,
            Alpha = alpha,
            B = Read(b, Use.Operand2),
            BLd = kind == MatMulKind.NT ? k : n,
            BType = DType.F32,
            BSource = kind == MatMulKind.NT ? BSource.Columns : BSource.Rows,
            Bias = ReadOptional(bias, Use.Operand3),
            C = target,
            CLd = n,
            Accumulate = accumulate,
        };
        _kernels.Gemm(ref p);
        Finish(c, target);
    }

    private void SetWeight(ref GemmProblem p, Weight w, bool forward)
    {
        PackedWeight form = Form(w);
        p.B = (void*)form.Address;
        p.BType = form.Type;
        if (form.Panels)
        {
            p.BSource = forward ? BSource.Panels : BSource.PanelsAcross;
            p.BLd = w.Columns;
            return;
        }
        p.BSource = forward != w.Transposed ? BSource.Columns : BSource.Rows;
        p.BLd = w.Source.Shape[1];
    }

    private static void SetLowRank(ref GemmProblem p, LowRank low, int rank, bool columns)
    {
        if (rank == 0) return;
        p.R = rank;
        p.LowA = Read(low.Left, Use.Operand3);
        p.LowB = Read(low.Right, Use.Operand4);
        p.LowBColumns = columns;
        p.LowBLd = low.Right.Columns;
    }
}
