using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Lora;

/// <summary>LoHa (Hyeon-Woo et al., 2022; LyCORIS): ΔW = s·(W₁a·W₁b) ⊙ (W₂a·W₂b), of rank up to r².</summary>
public sealed record LoHaSettings : MatrixSettings
{
    /// <inheritdoc/>
    public override string PeftType => "LOHA";

    /// <inheritdoc/>
    internal override bool ScalesRankDropout => true;

    /// <inheritdoc/>
    internal override MethodLayer Create(MethodContext context) => new LoHaLayer(context, this);
}

/// <summary>LoHa's factors for one module: W₁a, W₂a [out, r] and W₁b, W₂b [r, in].</summary>
public sealed class LoHaLayer : MatrixLayer
{
    private readonly Parameter _w1a, _w1b, _w2a, _w2b;

    internal LoHaLayer(MethodContext c, LoHaSettings settings) : base(c, settings)
    {
        (int outputs, int inputs) = (c.Module.Out, c.Module.In);
        _w1a = c.Uniform("hada_w1_a", outputs, c.Rank);
        _w1b = c.Uniform("hada_w1_b", c.Rank, inputs);
        _w2a = c.Uniform("hada_w2_a", outputs, c.Rank);
        _w2b = c.Random ? c.Uniform("hada_w2_b", c.Rank, inputs) : c.Zeros("hada_w2_b", c.Rank, inputs);
    }

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [_w1a, _w1b, _w2a, _w2b];

    /// <inheritdoc/>
    internal override Tensor Delta(Tape tape)
    {
        Tensor delta = Product(tape, _w1a, _w1b), second = Product(tape, _w2a, _w2b);
        tape.Backend.VectorBinary(divide: false, delta, second, delta);
        tape.Backend.Scale(delta, Scaling, delta);
        Arena.Release(second);
        return delta;
    }

    /// <inheritdoc/>
    internal override void DeltaBackward(Tape tape, Tensor gradient)
    {
        Backend backend = tape.Backend;
        backend.Scale(gradient, Scaling, gradient);
        Side(_w1a, _w1b, Product(tape, _w2a, _w2b));
        Side(_w2a, _w2b, Product(tape, _w1a, _w1b));

        // d(Wa·Wb) = G ⊙ other, dWa = d·Wbᵀ, dWb = Waᵀ·d.
        void Side(Parameter a, Parameter b, Tensor other)
        {
            backend.VectorBinary(divide: false, gradient, other, other);
            backend.MatMul(MatMulKind.NT, other, b.Value, a.Gradient, accumulate: true);
            backend.MatMul(MatMulKind.TN, a.Value, other, b.Gradient, accumulate: true);
            Arena.Release(other);
        }
    }

    private static Tensor Product(Tape tape, Parameter a, Parameter b)
    {
        Tensor product = tape.Arena.Rent(tape.Backend.ParameterType, a.Value[0], b.Value[1]);
        tape.Backend.MatMul(MatMulKind.NN, a.Value, b.Value, product);
        return product;
    }
}
