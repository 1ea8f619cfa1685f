using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;

namespace LoraNet.Adapters;

/// <summary>One module of an extraction.</summary>
/// <param name="Path">Module path.</param>
/// <param name="Rank">Rank kept.</param>
/// <param name="Energy">Share of ‖ΔW‖² that the adapter holds.</param>
/// <param name="Norm">‖ΔW‖, the Frobenius norm of the change.</param>
public sealed record ExtractedLayer(string Path, int Rank, double Energy, double Norm);

/// <summary>An adapter that approximates the difference of two models.</summary>
/// <param name="Adapter">The adapter; not attached.</param>
/// <param name="Layers">What it holds, by module.</param>
/// <param name="LeftOut">Tensors that differ but are not in the adapter: norms, biases, and modules that were not selected.</param>
public sealed record Extraction(LoraAdapter Adapter, IReadOnlyList<ExtractedLayer> Layers, IReadOnlyList<string> LeftOut);

/// <summary>LoRA from two full models: ΔW = W_tuned − W_base of each module, cut to low rank by its singular value decomposition.</summary>
public static class AdapterExtraction
{
    /// <summary>Extracts an adapter with scaling 1: B = U·√S, A = √S·Vᵀ.</summary>
    /// <param name="model">The base model; its adapters do not matter.</param>
    /// <param name="tuned">The weights of the tuned model of the same shape; <see cref="MergedWeights"/> turns DoRA into plain LoRA.</param>
    /// <param name="choice">Rank or energy.</param>
    /// <param name="targets">Modules to take; null for every linear layer but the output head.</param>
    /// <param name="name">Name of the adapter.</param>
    /// <exception cref="LoraNetException">A tensor is missing or of another shape, or the models do not differ in the selected modules.</exception>
    public static Extraction Extract(PretrainedModel model, IWeightSource tuned, RankChoice choice, ModuleSelector? targets = null, string name = "extracted")
    {
        choice.Validate();
        LoraConfig settings = new() { TargetModules = targets ?? ModuleSelector.AllLinearLayers };
        HashSet<string> selected = [.. AdapterBuilder.FindTargets(model, settings).Select(t => t.Module.Path)];
        List<AdapterFactors> factors = [];
        List<ExtractedLayer> layers = [];
        List<string> leftOut = [];
        HashSet<nint> seen = [];
        foreach (Module module in model.Modules)
        {
            foreach (BaseTensor tensor in module.Tensors)
            {
                bool taken = selected.Contains(module.Path) && tensor.Weight is not null;
                // A tied head is the embedding's tensor once more.
                if (!seen.Add(tensor.Source.Address) && !taken) continue;
                float[] difference = Difference(tensor, tuned);
                double total = difference.Sum(v => (double)v * v);
                if (total == 0) continue;
                if (!double.IsFinite(total)) throw new LoraNetException($"Tensor '{tensor.Name}' holds NaN or infinity in one of the models.");
                if (!taken)
                {
                    leftOut.Add(tensor.Name);
                    continue;
                }
                AdapterFactors layer = Factors(module, tensor, difference, total, choice, out double kept);
                factors.Add(layer);
                layers.Add(new ExtractedLayer(module.Path, layer.Rank, Math.Min(1, kept / total), Math.Sqrt(total)));
            }
        }
        if (factors.Count == 0)
            throw new LoraNetException("The two models do not differ in the selected modules.", leftOut.Count > 0 ? $"They differ in {leftOut[0]}{(leftOut.Count > 1 ? $" and {leftOut.Count - 1} more" : "")}." : "They are the same model.");
        return new Extraction(AdapterAssembly.Build(model, name, settings, factors), layers, leftOut);
    }

    private static AdapterFactors Factors(Module module, BaseTensor tensor, float[] difference, double total, RankChoice choice, out double kept)
    {
        int rows = tensor.Weight!.Rows, columns = tensor.Weight.Columns;
        if (tensor.Transposed) difference = Parameter.Transpose(difference, columns, rows);
        if (module is EmbeddingModule)
        {
            // Files hold an embedding's A and B for the transposed table.
            difference = Parameter.Transpose(difference, rows, columns);
            (rows, columns) = (columns, rows);
        }
        Svd svd = choice.Decompose(difference, rows, columns, total);
        kept = svd.S.Sum(s => s * s);
        (float[] a, float[] b) = svd.Factors(0.5);
        return new AdapterFactors(module.Path, svd.Rank, 1, a, b, rows, columns);
    }

    private static float[] Difference(BaseTensor tensor, IWeightSource tuned)
    {
        HostTensor other = tuned.TryGet(tensor.Name, out HostTensor? found) ? found : tuned.Get(tensor.Name);
        if (!other.Shape.SequenceEqual(tensor.Source.Shape))
            throw new LoraNetException($"Tensor '{tensor.Name}' has shape [{string.Join(", ", other.Shape.ToArray())}] in the tuned model and [{string.Join(", ", tensor.Source.Shape.ToArray())}] in the base.", "The models must have the same architecture and vocabulary.");
        float[] w = tensor.Source.ToArray(), t = other.ToArray();
        for (int i = 0; i < w.Length; i++) t[i] -= w[i];
        return t;
    }
}
