using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;

namespace LoraNet.Adapters;

/// <summary>
/// Weighted combinations of adapters. Every form counts each adapter's scaling once, whatever its rank, alpha, patterns or
/// rsLoRA, and gives a plain adapter with scaling 1; PEFT's results, where they differ, are an option.
/// </summary>
public static class AdapterAlgebra
{
    /// <summary>Combines attached adapters into a new one, which is not attached. A module that not all of them adapt gets what the others add.</summary>
    /// <param name="model">The model the adapters are attached to.</param>
    /// <param name="names">Their names.</param>
    /// <param name="weights">One weight each; negative ones subtract.</param>
    /// <param name="type">How they are combined.</param>
    /// <param name="options">Rank, density and the rest; null for the defaults.</param>
    /// <exception cref="LoraNetException">A name is unknown, the counts differ, a weight or density is not usable, ranks differ for a form
    /// that needs equal ones, or an adapter has DoRA, trained biases or whole modules, which do not add up.</exception>
    public static LoraAdapter Combine(PretrainedModel model, IReadOnlyList<string> names, IReadOnlyList<double> weights, CombinationType type, CombineOptions? options = null)
    {
        options ??= new CombineOptions();
        List<LoraAdapter> adapters = [.. Check(model, names, weights, type, options)];
        // PEFT takes its linear form whenever there is only one adapter.
        if (IsPeft(options) && adapters.Count == 1) type = CombinationType.Linear;
        bool rsLora = options.Peft == PeftCompatibility.Peft020 && adapters[0].Config.UseRsLora;
        int rankOfAll = options.Rank ?? adapters.Max(MaxRank);
        // PEFT gives all modules one rank, zero-padded, and its scaling depends on that.
        double peftScaling = Math.Sqrt(type == CombinationType.Cat ? adapters.Sum(MaxRank) : rankOfAll);
        List<AdapterFactors> result = [];
        foreach (string path in adapters.SelectMany(a => a.Layers.Keys).Distinct())
        {
            List<AdapterFactors> parts = [];
            List<double> w = [];
            for (int i = 0; i < adapters.Count; i++)
            {
                if (!adapters[i].Layers.TryGetValue(path, out LoraLayer? layer)) continue;
                parts.Add(AdapterFactors.Of(layer));
                w.Add(weights[i]);
            }
            AdapterFactors combined = Layer(parts, w, type, options, rankOfAll);
            if (parts.Exists(p => p.Bias is not null)) combined = combined with { Bias = Bias(parts, w) };
            // Old PEFT copied use_rslora and set alpha = r, which made the scaling √r.
            result.Add(rsLora ? combined with { Scaling = peftScaling } : combined);
        }
        return AdapterAssembly.Build(model, options.Name, adapters[0].Config, result, rsLora);
    }

    /// <summary>Reads PEFT's name of a combination, such as <c>dare_ties_svd</c>.</summary>
    /// <exception cref="LoraNetException">There is no such combination.</exception>
    public static CombinationType Parse(string name)
    {
        foreach (CombinationType type in Enum.GetValues<CombinationType>())
            if (type.ToString().Equals(name.Replace("_", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase)) return type;
        throw new LoraNetException($"'{name}' is not a way to combine adapters.", $"Known: {string.Join(", ", Enum.GetValues<CombinationType>().Select(Name))}.");
    }

    /// <summary>PEFT's name of a combination.</summary>
    public static string Name(CombinationType type) => string.Concat(type.ToString().Select((c, i) => char.IsUpper(c) && i > 0 ? "_" + char.ToLowerInvariant(c) : char.ToLowerInvariant(c).ToString()));

    private static IEnumerable<LoraAdapter> Check(PretrainedModel model, IReadOnlyList<string> names, IReadOnlyList<double> weights, CombinationType type, CombineOptions options)
    {
        if (names.Count == 0) throw new LoraNetException("No adapter was named to combine.");
        if (names.Count != weights.Count) throw new LoraNetException($"{names.Count} adapters were named, but {weights.Count} weights given.", "Give one weight for each adapter.");
        if (weights.Any(w => !double.IsFinite(w))) throw new LoraNetException("A weight is not a finite number.");
        if (options.Rank is <= 0) throw new LoraNetException($"Rank {options.Rank} is not positive.");
        if (model.Adapters.ContainsKey(options.Name)) throw new LoraNetException($"An adapter called '{options.Name}' is attached already.", "Choose another name or remove it first.");
        bool dense = type is CombinationType.Linear or CombinationType.Cat or CombinationType.Svd;
        if (!dense && !(options.Density is > 0 and <= 1))
            throw new LoraNetException(options.Density is { } d ? $"Density {d} is not in (0, 1]." : $"{Name(type)} needs a density.", "Give the share of entries to keep, such as 0.5.");
        foreach (string name in names)
        {
            if (!model.Adapters.TryGetValue(name, out LoraAdapter? adapter)) throw new LoraNetException($"No adapter is called '{name}'.", $"Attached: {string.Join(", ", model.Adapters.Keys)}.");
            if (adapter.Config.UseDora) throw new LoraNetException($"Adapter '{name}' uses DoRA, whose change is not a product B·A.", "Merge it into the base and extract a plain adapter instead.");
            if (adapter.Standins.Count > 0) throw new LoraNetException($"Adapter '{name}' belongs to a quantised base of its own (LoftQ).", "Merge it into the base instead.");
            if (adapter.Parts.Count > 0) throw new LoraNetException($"Adapter '{name}' has layers that are not plain LoRA ('{adapter.Parts[0].ModulePath}'), which are not combined.", "Merge it into the base instead.");
            if (adapter.Overrides.Count > 0) throw new LoraNetException($"Adapter '{name}' holds whole tensors ('{adapter.Overrides[0].Tensor.Name}'), which are not combined.", "Merge it into the base instead.");
            if (adapter.Config.LoraBias && !dense) throw new LoraNetException($"Adapter '{name}' has lora_bias, which {Name(type)} does not combine.", "Use linear, cat or svd.");
            if (adapter.Config.LoraBias && IsPeft(options)) throw new LoraNetException($"Adapter '{name}' has lora_bias, which PEFT loses when it combines.", "Leave the PEFT-compatible form off.");
            yield return adapter;
        }
    }

    private static AdapterFactors Layer(List<AdapterFactors> parts, List<double> weights, CombinationType type, CombineOptions options, int rankOfAll)
    {
        string path = parts[0].Path;
        int rows = parts[0].Rows, columns = parts[0].Columns, rank = IsPeft(options) || options.Rank is not null ? rankOfAll : parts.Max(p => p.Rank);
        rank = Math.Min(rank, Math.Min(rows, columns));
        // Old PEFT multiplied ΔW, which contains s, by s once more.
        List<double> deltaWeights = [.. parts.Select((p, i) => options.Peft == PeftCompatibility.Peft020 ? weights[i] * p.Scaling : weights[i])];
        switch (type)
        {
            case CombinationType.Cat:
                return Cat(parts, weights);
            case CombinationType.Linear when !IsPeft(options):
                {
                    (double[] b, double[] a, int sum) = AdapterFactors.SideBySide(parts, [.. parts.Select((p, i) => weights[i] * p.Scaling)]);
                    Svd svd = TruncatedSvd.OfProduct(b, a, rows, columns, sum);
                    return Of(svd.Take(svd.NumericRank(1e-12)));
                }
            case CombinationType.Svd:
                {
                    (double[] b, double[] a, int sum) = AdapterFactors.SideBySide(parts, [.. parts.Select((p, i) => deltaWeights[i] * p.Scaling)]);
                    Svd svd = TruncatedSvd.OfProduct(b, a, rows, columns, sum);
                    return Of(svd.Take(rank));
                }
            case CombinationType.TiesSvd or CombinationType.DareLinearSvd or CombinationType.DareTiesSvd or CombinationType.MagnitudePruneSvd:
                {
                    float[] delta = MergeMath.Merge(type, [.. parts.Select(p => p.Delta())], deltaWeights, options.Density!.Value, options.MajoritySign, options.Seed, path);
                    return Of(TruncatedSvd.Decompose(delta, rows, columns, rank));
                }
            default:
                return OnFactors(parts, weights, type, options);
        }

        AdapterFactors Of(Svd svd)
        {
            (float[] a, float[] b) = svd.Factors(1);
            return new AdapterFactors(path, svd.Rank, 1, a, b, rows, columns);
        }
    }

    private static AdapterFactors Cat(List<AdapterFactors> parts, List<double> weights)
    {
        int rank = parts.Sum(p => p.Rank), rows = parts[0].Rows, columns = parts[0].Columns, at = 0;
        float[] a = new float[(long)rank * columns], b = new float[(long)rows * rank];
        for (int i = 0; i < parts.Count; i++)
        {
            AdapterFactors part = parts[i];
            double factor = weights[i] * part.Scaling;
            for (int j = 0; j < part.A.Length; j++) a[(long)at * columns + j] = (float)(factor * part.A[j]);
            for (int r = 0; r < rows; r++) part.B.AsSpan(r * part.Rank, part.Rank).CopyTo(b.AsSpan(r * rank + at, part.Rank));
            at += part.Rank;
        }
        return new AdapterFactors(parts[0].Path, rank, 1, a, b, rows, columns);
    }

    /// <summary>A' from √|wᵢsᵢ|·Aᵢ with the sign on A, B' from √|wᵢsᵢ|·Bᵢ: B'·A' has cross terms Bᵢ·Aⱼ besides the wanted ones.</summary>
    private static AdapterFactors OnFactors(List<AdapterFactors> parts, List<double> weights, CombinationType type, CombineOptions options)
    {
        AdapterFactors first = parts[0];
        if (parts.Find(p => p.Rank != first.Rank) is { } other)
            throw new LoraNetException($"{Name(type)} mixes A with A and B with B, which needs equal ranks; on '{first.Path}' they are {first.Rank} and {other.Rank}.",
                type == CombinationType.Linear ? "Leave the PEFT-compatible form off, or use cat or svd." : $"Use {Name(type)}_svd.");
        double[] onB = [.. parts.Select((p, i) => Math.Sqrt(Math.Abs(weights[i] * p.Scaling)))];
        double[] onA = [.. onB.Select((f, i) => Math.Sign(weights[i] * parts[i].Scaling) * f)];
        float[] a = MergeMath.Merge(type, [.. parts.Select(p => p.A)], onA, options.Density ?? 1, options.MajoritySign, options.Seed, first.Path + ".A");
        float[] b = MergeMath.Merge(type, [.. parts.Select(p => p.B)], onB, options.Density ?? 1, options.MajoritySign, options.Seed, first.Path + ".B");
        return new AdapterFactors(first.Path, first.Rank, 1, a, b, first.Rows, first.Columns);
    }

    private static float[] Bias(List<AdapterFactors> parts, List<double> weights)
    {
        float[] bias = new float[parts[0].Rows];
        for (int i = 0; i < parts.Count; i++)
            if (parts[i].Bias is { } b)
                for (int j = 0; j < bias.Length; j++) bias[j] += (float)(weights[i] * parts[i].Scaling * b[j]);
        return bias;
    }

    private static bool IsPeft(CombineOptions options) => options.Peft != PeftCompatibility.None;

    private static int MaxRank(LoraAdapter adapter) => adapter.Layers.Count == 0 ? 0 : adapter.Layers.Values.Max(l => l.Rank);
}
