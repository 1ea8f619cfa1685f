using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>Settings of EVA, with PEFT's names and defaults.</summary>
public sealed record EvaOptions
{
    /// <summary>A module's rank is at most rho times what it would be without EVA (rho); 1 leaves ranks as they are.</summary>
    public double Rho { get; init; } = 2;
    /// <summary>Components count as found when their cosine with those before the last batch is at least this (tau).</summary>
    public double Tau { get; init; } = 0.99;
    /// <summary>Whether only tokens with a trained label count (use_label_mask).</summary>
    public bool UseLabelMask { get; init; } = true;
    /// <summary>Whether components are divided by the roots of their singular values (whiten).</summary>
    public bool Whiten { get; init; }
    /// <summary>Whether alpha follows the rank, so that the scaling stays (adjust_scaling_factors).</summary>
    public bool AdjustScaling { get; init; } = true;
    /// <summary>Batches after which the search ends even where components still turn.</summary>
    public int MaxBatches { get; init; } = 1000;
}

/// <summary>
/// EVA (Paischer et al., 2024): A starts as the leading principal components of the module's inputs on training data and B as 0. The
/// sum of all ranks stays, but goes to the components that explain most variance; modules that get none are not adapted.
/// </summary>
public static class EvaInitializer
{
    /// <summary>Creates an adapter; it is not attached. Ranks are in its rank_pattern, and it is plain LoRA to any reader.</summary>
    /// <param name="model">The model.</param>
    /// <param name="name">Adapter name.</param>
    /// <param name="config">Settings; ranks are the budget.</param>
    /// <param name="batches">Training batches, gone through again and again until the components have settled.</param>
    /// <param name="options">EVA's own settings.</param>
    /// <param name="seed">Seed, as for any adapter.</param>
    /// <exception cref="LoraNetException">No batch has enough tokens, or a target is no linear layer that all tokens go through.</exception>
    public static LoraAdapter Create(CausalLM model, string name, LoraConfig config, IReadOnlyList<IReadOnlyList<TokenRow>> batches, EvaOptions? options = null, ulong seed = 42)
    {
        options ??= new EvaOptions();
        if (config.Method is not null || config.TargetParameters.Count > 0) throw new LoraNetException("EVA initialises plain LoRA layers.", "Leave --method and --target-parameters out.");
        if (!(options.Rho >= 1)) throw new LoraNetException(FormattableString.Invariant($"EVA's rho is {options.Rho}; it must be at least 1."));
        if (!(options.Tau is >= 0 and < 1)) throw new LoraNetException(FormattableString.Invariant($"EVA's tau is {options.Tau}; it must be in [0, 1)."));
        if (batches.Count == 0) throw new LoraNetException("EVA needs training batches, but there are none.");
        LoraConfig plain = config with { Init = LoraInit.KaimingUniform };
        IReadOnlyList<LoraTarget> targets = AdapterBuilder.FindTargets(model, plain);
        foreach (LoraTarget target in targets)
            if (target.Module is not LinearModule) throw new LoraNetException($"EVA adapts linear layers, not the embedding '{target.Module.Path}'.", "Leave the embedding out of target_modules.");
        List<Group> groups = Search(model, targets, batches, options);
        Dictionary<LinearModule, int> ranks = Distribute(groups, targets.Sum(t => t.Rank));

        List<string> paths = [];
        List<KeyValuePair<string, int>> rankPattern = [];
        List<KeyValuePair<string, double>> alphaPattern = [];
        foreach (LoraTarget target in targets)
        {
            int rank = ranks[(LinearModule)target.Module];
            if (rank == 0) continue;
            string path = target.Module.Path;
            double alpha = target.Scaling * (config.UseRsLora ? Math.Sqrt(target.Rank) : target.Rank);
            if (options.AdjustScaling) alpha *= rank / (double)target.Rank;
            paths.Add(path);
            if (rank != config.Rank) rankPattern.Add(KeyValuePair.Create(System.Text.RegularExpressions.Regex.Escape(path), rank));
            if (alpha != config.Alpha) alphaPattern.Add(KeyValuePair.Create(System.Text.RegularExpressions.Regex.Escape(path), alpha));
        }
        plain = plain with
        {
            TargetModules = ModuleSelector.Of(paths),
            ExcludeModules = null,
            LayersToTransform = null,
            LayersPattern = null,
            RankPattern = rankPattern,
            AlphaPattern = alphaPattern,
        };
        LoraAdapter adapter = AdapterBuilder.Create(model, name, plain, seed);
        foreach (Group group in groups)
        {
            foreach (LinearModule module in group.Modules)
                if (ranks[module] > 0) adapter.Layers[module.Path].A.FromFile(group.Start(ranks[module], options.Whiten));
        }
        return adapter;
    }

    /// <summary>Modules with the same input share its components.</summary>
    private sealed class Group(LinearModule first, int components)
    {
        public List<LinearModule> Modules { get; } = [first];
        public IncrementalPca Pca { get; } = new(components, first.In);
        public int Components => Pca.Wanted;
        public int Converged { get; set; }
        public int? Needed { get; set; }
        public bool Done => Pca.Seen > 0 && Converged >= (Needed ?? Components);

        public float[] Start(int rank, bool whiten)
        {
            int width = Modules[0].In;
            float[] a = Vectors.Narrow(Pca.Components.AsSpan(0, rank * width));
            if (!whiten) return a;
            for (int r = 0; r < rank; r++)
            {
                float root = (float)Math.Sqrt(Pca.SingularValues[r]);
                for (int i = 0; i < width; i++) a[r * width + i] /= root;
            }
            return a;
        }
    }

    private static List<Group> Search(CausalLM model, IReadOnlyList<LoraTarget> targets, IReadOnlyList<IReadOnlyList<TokenRow>> batches, EvaOptions options)
    {
        Dictionary<LinearModule, int> limits = targets.ToDictionary(t => (LinearModule)t.Module, t => (int)Math.Round(t.Rank * options.Rho));
        List<Group> groups = FindGroups(model, limits, batches[0]);
        int budget = targets.Sum(t => t.Rank), withoutUse = 0;
        for (int b = 0; b < options.MaxBatches && !groups.TrueForAll(g => g.Done); b++)
        {
            bool used = false;
            Observe(model, batches[b % batches.Count], options.UseLabelMask, (module, rows, read) =>
            {
                Group? group = groups.Find(g => g.Modules[0] == module);
                // Fewer tokens than components say nothing about the last ones.
                if (group is null || group.Done || rows.Length < group.Components) return;
                double[]? cosines = group.Pca.Add(read(), rows.Length);
                group.Converged = cosines is null ? 0 : cosines.TakeWhile(c => c >= options.Tau).Count();
                used = true;
            });
            withoutUse = used ? 0 : withoutUse + 1;
            if (withoutUse == batches.Count && groups.Exists(g => g.Pca.Seen == 0))
                throw new LoraNetException($"No training batch has the {groups.Max(g => g.Components)} tokens that EVA needs to find as many components.", "Use larger batches, a smaller rank or a smaller --eva-rho.");
            if (groups.Exists(g => g.Pca.Seen == 0)) continue;
            Dictionary<LinearModule, int> ranks = Distribute(groups, budget);
            foreach (Group group in groups) group.Needed = group.Modules.Max(m => ranks[m]);
        }
        if (groups.Exists(g => g.Pca.Seen == 0)) throw new LoraNetException($"EVA saw too few tokens in {options.MaxBatches} batches.", "Use larger batches or a smaller rank.");
        return groups;
    }

    private static List<Group> FindGroups(CausalLM model, Dictionary<LinearModule, int> limits, IReadOnlyList<TokenRow> batch)
    {
        // Modules that read the same values one after another share them: queries, keys and values, gate and up.
        List<(float[] Values, List<LinearModule> Modules)> inputs = [];
        int tokens = 0;
        model.Observe(batch, b => tokens = b.Tokens, (module, x) =>
        {
            if (!limits.ContainsKey(module)) return;
            if (x.Rows != tokens) throw new LoraNetException($"Not every token goes through '{module.Path}', so EVA cannot initialise it.", "Leave the experts out of target_modules.");
            float[] values = model.Backend.Download(x);
            if (inputs.Count > 0 && inputs[^1].Values.AsSpan().SequenceEqual(values)) inputs[^1].Modules.Add(module);
            else inputs.Add((values, [module]));
        });
        List<Group> groups = [];
        foreach ((_, List<LinearModule> modules) in inputs)
        {
            Group group = new(modules[0], Math.Min(modules.Max(m => limits[m]), modules[0].In));
            group.Modules.AddRange(modules.Skip(1));
            groups.Add(group);
        }
        return groups;
    }

    private static void Observe(CausalLM model, IReadOnlyList<TokenRow> rows, bool labels, Action<LinearModule, int[], Func<float[]>> use)
    {
        int[] counted = [];
        model.Observe(rows, batch => counted = [.. Enumerable.Range(0, batch.Tokens).Where(i => !labels || rows[batch.Origin[i].Row].Labels[batch.Origin[i].Column] != TokenRow.Ignored)], (module, x) =>
            use(module, counted, () =>
            {
                float[] all = model.Backend.Download(x), some = new float[(long)counted.Length * x.Columns];
                for (int i = 0; i < counted.Length; i++) all.AsSpan(counted[i] * x.Columns, x.Columns).CopyTo(some.AsSpan(i * x.Columns));
                return some;
            }));
    }

    /// <summary>The budget goes to the components with the largest shares of variance, those of a shared input once for each of its modules.</summary>
    private static Dictionary<LinearModule, int> Distribute(List<Group> groups, int budget)
    {
        // In PEFT's order: the first modules of all groups, then the others.
        IEnumerable<(Group Group, LinearModule Module)> order = groups.Select(g => (g, g.Modules[0])).Concat(groups.SelectMany(g => g.Modules.Skip(1).Select(m => (g, m))));
        Dictionary<LinearModule, int> ranks = order.ToDictionary(o => o.Module, _ => 0);
        foreach (LinearModule module in order.SelectMany(o => o.Group.Pca.Ratios.Select(r => (o.Module, Ratio: r))).OrderByDescending(c => c.Ratio).Take(budget).Select(c => c.Module)) ranks[module]++;
        return ranks;
    }
}
