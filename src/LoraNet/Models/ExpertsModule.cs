namespace LoraNet.Models;

/// <summary>
/// A tensor that transformers holds stacked over the experts of a layer, [experts, out, in], though the files have one matrix an
/// expert and projection. Matrix e consists of the rows of <c>Parts[e]</c>, one below the other.
/// </summary>
/// <param name="Name">Name of the parameter, such as <c>gate_up_proj</c>.</param>
/// <param name="Parts">The linear layers of each expert.</param>
public sealed record StackedWeight(string Name, IReadOnlyList<IReadOnlyList<LinearModule>> Parts)
{
    /// <summary>Number of experts.</summary>
    public int Experts => Parts.Count;

    /// <summary>Output features of an expert's matrix.</summary>
    public int Out => Parts[0].Sum(p => p.Out);

    /// <summary>Input features.</summary>
    public int In => Parts[0][0].In;
}

/// <summary>
/// The experts of a layer under the name that transformers (from version 5 on) gives them, for adapters that name its stacked
/// parameters (<c>target_parameters</c>). It owns no tensors: they are those of the experts' linear layers.
/// </summary>
public sealed class ExpertsModule : Module
{
    /// <summary>Creates the module.</summary>
    /// <param name="path">Such as <c>model.layers.0.mlp.experts</c>.</param>
    /// <param name="stacked">Its parameters in the order in which transformers registers them.</param>
    public ExpertsModule(string path, IReadOnlyList<StackedWeight> stacked) : base(path) => Stacked = stacked;

    /// <summary>Its parameters.</summary>
    public IReadOnlyList<StackedWeight> Stacked { get; }

    /// <inheritdoc/>
    public override IEnumerable<BaseTensor> Tensors => [];
}
