using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>
/// LoRA over a stacked parameter of fused experts, as PEFT's target_parameters has it: ΔWₑ = s·Bₑ·Aₑ for each expert e. Files hold A
/// [E·r, in] with the experts one below the other and B [out, r·E] with the expert running fastest; in memory B is [E·out, r], so that
/// each expert's factors are rows, and each of its linear layers has a plain LoRA layer over them.
/// </summary>
public sealed class StackedLoraLayer : AdapterPart
{
    private readonly List<LoraLayer> _slices = [];

    /// <summary>Creates the layer.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="module">The experts.</param>
    /// <param name="weight">The stacked parameter.</param>
    /// <param name="adapter">Adapter name.</param>
    /// <param name="filePath">Path under which files hold A and B: with PEFT's nesting, if several parameters are adapted.</param>
    /// <param name="rank">r.</param>
    /// <param name="scaling">s.</param>
    /// <param name="a">A [E·r, in].</param>
    /// <param name="b">B [E·out, r] in memory order.</param>
    internal StackedLoraLayer(Backend backend, ExpertsModule module, StackedWeight weight, string adapter, string filePath, int rank, double scaling, float[] a, float[] b)
        : base(module.Path, adapter)
    {
        (Weight, Rank, Scaling) = (weight, rank, scaling);
        A = new Parameter(backend, filePath + ".lora_A.weight", ParameterKind.LoraA, a, [weight.Experts * rank, weight.In]);
        B = new Parameter(backend, filePath + ".lora_B.weight", ParameterKind.LoraB, b, [weight.Experts * weight.Out, rank]) { Stacked = weight.Experts };
        for (int e = 0; e < weight.Experts; e++)
        {
            int row = e * weight.Out;
            foreach (LinearModule part in weight.Parts[e])
            {
                Parameter down = A.Slice($"{part.Path}.lora_A.weight", e * rank, rank), up = B.Slice($"{part.Path}.lora_B.weight", row, part.Out);
                _slices.Add(new LoraLayer(part.Path, adapter, scaling, 0, down, up, null, null));
                row += part.Out;
            }
        }
    }

    /// <summary>The adapted parameter.</summary>
    public StackedWeight Weight { get; }

    /// <summary>Rank of each expert's change.</summary>
    public int Rank { get; }

    /// <summary>alpha / r, or alpha / √r.</summary>
    public double Scaling { get; }

    /// <summary>A of all experts.</summary>
    public Parameter A { get; }

    /// <summary>B of all experts.</summary>
    public Parameter B { get; }

    /// <summary>The experts' linear layers, over rows of <see cref="A"/> and <see cref="B"/>.</summary>
    public IReadOnlyList<LoraLayer> Slices => _slices;

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [A, B];

    /// <inheritdoc/>
    internal override void Activate(PretrainedModel model)
    {
        foreach (LoraLayer slice in _slices) ((LinearModule)model.Find(slice.ModulePath)!).Active.Add(slice);
    }
}
