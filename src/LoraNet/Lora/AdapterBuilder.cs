using LoraNet.Formats;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>Which rank and scaling one module gets.</summary>
/// <param name="Module">The adapted module.</param>
/// <param name="Rank">Its rank.</param>
/// <param name="Scaling">alpha / r or alpha / √r with the module's own alpha and rank.</param>
public readonly record struct LoraTarget(Module Module, int Rank, double Scaling);

/// <summary>Builds adapters: finds the modules a <see cref="LoraConfig"/> selects, and creates their parameters.</summary>
public static class AdapterBuilder
{
    // PEFT's names for the heads of sequence and token classifiers; a model has one of them.
    private static readonly string[] _classifierNames = ["classifier", "score"];

    /// <summary>The modules that <paramref name="config"/> adapts, in model order.</summary>
    /// <param name="model">The model.</param>
    /// <param name="config">The settings; a null target takes the family's default.</param>
    /// <param name="strict">True for a new adapter: every entry must match something. False when an existing adapter is read.</param>
    /// <param name="warn">Receives what strict mode would refuse.</param>
    /// <exception cref="LoraNetException">Nothing is adapted, or (strict) an entry matches nothing.</exception>
    public static IReadOnlyList<LoraTarget> FindTargets(PretrainedModel model, LoraConfig config, bool strict = true, Action<string>? warn = null)
    {
        config.Validate();
        config = Complete(model, config, strict);
        ModuleSelector selector = config.TargetModules!;
        List<Module> candidates = [.. model.Modules.Where(m => m is LinearModule or EmbeddingModule)];
        List<LoraTarget> targets = [];
        // Experts adapted through their stacked parameter are not adapted a second time by all-linear.
        HashSet<Module> stacked = [.. ParameterTargets.Find(model, config).SelectMany(t => t.Weight.Parts).SelectMany(p => p)];
        foreach (Module module in candidates)
        {
            bool byParameter = module is LinearModule && ParameterTargets.Selects(config, module.Path + ".weight");
            bool selected = byParameter || (selector.AllLinear
                ? module is LinearModule && module.Path != model.OutputHeadPath && !stacked.Contains(module) && !(config.ExcludeModules is { } exclude && ModuleMatcher.Selects(exclude, module.Path))
                : ModuleMatcher.IsTarget(config, module.Path));
            if (!selected || config.ModulesToSave.Any(entry => ModuleMatcher.IsUnderSaved(entry, module.Path))) continue;
            if (stacked.Contains(module)) throw new LoraNetException($"'{module.Path}' is adapted twice: by target_modules and, through its stacked parameter, by target_parameters.", "Leave it out of one of them.");
            (int rank, double scaling) = config.RankAndScaling(byParameter ? module.Path + ".weight" : module.Path);
            targets.Add(new LoraTarget(module, rank, scaling));
        }
        CheckEntries(model, config, candidates, targets, strict, warn);
        return targets;
    }

    /// <summary>Creates a new adapter.</summary>
    /// <param name="model">The model it belongs to; it is not attached.</param>
    /// <param name="name">Adapter name.</param>
    /// <param name="config">Settings.</param>
    /// <param name="seed">Seed of the initialisation: the same seed gives the same values, whatever the name.</param>
    /// <param name="strict">See <see cref="FindTargets"/>.</param>
    /// <param name="warn">See <see cref="FindTargets"/>.</param>
    public static LoraAdapter Create(PretrainedModel model, string name, LoraConfig config, ulong seed, bool strict = true, Action<string>? warn = null)
    {
        if (config.Init == LoraInit.Eva) throw new LoraNetException("The Eva initialisation reads training data.", "Create the adapter with EvaInitializer.Create and attach it, or use --init eva with --data.");
        IReadOnlyList<LoraTarget> targets = FindTargets(model, config, strict, warn);
        config = Complete(model, config, strict);
        LoraAdapter adapter = new(name, config);
        if (config.Method is not null) AddMethod(model, config, targets, adapter, seed);
        else
        {
            foreach (LoraTarget target in targets)
            {
                LoraLayer layer = CreateLayer(model, name, config, target, seed, strict);
                adapter.Add(layer);
                if (config.Init == LoraInit.LoftQ) AddQuantised((LinearModule)target.Module, config, target, layer, adapter, strict);
            }
        }
        foreach (StackedTarget target in ParameterTargets.Find(model, config)) adapter.Add(ParameterTargets.Create(model.Backend, name, config, target, seed));
        AddSavedModules(model, config, adapter);
        AddBiases(model, config, targets, adapter);
        return adapter;
    }

    private static void AddQuantised(LinearModule linear, LoraConfig config, LoraTarget target, LoraLayer layer, LoraAdapter adapter, bool isNew)
    {
        (float[] q, float[] a, float[] b) = LoftQInitializer.Compute(linear, config, target.Rank, target.Scaling, factors: isNew);
        if (isNew)
        {
            layer.A.FromFile(a);
            layer.B.FromFile(b);
        }
        if (linear.Weight.Transposed) q = Parameter.Transpose(q, linear.Out, linear.In);
        // Rounded to the stored type, as PEFT does: this is the base that the adapter belongs to.
        adapter.Add(linear.Weight, new Weight(linear.Weight.Name, HostTensor.Copy(q, linear.Weight.Source.DType, linear.Weight.Source.Shape), linear.Weight.Transposed));
    }

    private static void AddMethod(PretrainedModel model, LoraConfig config, IReadOnlyList<LoraTarget> targets, LoraAdapter adapter, ulong seed)
    {
        MethodSettings method = config.Method!;
        foreach (LoraTarget target in targets)
            if (target.Module is not LinearModule) throw new LoraNetException($"{method.PeftType} adapts linear layers, not the embedding '{target.Module.Path}'.", "Leave the embedding out of target_modules, or use LoRA.");
        if (targets.Count == 0) return;
        AdapterPart? shared = method.CreateShared(model.Backend, adapter.Name, config, targets);
        if (shared is not null) adapter.Add(shared);
        foreach (LoraTarget target in targets)
            adapter.Add(method.Create(new MethodContext(model.Backend, (LinearModule)target.Module, adapter.Name, config, target.Rank, target.Scaling, seed, shared)));
    }

    /// <summary>An adapter that trains every tensor of the model as a copy (full fine-tuning).</summary>
    public static LoraAdapter CreateFull(PretrainedModel model, string name = "default")
    {
        LoraAdapter adapter = new(name, new LoraConfig { TargetModules = ModuleSelector.Of() });
        Dictionary<nint, Parameter> copies = [];
        foreach (Module module in model.Modules)
        {
            foreach (BaseTensor tensor in module.Tensors)
            {
                // A tied head shares the embedding's copy, so that its gradient arrives in one place.
                if (!copies.TryGetValue(tensor.Source.Address, out Parameter? copy))
                    copies[tensor.Source.Address] = copy = tensor.CreateCopy(tensor.Name, ParameterKind.Full);
                adapter.Add(tensor, copy);
            }
        }
        return adapter;
    }

    /// <summary>Fills in what the model decides: default targets, the task of a new adapter, and a classifier's head, which PEFT always trains and saves.</summary>
    private static LoraConfig Complete(PretrainedModel model, LoraConfig config, bool isNew)
    {
        if (config.Method is Ia3Settings ia3)
        {
            if (ia3.FeedForwardModules is null) config = config with { Method = ia3 with { FeedForwardModules = ModuleSelector.Of(model.Ia3Targets.FeedForward) } };
            if (config.TargetModules is null) config = config with { TargetModules = ModuleSelector.Of(model.Ia3Targets.Targets) };
        }
        if (config.TargetModules is null) config = config with { TargetModules = config.TargetParameters.Count > 0 ? ModuleSelector.Of() : ModuleSelector.Of(model.DefaultTargets) };
        if (isNew && model.TaskType != "CAUSAL_LM") config = config with { TaskType = model.TaskType };
        if (config.TaskType is "SEQ_CLS" or "TOKEN_CLS") config = config with { ModulesToSave = [.. config.ModulesToSave.Union(_classifierNames)] };
        return config;
    }

    private static LoraLayer CreateLayer(PretrainedModel model, string name, LoraConfig config, LoraTarget target, ulong seed, bool isNew)
    {
        Backend backend = model.Backend;
        string path = target.Module.Path;
        int rank = target.Rank;
        if (target.Module is EmbeddingModule embedding)
        {
            string? obstacle = config.LoraBias ? "lora_bias" : config.Init is LoraInit.Mica or LoraInit.LoftQ ? $"The {config.Init} initialisation" : null;
            if (obstacle is not null) throw new LoraNetException($"{obstacle} is not supported on the embedding '{path}'.", "Leave the embedding out of target_modules.");
            int vocabulary = embedding.Weight.Weight!.Rows, dim = embedding.Weight.Weight.Columns;
            (float[] a, float[] b) = LoraInitializer.Embedding(config.Init, vocabulary, dim, rank, seed, path);
            LoraLayer table = new(path, name, target.Scaling, 0,
                new Parameter(backend, path + ".lora_embedding_A", ParameterKind.LoraA, a, [vocabulary, rank], transposedOnDisk: true),
                new Parameter(backend, path + ".lora_embedding_B", ParameterKind.LoraB, b, [dim, rank]), null, Magnitude(dim));
            if (config.UseDora) InitialiseMagnitude(table, tape => DoraEmbeddingOp.Norm(tape, embedding, table));
            return table;
        }
        LinearModule linear = (LinearModule)target.Module;
        bool takes = WeightInitializer.TakesFromBase(config.Init);
        bool mica = config.Init == LoraInit.Mica;
        (float[] down, float[] up) = takes ? WeightInitializer.FromBase(config.Init, linear, rank, target.Scaling)
            : mica ? (new float[rank * linear.In], isNew ? WeightInitializer.MinorComponents(linear, rank) : new float[linear.Out * rank])
            : LoraInitializer.Linear(config.Init, linear.In, linear.Out, rank, seed, path);
        Parameter pa = new(backend, path + ".lora_A.weight", ParameterKind.LoraA, down, [rank, linear.In]);
        Parameter pb = new(backend, path + ".lora_B.weight", ParameterKind.LoraB, up, [linear.Out, rank], frozen: mica);
        Parameter? bias = config.LoraBias ? new Parameter(backend, path + ".lora_B.bias", ParameterKind.LoraBias, new float[linear.Out], [linear.Out]) : null;
        Parameter? magnitude = Magnitude(linear.Out);
        LoraLayer layer = new(path, name, target.Scaling, (float)config.Dropout, pa, pb, bias, magnitude)
        {
            Initial = takes ? new LoraLayer(path, name, -target.Scaling, 0, Frozen(pa, down), Frozen(pb, up), null, null) : null,
        };
        if (magnitude is not null) InitialiseMagnitude(layer, tape => DoraLinearOp.Norm(tape, linear, layer));
        return layer;

        Parameter? Magnitude(int count) => config.UseDora ? new Parameter(backend, path + ".lora_magnitude_vector", ParameterKind.Magnitude, new float[count], [count]) : null;

        Parameter Frozen(Parameter like, float[] values) => new(backend, like.Name + ".initial", like.Kind, values, like.FileShape);
    }

    private static void InitialiseMagnitude(LoraLayer layer, Func<Tensors.Autograd.Tape, Tensor> measure)
    {
        // m starts as the norm of W + s·B·A, so that DoRA starts as the base model.
        using Arena arena = new(layer.A.Value.Backend);
        Tensors.Autograd.Tape tape = new(arena) { Recording = false };
        Tensor norm = measure(tape);
        layer.A.Value.Backend.Scale(norm, 1, layer.Magnitude!.Value);
        Arena.Release(norm);
        layer.A.Value.Backend.Synchronize();
    }

    private static void AddSavedModules(PretrainedModel model, LoraConfig config, LoraAdapter adapter)
    {
        foreach (Module module in model.Modules)
        {
            if (!config.ModulesToSave.Any(entry => ModuleMatcher.IsSaved(entry, module.Path))) continue;
            foreach (BaseTensor tensor in module.Tensors) adapter.Add(tensor, tensor.CreateCopy(tensor.Name, ParameterKind.Full));
        }
    }

    private static void AddBiases(PretrainedModel model, LoraConfig config, IReadOnlyList<LoraTarget> targets, LoraAdapter adapter)
    {
        if (config.Bias == BiasTraining.None) return;
        HashSet<string> adapted = [.. targets.Select(t => t.Module.Path)];
        foreach (Module module in model.Modules)
        {
            bool isAdapted = adapted.Contains(module.Path);
            if (config.Bias == BiasTraining.LoraOnly && !isAdapted) continue;
            foreach (BaseTensor tensor in module.Tensors)
            {
                if (!tensor.Name.EndsWith(".bias", StringComparison.Ordinal) || adapter.Overrides.Any(o => o.Tensor == tensor)) continue;
                // PEFT's adapted layers hold the base bias under base_layer.
                string name = isAdapted ? module.Path + ".base_layer.bias" : tensor.Name;
                adapter.Add(tensor, tensor.CreateCopy(name, ParameterKind.BaseBias));
            }
        }
    }

    private static void CheckEntries(PretrainedModel model, LoraConfig config, List<Module> candidates, List<LoraTarget> targets, bool strict, Action<string>? warn)
    {
        List<string> paths = [.. candidates.Select(m => m.Path)];
        if (config.TargetModules!.Names is { } names)
        {
            foreach (string name in names)
                if (!paths.Exists(p => ModuleMatcher.SelectsName(name, p)))
                    throw Unmatched("target_modules", name, paths.Where(p => p != model.OutputHeadPath));
        }
        if (config.ExcludeModules?.Names is { } excluded)
        {
            foreach (string name in excluded)
                if (!paths.Exists(p => ModuleMatcher.SelectsName(name, p))) Complain("exclude_modules", name, paths);
        }
        else if (config.ExcludeModules is { } selector && !paths.Exists(p => ModuleMatcher.Selects(selector, p)))
        {
            Complain("exclude_modules", selector.ToString(), paths);
        }
        List<string> parameters = [.. ParameterTargets.Names(model)];
        foreach (string entry in config.TargetParameters)
            if (!parameters.Exists(p => ModuleMatcher.SelectsName(entry, p))) throw Unmatched("target_parameters", entry, parameters);
        List<string> adapted = [.. targets.Select(t => t.Module.Path), .. parameters.Where(p => ParameterTargets.Selects(config, p))];
        foreach (string key in config.RankPattern.Select(p => p.Key))
            if (!adapted.Exists(p => ModuleMatcher.PatternMatches(key, p))) Complain("rank_pattern", key, adapted);
        foreach (string key in config.AlphaPattern.Select(p => p.Key))
            if (!adapted.Exists(p => ModuleMatcher.PatternMatches(key, p))) Complain("alpha_pattern", key, adapted);
        IEnumerable<string> saved = config.TaskType is "SEQ_CLS" or "TOKEN_CLS" ? config.ModulesToSave.Except(_classifierNames) : config.ModulesToSave;
        foreach (string entry in saved)
            if (!model.Modules.Any(m => ModuleMatcher.IsSaved(entry, m.Path))) Complain("modules_to_save", entry, model.Modules.Select(m => m.Path));
        if (adapted.Count == 0 && config.TargetModules.Names is not { Count: 0 })
            throw new LoraNetException($"target_modules '{config.TargetModules}' adapts no module of this {model.Config.ModelType} model.", $"Linear modules are: {string.Join(", ", LastNames(paths))}.");

        void Complain(string what, string entry, IEnumerable<string> among)
        {
            LoraNetException error = Unmatched(what, entry, among);
            if (strict) throw error;
            warn?.Invoke(error.Message);
        }
    }

    private static LoraNetException Unmatched(string what, string entry, IEnumerable<string> paths)
    {
        List<string> names = [.. LastNames(paths)];
        List<string> near = [.. names.Where(n => n.Contains(entry, StringComparison.OrdinalIgnoreCase)).Concat(NearestNames.Find(entry, names, 3)).Distinct()];
        return new LoraNetException($"{what}: '{entry}' matches no module of this model.", near.Count > 0 ? $"Nearest: {string.Join(", ", near)}." : $"Modules are: {string.Join(", ", names)}.");
    }

    private static IEnumerable<string> LastNames(IEnumerable<string> paths) => paths.Select(p => p[(p.LastIndexOf('.') + 1)..]).Distinct();
}
