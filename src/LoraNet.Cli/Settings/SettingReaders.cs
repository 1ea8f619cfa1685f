using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Training;

namespace LoraNet.Cli.Settings;

/// <summary>Turns setting values into the library's options.</summary>
internal static class SettingReaders
{
    /// <summary>The adapter's settings. Where nothing is set: rank 16, alpha 32, all linear layers.</summary>
    public static LoraConfig ReadLora(SettingValues v)
    {
        MethodSettings? method = MethodReaders.Read(v);
        // A preset's dropout is meant for methods that have one.
        bool presetDropout = v.Origin("dropout").StartsWith("preset", StringComparison.Ordinal) && method is not (null or VeraSettings or AdaLoraSettings);
        LoraConfig config = new()
        {
            Method = method,
            Rank = v.Integer("rank") ?? MethodReaders.DefaultRank(method),
            Alpha = v.Number("alpha") ?? 32,
            Dropout = presetDropout ? 0 : v.Number("dropout") ?? 0,
            // Naming parameters alone adapts nothing else, as in PEFT.
            TargetModules = Selector(v, "target-modules") ?? (v.List("target-parameters") is not null ? ModuleSelector.Of() : method is Ia3Settings ? null : ModuleSelector.AllLinearLayers),
            TargetParameters = v.List("target-parameters") ?? [],
            ExcludeModules = Selector(v, "exclude-modules"),
            UseRsLora = v.Switch("use-rslora"),
            UseDora = v.Switch("use-dora"),
            LoraBias = v.Switch("lora-bias"),
            Bias = Word(v, "bias") switch { "all" => BiasTraining.All, "lora_only" => BiasTraining.LoraOnly, _ => BiasTraining.None },
            LoftQBits = v.Integer("loftq-bits") ?? 4,
            LoftQIterations = v.Integer("loftq-iterations") ?? 1,
            ModulesToSave = v.List("modules-to-save") ?? [],
            RankPattern = [.. Pattern(v, "rank-pattern").Select(p => KeyValuePair.Create(p.Key, Whole(v, p)))],
            AlphaPattern = Pattern(v, "alpha-pattern"),
            LayersToTransform = v.List("layers-to-transform") is { } layers ? [.. layers.Select(l => Layer(v, l))] : null,
            LayersPattern = v.List("layers-pattern"),
            Init = Word(v, "init") switch
            {
                "kaiming-a0" => LoraInit.KaimingUniformA0,
                "gaussian" => LoraInit.Gaussian,
                "pissa" => LoraInit.Pissa,
                "olora" => LoraInit.Olora,
                "orthogonal" => LoraInit.Orthogonal,
                "mica" => LoraInit.Mica,
                "eva" => LoraInit.Eva,
                "loftq" => LoraInit.LoftQ,
                "random" => LoraInit.Random,
                _ => LoraInit.KaimingUniform,
            },
        };
        config.Validate();
        return config;
    }

    /// <summary>The training options.</summary>
    public static TrainingOptions ReadTraining(SettingValues v)
    {
        if (v.Integer("seed") is < 0) throw v.Error("seed", "the seed must not be negative.");
        TrainingOptions options = new()
        {
            BatchSize = v.Integer("batch-size") ?? 8,
            GradientAccumulation = v.Integer("gradient-accumulation") ?? 1,
            Epochs = v.Number("epochs") ?? 3,
            MaxSteps = v.Integer("max-steps"),
            LearningRate = v.Number("learning-rate") ?? 2e-4,
            WeightDecay = v.Number("weight-decay") ?? 0,
            AdamBeta1 = v.Number("adam-beta1") ?? 0.9,
            AdamBeta2 = v.Number("adam-beta2") ?? 0.999,
            AdamEpsilon = v.Number("adam-eps") ?? 1e-8,
            Schedule = LearningRateSchedule.Parse(v.Text("lr-scheduler") ?? "linear"),
            WarmupSteps = v.Integer("warmup-steps"),
            WarmupRatio = v.Number("warmup-ratio") ?? 0,
            MaxGradNorm = v.Number("max-grad-norm") ?? 1,
            LoraPlusRatio = v.Number("lora-plus-ratio") ?? 1,
            LoraFa = v.Switch("lora-fa"),
            Seed = (ulong)(v.Integer("seed") ?? 42),
            Shuffle = !v.Switch("no-shuffle"),
            EvalSteps = v.Integer("eval-steps") ?? 0,
            Activations = Enum.Parse<ActivationChoice>(v.Text("activations") ?? "auto", ignoreCase: true),
            SaveSteps = v.Integer("save-steps") ?? 0,
            SaveTotalLimit = v.Integer("save-total-limit") ?? 0,
            EarlyStoppingPatience = v.Integer("early-stopping-patience") ?? 0,
        };
        options.Validate();
        return options;
    }

    private static string? Word(SettingValues v, string name) => v.Text(name)?.ToLowerInvariant();

    private static ModuleSelector? Selector(SettingValues v, string name)
    {
        if (v.Text(name) is not { } text) return null;
        ModuleSelector selector = ModuleSelector.Parse(text);
        if (selector.Names is { Count: 0 }) throw v.Error(name, $"--{name} is empty.", "Name modules such as q_proj,v_proj, or all-linear.");
        if (selector.Pattern is { } pattern)
        {
            try
            {
                _ = new System.Text.RegularExpressions.Regex(pattern);
            }
            catch (ArgumentException e)
            {
                throw v.Error(name, $"'{pattern}' is not a regular expression: {e.Message}");
            }
        }
        return selector;
    }

    private static IReadOnlyList<KeyValuePair<string, double>> Pattern(SettingValues v, string name)
    {
        if (v.Json(name) is not { } json) return [];
        List<KeyValuePair<string, double>> result = [];
        foreach ((string key, JsonNode? value) in json)
        {
            if (value is not JsonValue number || !number.TryGetValue(out double d)) throw v.Error(name, $"--{name}: '{key}' must be a number.");
            result.Add(KeyValuePair.Create(key, d));
        }
        return result;
    }

    private static int Whole(SettingValues v, KeyValuePair<string, double> entry) =>
        entry.Value == Math.Floor(entry.Value) && entry.Value is > 0 and < int.MaxValue ? (int)entry.Value : throw v.Error("rank-pattern", $"--rank-pattern: the rank of '{entry.Key}' must be a positive whole number.");

    private static int Layer(SettingValues v, string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : throw v.Error("layers-to-transform", $"--layers-to-transform: '{text}' is not a layer number.");
}
