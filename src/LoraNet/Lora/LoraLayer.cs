using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>One adapter's tensors over one module (Hu et al., 2021): ΔW = scaling · B·A.</summary>
public sealed class LoraLayer : IDisposable
{
    private double _multiplier = 1;

    /// <summary>Creates the layer over existing parameters.</summary>
    public LoraLayer(string modulePath, string adapter, double scaling, float dropout, Parameter a, Parameter b, Parameter? bias, Parameter? magnitude)
    {
        (ModulePath, Adapter, BaseScaling, Dropout, A, B, Bias, Magnitude) = (modulePath, adapter, scaling, dropout, a, b, bias, magnitude);
    }

    /// <summary>Path of the adapted module.</summary>
    public string ModulePath { get; }

    /// <summary>Adapter name.</summary>
    public string Adapter { get; }

    /// <summary>alpha / r, or alpha / √r with rsLoRA.</summary>
    public double BaseScaling { get; internal set; }

    /// <summary>A factor on the scaling that callers may set; 1 by default, 0 switches the layer off.</summary>
    public double Multiplier
    {
        get => _multiplier;
        set
        {
            _multiplier = value;
            if (Initial is not null) Initial.Multiplier = value;
        }
    }

    /// <summary>The factor s of this forward.</summary>
    public float Scaling => (float)(BaseScaling * Multiplier);

    /// <summary>Probability of dropping an input of A while training.</summary>
    public float Dropout { get; }

    /// <summary>A [r, in]; for embeddings [vocabulary, r] in memory.</summary>
    public Parameter A { get; }

    /// <summary>B [out, r].</summary>
    public Parameter B { get; }

    /// <summary>The bias on B (lora_bias), or null.</summary>
    public Parameter? Bias { get; }

    /// <summary>DoRA's magnitude m [out], or null.</summary>
    public Parameter? Magnitude { get; }

    /// <summary>
    /// What the initialisation took from the base weight (PiSSA, OLoRA): a frozen layer with the first A and B, scaling −s and no
    /// dropout, active whenever this one is. Null for other layers.
    /// </summary>
    internal LoraLayer? Initial { get; init; }

    /// <summary>Rank r.</summary>
    public int Rank => B.Value[1];

    /// <summary>All parameters of the layer.</summary>
    public IEnumerable<Parameter> Parameters
    {
        get
        {
            yield return A;
            yield return B;
            if (Bias is not null) yield return Bias;
            if (Magnitude is not null) yield return Magnitude;
        }
    }

    /// <summary>‖W‖² per output row, cached for DoRA's norm; null until first used.</summary>
    internal Tensor? SquaredNorms { get; set; }

    /// <summary>0, 1, 2 … over an embedding's table, for DoRA's norm; null until first used.</summary>
    internal Tensor? TableRows { get; set; }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Parameter parameter in Parameters) parameter.Dispose();
        Initial?.Dispose();
        if (SquaredNorms is not null) SquaredNorms.Backend.Free(SquaredNorms);
        if (TableRows is not null) TableRows.Backend.Free(TableRows);
    }
}
