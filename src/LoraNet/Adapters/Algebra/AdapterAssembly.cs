using LoraNet.Lora;
using LoraNet.Models;

namespace LoraNet.Adapters;

/// <summary>Builds an adapter from factors, with settings from which the same shapes and scalings are read back.</summary>
internal static class AdapterAssembly
{
    /// <summary>Creates an adapter that is not attached.</summary>
    /// <param name="model">The model it belongs to.</param>
    /// <param name="name">Its name.</param>
    /// <param name="settings">Task, base model and dropout to carry over; ranks, alphas and targets are replaced.</param>
    /// <param name="factors">Its layers; the scalings must follow from alphas and ranks as <paramref name="rsLora"/> says.</param>
    /// <param name="rsLora">Whether scaling is alpha / √r.</param>
    /// <param name="whole">An adapter whose whole tensors (modules_to_save, trained biases) are copied, or null.</param>
    public static LoraAdapter Build(PretrainedModel model, string name, LoraConfig settings, IReadOnlyList<AdapterFactors> factors, bool rsLora = false, LoraAdapter? whole = null)
    {
        if (factors.Count == 0) throw new LoraNetException("The adapters have no LoRA layer, so there is nothing to build a new one from.");
        LoraConfig config = Describe(model, settings, [.. factors.Select(f => (f.Path, f.Rank, f.Scaling))], rsLora) with { LoraBias = factors.Any(f => f.Bias is not null) };
        if (whole is not null) config = config with { ModulesToSave = settings.ModulesToSave, Bias = settings.Bias };
        LoraAdapter adapter = new(name, config);
        foreach (AdapterFactors f in factors.OrderBy(f => Order(model, f.Path)))
        {
            Tensors.Backend backend = model.Backend;
            bool embedding = model.Find(f.Path) is EmbeddingModule;
            Parameter a = embedding
                ? new Parameter(backend, f.Path + ".lora_embedding_A", ParameterKind.LoraA, Parameter.Transpose(f.A, f.Rank, f.Columns), [f.Columns, f.Rank], transposedOnDisk: true)
                : new Parameter(backend, f.Path + ".lora_A.weight", ParameterKind.LoraA, f.A, [f.Rank, f.Columns]);
            Parameter b = new(backend, f.Path + (embedding ? ".lora_embedding_B" : ".lora_B.weight"), ParameterKind.LoraB, f.B, [f.Rows, f.Rank]);
            float[]? values = f.Bias ?? (config.LoraBias ? new float[f.Rows] : null);
            Parameter? bias = values is null ? null : new Parameter(backend, f.Path + ".lora_B.bias", ParameterKind.LoraBias, values, [f.Rows]);
            adapter.Add(new LoraLayer(f.Path, name, f.Scaling, embedding ? 0 : (float)config.Dropout, a, b, bias, null));
        }
        foreach ((BaseTensor tensor, Parameter copy) in whole?.Overrides ?? [])
        {
            Parameter again = tensor.CreateCopy(copy.Name, copy.Kind);
            again.FromFile(copy.ToFile());
            adapter.Add(tensor, again);
        }
        return adapter;
    }

    /// <summary>Settings that select exactly these modules with these ranks and scalings.</summary>
    public static LoraConfig Describe(PretrainedModel model, LoraConfig settings, IReadOnlyList<(string Path, int Rank, double Scaling)> layers, bool rsLora)
    {
        double Alpha((string Path, int Rank, double Scaling) l) => Tidy(l.Scaling * (rsLora ? Math.Sqrt(l.Rank) : l.Rank));
        int rank = layers.GroupBy(l => l.Rank).OrderByDescending(g => g.Count()).First().Key;
        double alpha = layers.GroupBy(Alpha).OrderByDescending(g => g.Count()).First().Key;
        LoraConfig config = new()
        {
            Rank = rank,
            Alpha = alpha,
            UseRsLora = rsLora,
            RankPattern = [.. layers.Where(l => l.Rank != rank).Select(l => KeyValuePair.Create(l.Path, l.Rank))],
            AlphaPattern = [.. layers.Where(l => Alpha(l) != alpha).Select(l => KeyValuePair.Create(l.Path, Alpha(l)))],
            Dropout = settings.Dropout,
            TaskType = settings.TaskType,
            BaseModelNameOrPath = settings.BaseModelNameOrPath,
            TargetModules = ModuleSelector.Of([.. layers.Select(l => l.Path[(l.Path.LastIndexOf('.') + 1)..]).Distinct().Order(StringComparer.Ordinal)]),
        };
        bool same = AdapterBuilder.FindTargets(model, config, strict: false).Select(t => t.Module.Path).ToHashSet().SetEquals(layers.Select(l => l.Path));
        return same ? config : config with { TargetModules = ModuleSelector.Of([.. layers.Select(l => l.Path).Order(StringComparer.Ordinal)]) };
    }

    private static int Order(PretrainedModel model, string path)
    {
        for (int i = 0; i < model.Modules.Count; i++) if (model.Modules[i].Path == path) return i;
        throw new LoraNetException($"The model has no module '{path}'.");
    }

    // alpha = (alpha / r)·r may come out as 15.999999999999998.
    private static double Tidy(double alpha) => Math.Abs(alpha - Math.Round(alpha)) < 1e-9 * Math.Max(1, Math.Abs(alpha)) ? Math.Round(alpha) : alpha;
}
