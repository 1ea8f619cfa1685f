using LoraNet.Tensors.Operators;
using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void Activate(Activation kind, Tensor x, Tensor y)
    {
        Require.Same(y, x);
        float* a = Read(x, Use.Operand0), c = Write(y, Use.Operand1);
        switch (kind)
        {
            case Activation.Silu: _kernels.Activate<SiluOperator>(a, c, x.Count); break;
            case Activation.Gelu: _kernels.Activate<GeluOperator>(a, c, x.Count); break;
            case Activation.GeluTanh: _kernels.Activate<GeluTanhOperator>(a, c, x.Count); break;
            case Activation.Relu: _kernels.Activate<ReluOperator>(a, c, x.Count); break;
            case Activation.Tanh: _kernels.Activate<TanhOperator>(a, c, x.Count); break;
            default: throw new ArgumentOutOfRangeException(nameof(kind));
        }
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void ActivateBackward(Activation kind, Tensor dy, Tensor x, Tensor dx, bool accumulate = false)
    {
        Require.Same(x, dy);
        Require.Same(dx, dy);
        float* d = Read(dy, Use.Operand0), a = Read(x, Use.Operand1), c = Write(dx, Use.Operand2, accumulate);
        switch (kind)
        {
            case Activation.Silu: _kernels.ActivateBackward<SiluOperator>(d, a, c, x.Count, accumulate); break;
            case Activation.Gelu: _kernels.ActivateBackward<GeluOperator>(d, a, c, x.Count, accumulate); break;
            case Activation.GeluTanh: _kernels.ActivateBackward<GeluTanhOperator>(d, a, c, x.Count, accumulate); break;
            case Activation.Relu: _kernels.ActivateBackward<ReluOperator>(d, a, c, x.Count, accumulate); break;
            case Activation.Tanh: _kernels.ActivateBackward<TanhOperator>(d, a, c, x.Count, accumulate); break;
            default: throw new ArgumentOutOfRangeException(nameof(kind));
        }
        Finish(dx, c);
    }

    /// <inheritdoc/>
    public override void GatedActivate(Activation kind, Tensor gate, Tensor up, Tensor y)
    {
        Require.Same(up, gate);
        Require.Same(y, gate);
        float* g = Read(gate, Use.Operand0), u = Read(up, Use.Operand1), c = Write(y, Use.Operand2);
        switch (kind)
        {
            case Activation.Silu: _kernels.Gated<SiluOperator>(g, u, c, y.Count); break;
            case Activation.Gelu: _kernels.Gated<GeluOperator>(g, u, c, y.Count); break;
            case Activation.GeluTanh: _kernels.Gated<GeluTanhOperator>(g, u, c, y.Count); break;
            case Activation.Relu: _kernels.Gated<ReluOperator>(g, u, c, y.Count); break;
            case Activation.Tanh: _kernels.Gated<TanhOperator>(g, u, c, y.Count); break;
            default: throw new ArgumentOutOfRangeException(nameof(kind));
        }
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void GatedActivateBackward(Activation kind, Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp)
    {
        Require.Same(gate, dy);
        Require.Same(up, dy);
        Require.Same(dGate, dy);
        Require.Same(dUp, dy);
        float* d = Read(dy, Use.Operand0), g = Read(gate, Use.Operand1), u = Read(up, Use.Operand2);
        float* dg = Write(dGate, Use.Operand3), du = Write(dUp, Use.Operand4);
        switch (kind)
        {
            case Activation.Silu: _kernels.GatedBackward<SiluOperator>(d, g, u, dg, du, dy.Count); break;
            case Activation.Gelu: _kernels.GatedBackward<GeluOperator>(d, g, u, dg, du, dy.Count); break;
            case Activation.GeluTanh: _kernels.GatedBackward<GeluTanhOperator>(d, g, u, dg, du, dy.Count); break;
            case Activation.Relu: _kernels.GatedBackward<ReluOperator>(d, g, u, dg, du, dy.Count); break;
            case Activation.Tanh: _kernels.GatedBackward<TanhOperator>(d, g, u, dg, du, dy.Count); break;
            default: throw new ArgumentOutOfRangeException(nameof(kind));
        }
        Finish(dGate, dg);
        Finish(dUp, du);
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Require.Same(b, a);
        Require.Same(y, a);
        float* c = Write(y, Use.Operand2);
        _kernels.Add(Read(a, Use.Operand0), Read(b, Use.Operand1), c, y.Count);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float alpha, Tensor y, bool accumulate = false)
    {
        Require.Same(y, x);
        float* c = Write(y, Use.Operand1, accumulate);
        _kernels.Scale(Read(x, Use.Operand0), alpha, c, y.Count, accumulate);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void VectorBinary(bool divide, Tensor a, Tensor b, Tensor y)
    {
        Require.Count(b, a.Count);
        Require.Count(y, a.Count);
        float* c = Write(y, Use.Operand2);
        _kernels.VectorBinary(divide, Read(a, Use.Operand0), Read(b, Use.Operand1), c, y.Count);
        Finish(y, c);
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        Require.Same(y, x);
        float* c = Write(y, Use.Operand1);
        _kernels.SoftCap(Read(x, Use.Operand0), cap, c, y.Count);
        Finish(y, c);
    }
}
