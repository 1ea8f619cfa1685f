using LoraNet.Lora;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;

namespace LoraNet.Models;

/// <summary>A node of the module tree that owns base tensors, named by its Hugging Face path.</summary>
public abstract class Module
{
    /// <summary>Creates the module.</summary>
    protected Module(string path) => Path = path;

    /// <summary>Hugging Face module path, such as <c>model.layers.3.self_attn.q_proj</c>.</summary>
    public string Path { get; }

    /// <summary>Base tensors of this module.</summary>
    public abstract IEnumerable<BaseTensor> Tensors { get; }
}

/// <summary>A linear layer y = x·Wᵀ + b, with any number of LoRA layers over it.</summary>
public sealed class LinearModule : Module
{
    /// <summary>Creates the layer from its base tensors.</summary>
    public LinearModule(string path, BaseTensor weight, BaseTensor? bias) : base(path)
    {
        if (weight.Weight is null) throw new LoraNetException($"Tensor '{weight.Name}' should be a matrix.");
        (Weight, Bias) = (weight, bias);
        if (bias is not null && bias.Source.Count != Out)
            throw new LoraNetException($"Tensor '{bias.Name}' has {bias.Source.Count} values; the {Out} outputs of '{path}' need as many.");
    }

    /// <summary>The weight [out, in].</summary>
    public BaseTensor Weight { get; }

    /// <summary>The bias [out], or null.</summary>
    public BaseTensor? Bias { get; }

    /// <summary>Input features.</summary>
    public int In => Weight.Weight!.Columns;

    /// <summary>Output features.</summary>
    public int Out => Weight.Weight!.Rows;

    /// <summary>True where the output is kept in the parameter type although activations are 16-bit: a router, whose choice of experts
    /// should not depend on the rounding of its logits.</summary>
    internal bool WideOutput { get; init; }

    /// <summary>LoRA layers of the active adapters, in the order they were activated.</summary>
    public List<LoraLayer> Active { get; } = [];

    /// <summary>Layers of active adapters of other methods.</summary>
    public List<MethodLayer> Methods { get; } = [];

    /// <inheritdoc/>
    public override IEnumerable<BaseTensor> Tensors => Bias is null ? [Weight] : [Weight, Bias];

    /// <summary>y [M, out] for x [M, in], adapters included.</summary>
    public Tensor Forward(Tape tape, Tensor x, ForwardContext context)
    {
        context.Observer?.Invoke(this, x);
        if (Methods.Count == 0) return ForwardLora(tape, x, context);
        Arena.Retain(x);
        foreach (MethodLayer method in Methods) x = method.Input(tape, x);
        Tensor y = ForwardLora(tape, x, context);
        foreach (MethodLayer method in Methods) y = method.Output(tape, x, y, context);
        Arena.Release(x);
        return y;
    }

    /// <summary>Two or three layers over the same input: one pass over it where all of them are only a frozen product.</summary>
    internal static (Tensor First, Tensor Second, Tensor Third) Forward(Tape tape, Tensor x, ForwardContext context, LinearModule first, LinearModule second, LinearModule? third = null)
    {
        if (tape.Recording || context.Observer is not null || !first.IsPlain || !second.IsPlain || third is { IsPlain: false })
            return (first.Forward(tape, x, context), second.Forward(tape, x, context), third?.Forward(tape, x, context)!);
        Tensor a = tape.Rent(x.Rows, first.Out), b = tape.Rent(x.Rows, second.Out), c = third is null ? null! : tape.Rent(x.Rows, third.Out);
        LinearPart one = Part(first, a), two = Part(second, b);
        if (third is null) tape.Backend.LinearTogether(x, [one, two]);
        else tape.Backend.LinearTogether(x, [one, two, Part(third, c)]);
        return (a, b, c);

        static LinearPart Part(LinearModule linear, Tensor y) => new(linear.Weight.Weight!, linear.Bias?.Vector, y);
    }

    /// <summary>h + the layer's output for x, in place where nothing is recorded and nobody else holds h. Takes over the caller's reference to h.</summary>
    internal Tensor AddTo(Tape tape, Tensor h, Tensor x, ForwardContext context)
    {
        if (tape.Recording || context.Observer is not null || !IsPlain || !Arena.IsSole(h)) return DecoderLayer.AddResidual(tape, h, Forward(tape, x, context));
        tape.Backend.Linear(x, Weight.Weight!, Bias?.Vector, null, h, accumulate: true);
        return h;
    }

    private bool IsPlain => Active.Count == 0 && Methods.Count == 0 && Weight.Override is null && !WideOutput;

    private Tensor ForwardLora(Tape tape, Tensor x, ForwardContext context)
    {
        if (Weight.Override is not null) return DenseLinearOp.Forward(tape, x, Weight.Override.Value, Bias?.Vector);
        foreach (LoraLayer layer in Active)
            if (layer.Magnitude is not null) return DoraLinearOp.Forward(tape, x, this, context);
        return LoraLinearOp.Forward(tape, x, this, context);
    }
}

/// <summary>Root-mean-square or layer norm.</summary>
public sealed class NormModule : Module
{
    private readonly float _eps;
    private readonly float _offset;
    private readonly bool _centred;

    /// <summary>Creates the norm.</summary>
    /// <param name="path">Module path.</param>
    /// <param name="weight">Weight of the normalised width.</param>
    /// <param name="bias">Bias, layer norm only.</param>
    /// <param name="eps">Added to the variance.</param>
    /// <param name="offset">1 for Gemma's 1 + w, else 0.</param>
    /// <param name="centred">True for layer norm.</param>
    public NormModule(string path, BaseTensor weight, BaseTensor? bias, float eps, float offset, bool centred) : base(path)
    {
        (Weight, Bias, _eps, _offset, _centred) = (weight, bias, eps, offset, centred);
    }

    /// <summary>The weight.</summary>
    public BaseTensor Weight { get; }

    /// <summary>The bias, or null.</summary>
    public BaseTensor? Bias { get; }

    /// <inheritdoc/>
    public override IEnumerable<BaseTensor> Tensors => Bias is null ? [Weight] : [Weight, Bias];

    /// <summary>a + b and its norm; the weight is as wide as the rows.</summary>
    public (Tensor Sum, Tensor Normed) ForwardSum(Tape tape, Tensor a, Tensor b)
    {
        if (!_centred) return RmsNormOp.ForwardSum(tape, a, b, Weight.Vector, _eps, _offset);
        Tensor sum = AddOp.Forward(tape, a, b);
        return (sum, Forward(tape, sum));
    }

    /// <summary>Normalises each row, or each group of the weight's width within a row.</summary>
    public Tensor Forward(Tape tape, Tensor x) => _centred
        ? LayerNormOp.Forward(tape, x, Weight.Vector, Bias?.Vector, _eps)
        : RmsNormOp.Forward(tape, x, Weight.Vector, _eps, _offset);
}

/// <summary>A table of vectors looked up by id.</summary>
public sealed class EmbeddingModule : Module
{
    /// <summary>Creates the embedding.</summary>
    /// <param name="path">Module path.</param>
    /// <param name="weight">Table [vocabulary, dim].</param>
    /// <param name="scale">Factor on the output (√hidden for Gemma), 1 otherwise.</param>
    public EmbeddingModule(string path, BaseTensor weight, float scale) : base(path) => (Weight, Scale) = (weight, scale);

    /// <summary>The table.</summary>
    public BaseTensor Weight { get; }

    /// <summary>Factor on the output.</summary>
    public float Scale { get; }

    /// <summary>LoRA layers of the active adapters.</summary>
    public List<LoraLayer> Active { get; } = [];

    /// <inheritdoc/>
    public override IEnumerable<BaseTensor> Tensors => [Weight];

    /// <summary>y [M, dim] for ids [M].</summary>
    public Tensor Forward(Tape tape, Tensor ids, ForwardContext? context = null)
    {
        if (Weight.Override is null)
            foreach (LoraLayer layer in Active)
                if (layer.Magnitude is not null) return DoraEmbeddingOp.Forward(tape, ids, this);
        return LoraEmbeddingOp.Forward(tape, ids, this, context?.Adapters);
    }
}
