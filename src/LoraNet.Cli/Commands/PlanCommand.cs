using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Planning;
using LoraNet.Cli.Settings;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Training;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet plan</c>: what a run would train, need and take, without weights and without training.</summary>
internal static class PlanCommand
{
    public static Command Create(CommandContext context)
    {
        Command command = new("plan", "Show what a run would train, the memory it needs and whether that fits. Takes the flags of train.");
        SettingOptions.AddTo(command, TrainSettings.All, recipe: true);
        Option<string> config = new("--config") { Description = "A config.json to plan without weights.", HelpName = "FILE" };
        Option<int> length = new("--sequence-length") { Description = "Tokens of a row in the plan; --max-length or 1024 when not given.", HelpName = "N" };
        Option<bool> json = AllCommands.JsonOption();
        foreach (Option option in new Option[] { config, length, json }) command.Add(option);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, TrainSettings.All), context.Terminal(parse.GetValue(json)), context.Host, parse.GetValue(config), parse.GetValue(length))));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string? configPath, int sequenceLength)
    {
        if (configPath is null && !values.IsSet("model")) throw new LoraNetException("--model or --config is missing.", "Give a model folder, or a config.json without weights.");
        ModelConfig config = ModelConfig.Load(configPath ?? values.Required("model"));
        DecoderOptions options = DecoderFamilies.Options(config);
        string? quantization = values.Text("base-quantization");
        using Backend backend = BackendFactory.Create(Device(values), host);
        using CausalLM model = new(backend, config, options, ShapeWeights.ForPlan(config, options));
        if (values.Text("adapter") is { } adapterFolder) AdapterLayer.Apply(values, adapterFolder);
        Preset? preset = Preset.Apply(values, backend.Name, BackendFactory.DeviceBytes(backend), AttentionNames(options));
        PlanDevice device = preset is not null && values.Text("preset") != "auto" ? PlanDevice.OfPreset(preset.Name) : PlanDevice.Of(backend);

        LoraConfig lora = SettingReaders.ReadLora(values);
        int batch = SettingReaders.ReadTraining(values).BatchSize;
        if (sequenceLength < 0) throw new LoraNetException($"--sequence-length {sequenceLength} is not a positive number.");
        int length = sequenceLength > 0 ? sequenceLength : values.Integer("max-length") ?? Math.Min(1024, config.MaxPositionEmbeddings);
        IReadOnlyList<LoraTarget> targets = values.Switch("full") ? [] : AdapterBuilder.FindTargets(model, lora, warn: terminal.Warn);
        // What formulas do not count is built.
        using LoraAdapter? built = !values.Switch("full") && (lora.Method is not null || lora.TargetParameters.Count > 0) ? AdapterBuilder.Create(model, "plan", lora, 0, warn: terminal.Warn) : null;
        if (built is not null) targets = [.. targets, .. Stacked(model, lora)];
        long parameters = model.BaseParameterCount, trained = values.Switch("full") ? parameters : built?.ParameterCount ?? Trained(model, lora, targets);
        double weightBytes = (quantization ?? "none") switch { "int8" => 1.03, "nf4" => 0.53, _ => 0 };
        IReadOnlyList<(Module Module, int Rank)> adapted = [.. targets.Select(t => (t.Module, t.Rank))];
        ActivationChoice activations = SettingReaders.ReadTraining(values).Activations;
        MemoryPlan plan = MemoryPlan.Of(model, adapted, trained, (long)batch * length, device.ActivationBytes, activations, device.Bytes, weightBytes);
        double flops = MemoryPlan.FlopsPerToken(model, adapted, length), seconds = flops * batch * length / device.Flops;
        bool fits = plan.Total <= device.Bytes;
        string? advice = fits ? null : Advice(model, adapted, trained, batch, length, device, weightBytes, plan);

        terminal.Heading($"{config.ModelType}, {Format.Count(parameters)} parameters{(preset is null ? "" : $", preset {preset.Name}")}");
        ShowTargets(terminal, model, targets, built);
        terminal.Line($"trainable: {Format.Count(trained)} of {Format.Count(parameters)} ({Format.Percent(trained / (double)(parameters + (values.Switch("full") ? 0 : trained)))} of base and adapter together), r {lora.Rank}, alpha {Format.Exact(lora.Alpha)}");
        terminal.Line();
        terminal.Table(["memory", "", ""],
        [
            ["weights", Format.Bytes(plan.Weights), weightBytes > 0 ? values.Text("base-quantization")! : "stored type"],
            ["adapter", Format.Bytes(plan.Adapters), "f32"],
            ["gradients", Format.Bytes(plan.Gradients), "f32"],
            ["AdamW moments", Format.Bytes(plan.Moments), "f32"],
            ["activations", Format.Bytes(plan.Activations), $"{plan.Layers} layers of {Format.Bytes(plan.ActivationsPerLayer)}, {batch} x {length} tokens, {Kept(plan)}"],
            ["workspace", Format.Bytes(plan.Workspace), "gradients of one layer's activations"],
            ["logits chunk", Format.Bytes(plan.LogitsChunk), ""],
            ["total", Format.Bytes(plan.Total), ""],
        ]);
        terminal.Line($"device: {device.Name}, {Format.Bytes(device.Bytes)}");
        terminal.Line(fits ? "It fits." : $"It does not fit. {advice}");
        terminal.Line($"estimate: {Format.Flops(flops)} a token, {Format.Duration(seconds)} a step, {Format.Short(batch * length / seconds)} tokens/s");
        terminal.Result(new JsonObject
        {
            ["model_type"] = config.ModelType,
            ["parameters"] = parameters,
            ["trainable_parameters"] = trained,
            ["trainable_percent"] = 100.0 * trained / (parameters + (values.Switch("full") ? 0 : trained)),
            ["preset"] = preset?.Name,
            ["rank"] = lora.Rank,
            ["alpha"] = lora.Alpha,
            ["target_modules"] = lora.TargetModules?.ToString(),
            ["targets"] = new JsonArray([.. targets.Select(t => new JsonObject { ["module"] = t.Module.Path, ["rank"] = t.Rank, ["scaling"] = t.Scaling, ["parameters"] = Count(t, built) })]),
            ["memory"] = new JsonObject
            {
                ["weights"] = plan.Weights,
                ["adapter"] = plan.Adapters,
                ["gradients"] = plan.Gradients,
                ["moments"] = plan.Moments,
                ["activations"] = plan.Activations,
                ["activations_per_layer"] = plan.ActivationsPerLayer,
                ["layers_recomputed"] = plan.Recomputed,
                ["workspace"] = plan.Workspace,
                ["logits_chunk"] = plan.LogitsChunk,
                ["total"] = plan.Total,
            },
            ["device"] = device.Name,
            ["device_bytes"] = device.Bytes,
            ["fits"] = fits,
            ["advice"] = advice,
            ["flops_per_token"] = flops,
            ["predicted_seconds_per_step"] = seconds,
            ["predicted_tokens_per_second"] = batch * length / seconds,
        });
        return ExitCodes.Fine;
    }

    // A plan may ask what a quantised base or a type would need on a device that this machine lacks.
    private static SettingValues Device(SettingValues values)
    {
        SettingValues device = new(BackendFactory.Settings);
        foreach (string name in new[] { "device", "threads", "low-memory" })
            if (values.Text(name) is { } text) device.Add(name, text, values.Origin(name));
        return device;
    }

    /// <summary>Last names of the attention projections of a family.</summary>
    public static IReadOnlyList<string> AttentionNames(DecoderOptions options)
    {
        DecoderNames n = options.Names;
        string[] paths = n.FusedQueryKeyValue is { } fused ? [fused, n.Output] : [n.Query, n.Key, n.Value, n.Output];
        // GPT-2 calls the last projection of attention and of the MLP by one name: the path tells them apart.
        return [.. paths.Select(p => LastName(p) == LastName(n.Down) ? p : LastName(p))];
    }

    private static void ShowTargets(Terminal terminal, CausalLM model, IReadOnlyList<LoraTarget> targets, LoraAdapter? built)
    {
        if (targets.Count == 0) return;
        List<IReadOnlyList<string>> rows = [];
        foreach (var group in targets.GroupBy(t => (Name: LastName(t.Module.Path), t.Rank, Shape: Shape(t))))
        {
            int all = model.Modules.Count(m => LastName(m.Path) == group.Key.Name && m is LinearModule or EmbeddingModule && LastName(m.Path) == group.Key.Name);
            rows.Add([group.Key.Name, group.Key.Shape, $"{group.Count()} of {all}", group.Key.Rank.ToString(CultureInfo.InvariantCulture),
                group.First().Scaling.ToString("0.####", CultureInfo.InvariantCulture), Format.Count(group.Sum(t => Count(t, built)))]);
        }
        terminal.Table(["module", "out×in", "matches", "r", "scaling", "parameters"], rows);
    }

    private static string LastName(string path) => path[(path.LastIndexOf('.') + 1)..];

    private static string Shape(LoraTarget target) => target.Module is LinearModule l ? $"{l.Out}×{l.In}" : target.Module is EmbeddingModule e ? $"{e.Weight.Weight!.Rows}×{e.Weight.Weight.Columns}" : "";

    /// <summary>Experts adapted through a stacked parameter, as the targets that they amount to.</summary>
    private static IEnumerable<LoraTarget> Stacked(CausalLM model, LoraConfig lora) =>
        ParameterTargets.Find(model, lora).SelectMany(t => t.Weight.Parts.SelectMany(p => p).Select(m => new LoraTarget(m, t.Rank, t.Scaling)));

    private static long Count(LoraTarget target, LoraAdapter? built) => built?.Parts.Where(p => p.ModulePath == target.Module.Path).SelectMany(p => p.Parameters) is { } own && own.Any()
        ? own.Where(p => !p.Frozen).Sum(p => p.Count) : target.Module switch
        {
            LinearModule l => (long)target.Rank * (l.In + l.Out),
            EmbeddingModule e => (long)target.Rank * (e.Weight.Weight!.Rows + e.Weight.Weight.Columns),
            _ => 0,
        };

    private static long Trained(CausalLM model, LoraConfig lora, IReadOnlyList<LoraTarget> targets)
    {
        long count = targets.Sum(t => Count(t, null));
        HashSet<string> adapted = [.. targets.Select(t => t.Module.Path)];
        foreach (LoraTarget target in targets)
            if (target.Module is LinearModule linear) count += (lora.UseDora ? linear.Out : 0) + (lora.LoraBias ? linear.Out : 0);
        foreach (Module module in model.Modules)
        {
            bool saved = lora.ModulesToSave.Any(entry => ModuleMatcher.IsSaved(entry, module.Path));
            foreach (BaseTensor tensor in module.Tensors)
            {
                bool bias = tensor.Name.EndsWith(".bias", StringComparison.Ordinal) && (lora.Bias == BiasTraining.All || (lora.Bias == BiasTraining.LoraOnly && adapted.Contains(module.Path)));
                if (saved || bias) count += tensor.Source.Count;
            }
        }
        return count;
    }

    private static string Kept(MemoryPlan plan) =>
        plan.Recomputed > 0 ? $"{plan.Recomputed} of them computed again" : plan.Policy switch
        {
            ActivationPolicy.Keep => "all kept",
            ActivationPolicy.Norms => "norms computed again",
            _ => "norms and gated activations computed again",
        };

    // The largest batch that fits comes first, then shorter rows, then a quantised base, then a larger card.
    private static string Advice(CausalLM model, IReadOnlyList<(Module Module, int Rank)> adapted, long trained, int batch, int length, PlanDevice device, double weightBytes, MemoryPlan plan)
    {
        for (int b = batch / 2; b >= 1; b /= 2)
            if (Fits(b, length, weightBytes)) return $"Use --batch-size {b} with --gradient-accumulation {(batch + b - 1) / b}.";
        for (int l = length / 2; l >= 128; l /= 2)
            if (Fits(1, l, weightBytes)) return $"Use --batch-size 1 and --max-length {l}.";
        if (weightBytes == 0 && Fits(1, Math.Min(length, 512), 0.53)) return "Use --base-quantization nf4 with --batch-size 1.";
        return $"The weights alone take {Format.Bytes(plan.Weights)}: use a smaller model or a larger device.";

        bool Fits(int b, int l, double bytes) => MemoryPlan.Of(model, adapted, trained, (long)b * l, device.ActivationBytes, ActivationChoice.Auto, device.Bytes, bytes).Total <= device.Bytes;
    }
}
