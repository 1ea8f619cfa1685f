using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>Which stacked parameter gets which rank and scaling.</summary>
/// <param name="Module">The experts.</param>
/// <param name="Weight">The parameter.</param>
/// <param name="Rank">Its rank, for each expert.</param>
/// <param name="Scaling">alpha / r or alpha / √r.</param>
/// <param name="FilePath">Path under which files hold A and B.</param>
public readonly record struct StackedTarget(ExpertsModule Module, StackedWeight Weight, int Rank, double Scaling, string FilePath);

/// <summary>
/// PEFT's target_parameters: entries name parameters, as a whole path or a dotted suffix and never as a pattern. Here they name the
/// stacked parameters of fused experts; <c>….weight</c> of a linear layer is the same as naming the layer in target_modules.
/// </summary>
public static class ParameterTargets
{
    /// <summary>The stacked parameters that a configuration adapts, in model order.</summary>
    public static IReadOnlyList<StackedTarget> Find(PretrainedModel model, LoraConfig config)
    {
        List<StackedTarget> targets = [];
        foreach (ExpertsModule module in model.Modules.OfType<ExpertsModule>())
        {
            List<StackedWeight> selected = [.. module.Stacked.Where(w => Selects(config, Path(module, w)))];
            for (int i = 0; i < selected.Count; i++)
            {
                string path = Path(module, selected[i]);
                (int rank, double scaling) = config.RankAndScaling(path);
                // PEFT wraps the module once for each parameter; the last one is the outermost and has the plain name.
                string nesting = string.Concat(Enumerable.Repeat(".base_layer", selected.Count - 1 - i));
                targets.Add(new StackedTarget(module, selected[i], rank, scaling, module.Path + nesting));
            }
        }
        return targets;
    }

    /// <summary>Whether an entry names this parameter.</summary>
    public static bool Selects(LoraConfig config, string parameter) => config.TargetParameters.Any(entry => ModuleMatcher.SelectsName(entry, parameter));

    /// <summary>Paths of all parameters that entries can name.</summary>
    public static IEnumerable<string> Names(PretrainedModel model) => model.Modules.SelectMany(m => m switch
    {
        ExpertsModule experts => experts.Stacked.Select(w => Path(experts, w)),
        LinearModule linear => [linear.Path + ".weight"],
        _ => Enumerable.Empty<string>(),
    });

    /// <summary>Path of a stacked parameter.</summary>
    public static string Path(ExpertsModule module, StackedWeight weight) => $"{module.Path}.{weight.Name}";

    /// <summary>Creates the layer of a target: A as for a linear layer of E·r outputs, B zero (or random).</summary>
    /// <exception cref="LoraNetException">The initialisation reads the base weight.</exception>
    internal static StackedLoraLayer Create(Backend backend, string adapter, LoraConfig config, StackedTarget target, ulong seed)
    {
        if (config.Init is not (LoraInit.KaimingUniform or LoraInit.KaimingUniformA0 or LoraInit.Gaussian or LoraInit.Random))
            throw new LoraNetException($"The {config.Init} initialisation is not defined for target_parameters.", "Use kaiming, gaussian or random.");
        StackedWeight weight = target.Weight;
        float[] a = new float[(long)weight.Experts * target.Rank * weight.In], b = new float[(long)weight.Experts * weight.Out * target.Rank];
        for (int e = 0; e < weight.Experts; e++)
        {
            (float[] down, float[] up) = LoraInitializer.Linear(config.Init, weight.In, weight.Out, target.Rank, seed, $"{Path(target.Module, weight)}.{e}");
            down.CopyTo(a, e * down.Length);
            up.CopyTo(b, e * up.Length);
        }
        return new StackedLoraLayer(backend, target.Module, weight, adapter, target.FilePath, target.Rank, target.Scaling, a, b);
    }
}
