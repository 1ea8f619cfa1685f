using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace LoraNet.Lora;

/// <summary>(IA)³ (Liu et al., 2022): one learned vector a module, over its outputs, or over its inputs where it is a feed-forward module.</summary>
public sealed record Ia3Settings : MethodSettings
{
    /// <summary>Modules whose inputs are scaled; they must be among the targets. Null takes the model's down projections with the family's targets.</summary>
    public ModuleSelector? FeedForwardModules { get; init; }

    /// <inheritdoc/>
    public override string PeftType => "IA3";

    /// <inheritdoc/>
    internal override bool HasRank => false;

    /// <summary>PEFT's rule: a list entry matches by plain suffix, without a dot boundary; a pattern must match the whole path.</summary>
    internal bool IsFeedForward(string path) => FeedForwardModules is { } selector
        && (selector.Names is { } names ? names.Any(n => path.EndsWith(n, StringComparison.Ordinal)) : ModuleMatcher.Selects(selector, path));

    /// <inheritdoc/>
    internal override MethodLayer Create(MethodContext c)
    {
        bool input = IsFeedForward(c.Module.Path);
        int count = input ? c.Module.In : c.Module.Out;
        float[] values = c.Random ? c.Normal("ia3_l", count) : [.. Enumerable.Repeat(1f, count)];
        return new Ia3Layer(c.Module, c.Adapter, c.Factor("ia3_l", values, [count], storedShape: input ? [1, count] : [count, 1]), input);
    }
}

/// <summary>y = l ⊙ (x·Wᵀ + b), or y = (l ⊙ x)·Wᵀ + b for a feed-forward module.</summary>
public sealed class Ia3Layer : MethodLayer
{
    internal Ia3Layer(LinearModule module, string adapter, Parameter vector, bool scalesInput) : base(module, adapter) => (Vector, ScalesInput) = (vector, scalesInput);

    /// <summary>l.</summary>
    public Parameter Vector { get; }

    /// <summary>True for a feed-forward module.</summary>
    public bool ScalesInput { get; }

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [Vector];

    /// <inheritdoc/>
    internal override Tensor Input(Tape tape, Tensor x) => ScalesInput ? Scaled(tape, x) : x;

    /// <inheritdoc/>
    internal override Tensor Output(Tape tape, Tensor x, Tensor y, ForwardContext context) => ScalesInput ? y : Scaled(tape, y);

    /// <inheritdoc/>
    internal override void MergeOutput(float[] w, int outputs, int inputs)
    {
        if (ScalesInput) return;
        float[] l = Vector.ToFile();
        for (int o = 0; o < outputs; o++) TensorPrimitives.Multiply(w.AsSpan(o * inputs, inputs), l[o], w.AsSpan(o * inputs, inputs));
    }

    /// <inheritdoc/>
    internal override void MergeInput(float[] w, int outputs, int inputs)
    {
        if (!ScalesInput) return;
        float[] l = Vector.ToFile();
        for (int o = 0; o < outputs; o++) TensorPrimitives.Multiply(w.AsSpan(o * inputs, inputs), l, w.AsSpan(o * inputs, inputs));
    }

    /// <inheritdoc/>
    internal override void MergeBias(float[] bias)
    {
        if (!ScalesInput) TensorPrimitives.Multiply(bias, Vector.ToFile(), bias);
    }

    private Tensor Scaled(Tape tape, Tensor x)
    {
        Tensor y = ScaledColumnsOp.Forward(tape, x, Vector);
        Arena.Release(x);
        return y;
    }
}
