namespace LoraNet.Lora;

/// <summary>How A and B start (peft-style <c>init_lora_weights</c>).</summary>
public enum LoraInit
{
    /// <summary>A ~ U(±1/√in), B = 0: Kaiming-uniform with a = √5, PEFT's and loralib's default.</summary>
    KaimingUniform,
    /// <summary>A ~ U(±√(6/in)), B = 0: Kaiming-uniform with a = 0.</summary>
    KaimingUniformA0,
    /// <summary>A ~ N(0, (1/r)²), B = 0.</summary>
    Gaussian,
    /// <summary>A ~ U(±1/√in), B ~ U(±1/√r): not a no-op; for tests.</summary>
    Random,
    /// <summary>The r largest singular triples of W move into the adapter (Meng et al., 2024).</summary>
    Pissa,
    /// <summary>The first r columns of W's QR decomposition move into the adapter (Büyükakyüz, 2024).</summary>
    Olora,
    /// <summary>B = the left singular vectors of W with the smallest singular values, frozen; A = 0 (MiCA, 2026).</summary>
    Mica,
    /// <summary>A and B make up for the quantisation of the base, which the dequantised weight then stands in for (Li et al., 2023).</summary>
    LoftQ,
    /// <summary>A = the leading principal components of the module's inputs on training data, B = 0, ranks by explained variance (Paischer et al., 2024).</summary>
    Eva,
    /// <summary>A and B from orthogonal subspaces, so that B·A = 0 though neither is zero; even ranks only.</summary>
    Orthogonal,
}

/// <summary>Which base biases are trained with the adapter.</summary>
public enum BiasTraining
{
    /// <summary>None.</summary>
    None,
    /// <summary>Every bias of the model.</summary>
    All,
    /// <summary>The biases of adapted layers.</summary>
    LoraOnly,
}

/// <summary>
/// Selects modules by name, as PEFT's target_modules and exclude_modules: a list of names or dotted suffixes, a regular
/// expression that must match the whole module path, or every linear layer but the output head.
/// </summary>
public sealed class ModuleSelector
{
    private ModuleSelector(IReadOnlyList<string>? names, string? pattern, bool allLinear) => (Names, Pattern, AllLinear) = (names, pattern, allLinear);

    /// <summary>Every linear layer except the output head.</summary>
    public static ModuleSelector AllLinearLayers { get; } = new(null, null, true);

    /// <summary>Names or dotted suffixes, or null.</summary>
    public IReadOnlyList<string>? Names { get; }

    /// <summary>A regular expression for the whole path, or null.</summary>
    public string? Pattern { get; }

    /// <summary>True for <see cref="AllLinearLayers"/>.</summary>
    public bool AllLinear { get; }

    /// <summary>Selects by exact name or dotted suffix.</summary>
    public static ModuleSelector Of(params IReadOnlyList<string> names) => new(names, null, false);

    /// <summary>Selects by a regular expression that matches the whole path.</summary>
    public static ModuleSelector Regex(string pattern) => new(null, pattern, false);

    /// <summary>Reads the command's form: <c>all-linear</c>, <c>regex:…</c>, or names separated by commas.</summary>
    public static ModuleSelector Parse(string text)
    {
        if (text.Equals("all-linear", StringComparison.OrdinalIgnoreCase)) return AllLinearLayers;
        if (text.StartsWith("regex:", StringComparison.OrdinalIgnoreCase)) return Regex(text["regex:".Length..]);
        return Of(text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
    }

    /// <inheritdoc/>
    public override string ToString() => AllLinear ? "all-linear" : Pattern is not null ? $"regex:{Pattern}" : string.Join(",", Names!);
}

/// <summary>Settings of a LoRA adapter (Hu et al., 2021), with PEFT's meanings and defaults.</summary>
public sealed record LoraConfig
{
    /// <summary>Rank r.</summary>
    public int Rank { get; init; } = 8;
    /// <summary>Alpha; the scaling is alpha / r.</summary>
    public double Alpha { get; init; } = 8;
    /// <summary>Probability of dropping an input of A while training.</summary>
    public double Dropout { get; init; }
    /// <summary>Adapted modules; null takes the model family's default.</summary>
    public ModuleSelector? TargetModules { get; init; }
    /// <summary>Another method than LoRA, or null.</summary>
    public MethodSettings? Method { get; init; }
    /// <summary>Parameters that are adapted by name, such as <c>mlp.experts.gate_up_proj</c> of fused experts; see <see cref="ParameterTargets"/>.</summary>
    public IReadOnlyList<string> TargetParameters { get; init; } = [];
    /// <summary>Modules left out; wins over the target.</summary>
    public ModuleSelector? ExcludeModules { get; init; }
    /// <summary>Scaling alpha / √r (Kalajdzievski, 2023).</summary>
    public bool UseRsLora { get; init; }
    /// <summary>Weight-decomposed LoRA (Liu et al., 2024).</summary>
    public bool UseDora { get; init; }
    /// <summary>A bias on B.</summary>
    public bool LoraBias { get; init; }
    /// <summary>Base biases trained with the adapter.</summary>
    public BiasTraining Bias { get; init; }
    /// <summary>Names of modules trained whole, as copies.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];
    /// <summary>Rank by regular expression on the module path, first match wins.</summary>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];
    /// <summary>Alpha by regular expression on the module path, first match wins.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];
    /// <summary>Layer numbers to adapt; null for all. Only with a list of names.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }
    /// <summary>Names of the layer list, such as "layers" or "h"; null for the first number in the path.</summary>
    public IReadOnlyList<string>? LayersPattern { get; init; }
    /// <summary>How A and B start.</summary>
    public LoraInit Init { get; init; }
    /// <summary>LoftQ's bits: 4 (NF4) or 8.</summary>
    public int LoftQBits { get; init; } = 4;
    /// <summary>LoftQ's rounds of quantisation and approximation.</summary>
    public int LoftQIterations { get; init; } = 1;
    /// <summary>PEFT's task_type.</summary>
    public string TaskType { get; init; } = "CAUSAL_LM";
    /// <summary>Written to adapter_config.json for PEFT; informational.</summary>
    public string? BaseModelNameOrPath { get; init; }

    /// <summary>Checks ranges.</summary>
    /// <exception cref="LoraNetException">A value is out of range or two settings exclude each other.</exception>
    public void Validate()
    {
        if (Rank <= 0) throw new LoraNetException($"Rank {Rank} is not positive.", "Use --rank 8 or another positive number.");
        if (!double.IsFinite(Alpha)) throw new LoraNetException($"Alpha {Alpha} is not a finite number.");
        if (!(Dropout >= 0 && Dropout < 1)) throw new LoraNetException($"Dropout {Dropout} is not in [0, 1).");
        foreach ((string key, int rank) in RankPattern)
            if (rank <= 0) throw new LoraNetException($"rank_pattern '{key}': rank {rank} is not positive.");
        if (LayersToTransform is not null && TargetModules is { Names: null })
            throw new LoraNetException("layers_to_transform needs target_modules as a list of names.", "Give names, or put the layer numbers into the regular expression.");
        if (LayersPattern is not null && LayersToTransform is null)
            throw new LoraNetException("layers_pattern was given without layers_to_transform.", "Add --layers-to-transform.");
        if (UseDora && WeightInitializer.TakesFromBase(Init))
            throw new LoraNetException($"use_dora and the {Init} initialisation exclude each other: DoRA's magnitudes belong to the whole base weight.", "Choose one.");
        if (UseDora && Init is LoraInit.Mica or LoraInit.LoftQ) throw new LoraNetException($"use_dora and the {Init} initialisation exclude each other.", "Choose one.");
        if (LoftQBits is not (4 or 8)) throw new LoraNetException($"LoftQ quantises to 4 or 8 bits, not {LoftQBits}.");
        if (LoftQIterations is < 1 or > 100) throw new LoraNetException($"LoftQ's {LoftQIterations} iterations are not between 1 and 100.");
        if (UseDora && LoraBias) throw new LoraNetException("use_dora and lora_bias exclude each other.", "Choose one.");
        if (Method is not null) ValidateMethod(Method);
        if (TargetParameters.Count > 0)
        {
            string? other = Dropout > 0 ? "dropout" : UseDora ? "use_dora" : LoraBias ? "lora_bias" : null;
            if (other is not null) throw new LoraNetException($"target_parameters and {other} exclude each other.", $"Leave {other} out, or name modules in target_modules instead.");
        }
    }

    private void ValidateMethod(MethodSettings method)
    {
        string? other = UseDora ? "use_dora" : UseRsLora ? "use_rslora" : LoraBias ? "lora_bias" : TargetParameters.Count > 0 ? "target_parameters"
            : Dropout > 0 && !method.HasDropout ? "dropout" : Bias != BiasTraining.None && !method.HasBias ? "bias"
            : Init is not (LoraInit.KaimingUniform or LoraInit.Random) ? $"the {Init} initialisation" : null;
        if (other is not null) throw new LoraNetException($"{method.PeftType} and {other} exclude each other.", $"Leave {other} out, or use LoRA.");
        method.Validate(this);
    }

    /// <summary>Rank and scaling of the module or parameter at a path, by the patterns.</summary>
    public (int Rank, double Scaling) RankAndScaling(string path)
    {
        int rank = ModuleMatcher.TryPattern(RankPattern, path, out int r) ? r : Rank;
        double alpha = ModuleMatcher.TryPattern(AlphaPattern, path, out double a) ? a : Alpha;
        return (rank, UseRsLora ? alpha / Math.Sqrt(rank) : alpha / rank);
    }
}
