using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;

namespace LoraNet.Adapters;

/// <summary>Other forms of the same adapter: lower rank, and a plain alpha in place of rsLoRA's.</summary>
public static class AdapterConversion
{
    /// <summary>The best approximation of an adapter at a lower rank, with scaling 1; whole tensors are kept. Not attached.</summary>
    /// <param name="model">The model it belongs to.</param>
    /// <param name="adapter">An adapter without DoRA.</param>
    /// <param name="choice">Rank or energy.</param>
    /// <param name="name">Name of the new adapter.</param>
    /// <exception cref="LoraNetException">The adapter uses DoRA, or the choice is out of range.</exception>
    public static LoraAdapter Reduce(PretrainedModel model, LoraAdapter adapter, RankChoice choice, string name = "reduced")
    {
        choice.Validate();
        if (adapter.Config.UseDora) throw new LoraNetException($"Adapter '{adapter.Name}' uses DoRA, whose change is not a product B·A.", "Merge it and extract a plain adapter instead.");
        if (adapter.Standins.Count > 0) throw new LoraNetException($"Adapter '{adapter.Name}' belongs to a quantised base of its own (LoftQ).", "Merge it and extract a plain adapter instead.");
        if (adapter.Parts.Count > 0) throw new LoraNetException($"Adapter '{adapter.Name}' has layers that are not plain LoRA ('{adapter.Parts[0].ModulePath}').", "Merge it and extract a plain adapter instead.");
        List<AdapterFactors> factors = [];
        foreach (LoraLayer layer in adapter.Layers.Values)
        {
            AdapterFactors f = AdapterFactors.Of(layer);
            Svd svd = TruncatedSvd.OfProduct(f.WideB(f.Scaling), Vectors.Widen(f.A), f.Rows, f.Columns, f.Rank);
            svd = choice.Apply(svd, svd.S.Sum(s => s * s));
            (float[] a, float[] b) = svd.Factors(0.5);
            factors.Add(new AdapterFactors(f.Path, svd.Rank, 1, a, b, f.Rows, f.Columns, f.Bias is null ? null : [.. f.Bias.Select(v => (float)(f.Scaling * v))]));
        }
        return AdapterAssembly.Build(model, name, adapter.Config, factors, whole: adapter);
    }

    /// <summary>
    /// Writes an rsLoRA adapter with a plain alpha for readers that ignore use_rslora: alpha' = alpha·√r by module, so that
    /// alpha' / r = alpha / √r. Tensors are copied as they are; the model is not needed.
    /// </summary>
    /// <param name="source">A PEFT folder with use_rslora.</param>
    /// <param name="output">The folder to write.</param>
    /// <exception cref="LoraNetException">The adapter does not use rsLoRA, or a file is missing or malformed.</exception>
    public static void FoldRsLora(string source, string output)
    {
        PeftAdapterConfig config = AdapterConfigJson.Read(source);
        if (config.TargetParameters is not null) throw new LoraNetException($"{source} uses target_parameters, whose tensors do not tell their rank.", "Use the adapter as it is.");
        if (!config.UseRsLora) throw new LoraNetException($"{source} does not use rsLoRA, so there is nothing to fold into alpha.", "Use the adapter as it is.");
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(source, AdapterFile.TensorFileName));
        List<(string Path, double Alpha)> alphas = [];
        foreach ((string name, HostTensor tensor) in file.Tensors)
        {
            if (PeftNames.TryDown(name, out string path) && tensor.Shape.Length == 2)
                alphas.Add((path, (ModuleMatcher.TryPattern(config.AlphaPattern, path, out double a) ? a : config.LoraAlpha) * Math.Sqrt(tensor.Shape[0])));
        }
        if (alphas.Count == 0) throw new LoraNetException($"{file.Path} has no LoRA tensor.");
        double common = alphas.GroupBy(p => p.Alpha).OrderByDescending(g => g.Count()).First().Key;
        config = config with
        {
            UseRsLora = false,
            LoraAlpha = common,
            AlphaPattern = [.. alphas.Where(p => p.Alpha != common).OrderBy(p => p.Path, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Path, p.Alpha))],
        };
        PeftNames.CreateFolder(output);
        SafetensorsWriter.Write(Path.Combine(output, AdapterFile.TensorFileName), file.Tensors.Select(t => SafetensorsEntry.FromSingles(t.Key, t.Value.ToArray(), t.Value.Shape.ToArray())), refuseNonFinite: true);
        AdapterConfigJson.Write(Path.Combine(output, AdapterConfigJson.FileName), config);
    }
}
