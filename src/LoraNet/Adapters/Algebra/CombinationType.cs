namespace LoraNet.Adapters;

/// <summary>
/// How several adapters become one. ΔWᵢ = sᵢ·Bᵢ·Aᵢ is what adapter i adds to a weight, with its own scaling counted once;
/// wᵢ are the given weights. Names in files and on the command line are PEFT's: <c>linear</c>, <c>dare_ties_svd</c> and so on.
/// </summary>
public enum CombinationType
{
    /// <summary>Σ wᵢ·ΔWᵢ exactly, at the smallest rank that holds it.</summary>
    Linear,
    /// <summary>Σ wᵢ·ΔWᵢ exactly, factors side by side: rank Σ rᵢ.</summary>
    Cat,
    /// <summary>The best approximation of Σ wᵢ·ΔWᵢ at a given rank (truncated SVD; Eckart &amp; Young, 1936).</summary>
    Svd,
    /// <summary>TIES (Yadav et al., 2023) on A and B separately; equal ranks only.</summary>
    Ties,
    /// <summary>TIES on ΔWᵢ, then a truncated SVD.</summary>
    TiesSvd,
    /// <summary>DARE (Yu et al., 2024) and a weighted sum, on A and B separately; equal ranks only.</summary>
    DareLinear,
    /// <summary>DARE and a weighted sum on ΔWᵢ, then a truncated SVD.</summary>
    DareLinearSvd,
    /// <summary>DARE, then TIES' election of signs, on A and B separately; equal ranks only.</summary>
    DareTies,
    /// <summary>DARE, then TIES' election of signs on ΔWᵢ, then a truncated SVD.</summary>
    DareTiesSvd,
    /// <summary>The largest values of A and B each, weighted and added; equal ranks only.</summary>
    MagnitudePrune,
    /// <summary>The largest values of each ΔWᵢ, weighted and added, then a truncated SVD.</summary>
    MagnitudePruneSvd,
}

/// <summary>How TIES elects the sign of an entry.</summary>
public enum MajoritySign
{
    /// <summary>The sign of the sum of values.</summary>
    Total,
    /// <summary>The sign that more adapters have.</summary>
    Frequency,
}

/// <summary>Whether PEFT's results are wanted where they differ from the weighted sum.</summary>
public enum PeftCompatibility
{
    /// <summary>No: every form is what its definition says.</summary>
    None,
    /// <summary>PEFT 0.21: linear works on A and B separately and has cross terms; svd takes the largest rank of all modules.</summary>
    Peft021,
    /// <summary>PEFT up to 0.20: besides, the svd forms count s twice, and a combination of rsLoRA adapters is √r too large.</summary>
    Peft020,
}

/// <summary>Settings of <see cref="AdapterAlgebra.Combine"/>.</summary>
public sealed record CombineOptions
{
    /// <summary>Name of the new adapter.</summary>
    public string Name { get; init; } = "combined";
    /// <summary>Rank of the svd forms; null takes the largest rank among the adapters of each module.</summary>
    public int? Rank { get; init; }
    /// <summary>Share of entries kept by ties, dare and magnitude_prune, in (0, 1]; they require it.</summary>
    public double? Density { get; init; }
    /// <summary>How TIES elects signs.</summary>
    public MajoritySign MajoritySign { get; init; }
    /// <summary>Seed of DARE's masks.</summary>
    public ulong Seed { get; init; } = 42;
    /// <summary>Whose results to give where PEFT's differ; see docs/peft-compatibility.md.</summary>
    public PeftCompatibility Peft { get; init; }
}
