using LoraNet.Lora;

namespace LoraNet.Adapters;

/// <summary>
/// The contents of PEFT's adapter_config.json, as far as they matter here. Names and defaults are PEFT's
/// (https://huggingface.co/docs/peft/package_reference/lora); <see cref="AdapterConfigJson"/> reads and writes it.
/// </summary>
public sealed record PeftAdapterConfig
{
    /// <summary>The method that <c>peft_type</c> names with its own settings; null for LORA.</summary>
    public MethodSettings? Method { get; init; }

    /// <summary><c>r</c> (<c>init_r</c> of AdaLoRA): the rank.</summary>
    public int R { get; init; } = 8;

    /// <summary><c>lora_alpha</c> (<c>alpha</c> of LoHa and LoKr): the scaling is alpha / r, or alpha / √r with <see cref="UseRsLora"/>.</summary>
    public double LoraAlpha { get; init; } = 8;

    /// <summary><c>lora_dropout</c> (<c>vera_dropout</c>): probability of dropping an input of A while training.</summary>
    public double LoraDropout { get; init; }

    /// <summary><c>target_modules</c>: null for the model family's default.</summary>
    public ModuleSelector? TargetModules { get; init; }

    /// <summary><c>exclude_modules</c>: wins over the target.</summary>
    public ModuleSelector? ExcludeModules { get; init; }

    /// <summary><c>target_parameters</c>: names of parameters (not modules) that are adapted, or null.</summary>
    public IReadOnlyList<string>? TargetParameters { get; init; }

    /// <summary><c>bias</c>: base biases stored with the adapter.</summary>
    public BiasTraining Bias { get; init; }

    /// <summary><c>lora_bias</c>: a bias on B.</summary>
    public bool LoraBias { get; init; }

    /// <summary><c>use_rslora</c>.</summary>
    public bool UseRsLora { get; init; }

    /// <summary><c>use_dora</c>.</summary>
    public bool UseDora { get; init; }

    /// <summary><c>fan_in_fan_out</c>: says nothing reliable when read (PEFT stores the flag of the layer it met last); written for GPT-2's layers.</summary>
    public bool FanInFanOut { get; init; }

    /// <summary><c>modules_to_save</c>: names of modules stored whole.</summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary><c>rank_pattern</c> in the order of the file: the first match wins.</summary>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];

    /// <summary><c>alpha_pattern</c> in the order of the file: the first match wins.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];

    /// <summary><c>layers_to_transform</c>: layer numbers, or null for all.</summary>
    public IReadOnlyList<int>? LayersToTransform { get; init; }

    /// <summary><c>layers_pattern</c>: names of the layer list, or null.</summary>
    public IReadOnlyList<string>? LayersPattern { get; init; }

    /// <summary><c>init_lora_weights</c>: "true", "false" or a method's name.</summary>
    public string InitLoraWeights { get; init; } = "true";

    /// <summary><c>loftq_config.loftq_bits</c>.</summary>
    public int LoftQBits { get; init; } = 4;

    /// <summary><c>loftq_config.loftq_iter</c>.</summary>
    public int LoftQIterations { get; init; } = 1;

    /// <summary><c>task_type</c>, or null.</summary>
    public string? TaskType { get; init; }

    /// <summary><c>base_model_name_or_path</c>, or null.</summary>
    public string? BaseModelNameOrPath { get; init; }

    /// <summary><c>revision</c> of the base model, or null.</summary>
    public string? Revision { get; init; }

    /// <summary><c>inference_mode</c>: true in every saved adapter.</summary>
    public bool InferenceMode { get; init; } = true;

    /// <summary><c>ensure_weight_tying</c>.</summary>
    public bool EnsureWeightTying { get; init; }

    /// <summary><c>trainable_token_indices</c>: token rows trained by module name; the name "" is the input embedding. Null if none.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<int>>? TrainableTokenIndices { get; init; }

    /// <summary>
    /// True if the initialisation changed the base weights (PiSSA, OLoRA, LoftQ, CorDA, LoRA-GA): A and B then belong to a base that is
    /// not the one in the model's folder.
    /// </summary>
    public bool InitChangesBase => InitLoraWeights is "olora" or "loftq" or "corda" or "lora_ga" || InitLoraWeights.StartsWith("pissa", StringComparison.Ordinal);

    /// <summary>The settings of an adapter, for writing.</summary>
    /// <param name="config">The settings.</param>
    /// <param name="fanInFanOut">True if the adapted layers store their weights as [in, out] (GPT-2).</param>
    public static PeftAdapterConfig From(LoraConfig config, bool fanInFanOut = false) => new()
    {
        Method = config.Method,
        R = config.Rank,
        LoraAlpha = config.Alpha,
        LoraDropout = config.Dropout,
        TargetModules = config.TargetModules,
        ExcludeModules = config.ExcludeModules,
        TargetParameters = config.TargetParameters.Count > 0 ? config.TargetParameters : null,
        Bias = config.Bias,
        LoraBias = config.LoraBias,
        UseRsLora = config.UseRsLora,
        UseDora = config.UseDora,
        FanInFanOut = fanInFanOut,
        ModulesToSave = config.ModulesToSave,
        RankPattern = config.RankPattern,
        AlphaPattern = config.AlphaPattern,
        LayersToTransform = config.LayersToTransform,
        LayersPattern = config.LayersPattern,
        // Trained A and B are stored as they are; how they began is of no use to a reader, except that MiCA's B stays frozen.
        InitLoraWeights = config.Init switch { LoraInit.Gaussian => "gaussian", LoraInit.Mica => "mica", LoraInit.LoftQ => "loftq", _ => "true" },
        LoftQBits = config.LoftQBits,
        LoftQIterations = config.LoftQIterations,
        TaskType = config.TaskType,
        BaseModelNameOrPath = config.BaseModelNameOrPath,
    };

    /// <summary>The settings with which a stored adapter is built before its tensors are read.</summary>
    /// <param name="source">The file, for messages.</param>
    /// <exception cref="LoraNetException">The adapter needs something that is not supported.</exception>
    public LoraConfig ToLoraConfig(string source = AdapterConfigJson.FileName)
    {
        // PiSSA, OLoRA and LoftQ can be computed again from the base; the others depend on chance or data.
        if (InitChangesBase && InitLoraWeights is not ("pissa" or "olora" or "loftq"))
            throw new LoraNetException($"{source}: \"init_lora_weights\" is \"{InitLoraWeights}\", which changed the base weights, so A and B do not fit the base model in its folder.",
                "Convert the adapter to plain LoRA in PEFT: save_pretrained(..., path_initial_model_for_weight_conversion=...).");
        if (TrainableTokenIndices is not null) throw Unsupported("trainable_token_indices");
        if (EnsureWeightTying) throw Unsupported("ensure_weight_tying");
        LoraConfig config = new()
        {
            Method = Method,
            Rank = R,
            Alpha = LoraAlpha,
            Dropout = LoraDropout,
            TargetModules = TargetModules,
            ExcludeModules = ExcludeModules,
            TargetParameters = TargetParameters ?? [],
            Bias = Bias,
            LoraBias = LoraBias,
            UseRsLora = UseRsLora,
            UseDora = UseDora,
            ModulesToSave = ModulesToSave,
            RankPattern = RankPattern,
            AlphaPattern = AlphaPattern,
            LayersToTransform = LayersToTransform,
            LayersPattern = LayersPattern,
            Init = InitLoraWeights switch
            {
                "gaussian" => LoraInit.Gaussian,
                "pissa" => LoraInit.Pissa,
                "olora" => LoraInit.Olora,
                "mica" => LoraInit.Mica,
                "loftq" => LoraInit.LoftQ,
                _ => LoraInit.KaimingUniform,
            },
            LoftQBits = LoftQBits,
            LoftQIterations = LoftQIterations,
            TaskType = TaskType ?? "CAUSAL_LM",
            BaseModelNameOrPath = BaseModelNameOrPath,
        };
        try
        {
            config.Validate();
        }
        catch (LoraNetException e)
        {
            throw new LoraNetException($"{source}: {e.Message}", null, e);
        }
        return config;

        LoraNetException Unsupported(string key) => new($"{source}: \"{key}\" is in use, which is not supported.");
    }
}
