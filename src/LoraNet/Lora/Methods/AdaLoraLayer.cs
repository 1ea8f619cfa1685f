using LoraNet.Adapters;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>
/// AdaLoRA (Zhang et al., 2023): ΔW = s·P·Λ·Q with s = alpha / (init_r + 1e-5), whose diagonal Λ is pruned during training until the
/// ranks of all modules meet a budget. <see cref="LoraConfig.Rank"/> is init_r.
/// </summary>
public sealed record AdaLoraSettings : MethodSettings
{
    /// <summary>Mean rank at the end (target_r).</summary>
    public int TargetRank { get; init; } = 8;

    /// <summary>Steps before the budget shrinks (tinit).</summary>
    public int InitialSteps { get; init; }

    /// <summary>Steps at the end, at the final budget (tfinal).</summary>
    public int FinalSteps { get; init; }

    /// <summary>Steps between allocations (deltaT).</summary>
    public int Interval { get; init; } = 1;

    /// <summary>Decay of the sensitivity's mean (beta1).</summary>
    public double Beta1 { get; init; } = 0.85;

    /// <summary>Decay of its uncertainty's mean (beta2).</summary>
    public double Beta2 { get; init; } = 0.85;

    /// <summary>Weight of the penalty ‖PᵀP − I‖ and ‖QQᵀ − I‖ (orth_reg_weight).</summary>
    public double OrthogonalWeight { get; init; } = 0.5;

    /// <summary>Steps of the whole training (total_step).</summary>
    public int TotalSteps { get; init; }

    /// <summary>Which of the init_r components each module has kept, by module path; empty before the first allocation.</summary>
    public IReadOnlyList<KeyValuePair<string, bool[]>> Kept { get; init; } = [];

    /// <inheritdoc/>
    public override string PeftType => "ADALORA";

    /// <inheritdoc/>
    internal override bool HasDropout => true;

    /// <inheritdoc/>
    internal override bool HasBias => true;

    /// <inheritdoc/>
    internal override void Validate(LoraConfig config)
    {
        if (config.RankPattern.Count + config.AlphaPattern.Count > 0) throw new LoraNetException("AdaLoRA finds the ranks itself, with one alpha.", "Leave rank_pattern and alpha_pattern out.");
        if (TargetRank <= 0 || TargetRank > config.Rank) throw new LoraNetException($"target_r is {TargetRank}; it must be between 1 and init_r, which is {config.Rank}.");
        if (InitialSteps < 0 || FinalSteps < 0 || Interval < 1) throw new LoraNetException("tinit and tfinal must not be negative, and deltaT must be positive.");
        if (!(Beta1 is > 0 and < 1) || !(Beta2 is > 0 and < 1)) throw new LoraNetException("beta1 and beta2 must lie between 0 and 1.");
        if (!(OrthogonalWeight >= 0)) throw new LoraNetException($"orth_reg_weight is {OrthogonalWeight}; it must not be negative.");
    }

    /// <inheritdoc/>
    internal override MethodLayer Create(MethodContext c)
    {
        bool[]? kept = Kept.FirstOrDefault(k => k.Key == c.Module.Path).Value;
        if (kept is not null && kept.Length != c.Rank)
            throw new LoraNetException($"rank_pattern has {kept.Length} entries for '{c.Module.Path}', but init_r is {c.Rank}.", "The file was changed by hand, or belongs to another adapter.");
        int rank = kept?.Count(k => k) ?? c.Rank;
        (int outputs, int inputs) = (c.Module.Out, c.Module.In);
        double deviation = c.Random ? 1 : 0.02;
        double alpha = c.Config.Alpha > 0 ? c.Config.Alpha : c.Rank;
        return new AdaLoraLayer(c.Module, c.Adapter, alpha / (c.Rank + 1e-5), c.Config.Dropout,
            c.Factor("lora_A", c.Normal("lora_A", rank * inputs, deviation), [rank, inputs], ParameterKind.LoraA),
            c.Factor("lora_B", c.Normal("lora_B", outputs * rank, deviation), [outputs, rank], ParameterKind.LoraB),
            c.Factor("lora_E", c.Random ? c.Normal("lora_E", rank) : new float[rank], [rank], storedShape: [rank, 1]));
    }
}

/// <summary>AdaLoRA's factors for one module: A = Q [r, in], B = P [out, r], E = diag Λ [r].</summary>
public sealed class AdaLoraLayer : DiagonalLayer
{
    internal AdaLoraLayer(LinearModule module, string adapter, double scaling, double dropout, Parameter a, Parameter b, Parameter e) : base(module, adapter, scaling, dropout, e, null) => (A, B) = (a, b);

    /// <summary>A [r, in].</summary>
    public Parameter A { get; }

    /// <summary>B [out, r].</summary>
    public Parameter B { get; }

    /// <summary>Which components are kept; null while all are, and for an adapter that was stored pruned.</summary>
    public bool[]? Kept { get; internal set; }

    /// <inheritdoc/>
    public override IEnumerable<Parameter> Parameters => [A, B, Diagonal];

    /// <inheritdoc/>
    internal override Tensor Down => A.Value;

    /// <inheritdoc/>
    internal override Tensor Up => B.Value;

    /// <summary>Files hold the kept components only.</summary>
    internal override IEnumerable<StoredTensor> Stored
    {
        get
        {
            if (Kept is null) return base.Stored;
            int[] kept = [.. Enumerable.Range(0, Kept.Length).Where(i => Kept[i])];
            return [Rows(A), Columns(B), Rows(Diagonal)];

            StoredTensor Rows(Parameter p) => Part(p, [kept.Length, p.FileShape[1]], p.FileShape[1], 1);
            StoredTensor Columns(Parameter p) => Part(p, [p.FileShape[0], kept.Length], 1, p.FileShape[0]);

            // Component i of the stored tensor is component kept[i]; `inner` values lie together, `outer` times.
            StoredTensor Part(Parameter p, int[] shape, int inner, int outer) => new(p.Name, shape, () =>
            {
                float[] whole = p.ToFile(), part = new float[(long)shape[0] * shape[1]];
                Copy(whole, part, inner, outer, toPart: true);
                return part;
            }, part =>
            {
                float[] whole = new float[p.Count];
                Copy(whole, part, inner, outer, toPart: false);
                p.FromFile(whole);
            }, p);

            void Copy(float[] whole, float[] part, int inner, int outer, bool toPart)
            {
                for (int o = 0; o < outer; o++)
                {
                    for (int i = 0; i < kept.Length; i++)
                    {
                        Span<float> a = whole.AsSpan((o * Kept.Length + kept[i]) * inner, inner), b = part.AsSpan((o * kept.Length + i) * inner, inner);
                        if (toPart) a.CopyTo(b);
                        else b.CopyTo(a);
                    }
                }
            }
        }
    }
}
