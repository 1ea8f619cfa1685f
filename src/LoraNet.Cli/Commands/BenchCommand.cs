using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Cli.Output;
using LoraNet.Cli.Planning;
using LoraNet.Cli.Settings;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Training;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet bench train</c>: the trainer's own step on random weights of a shape.</summary>
internal static class BenchCommand
{
    private const int WarmupSteps = 2;

    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("rank", "alpha", "target-modules", "use-rslora", "use-dora", "batch-size", "gradient-accumulation", "activations", "seed"), .. BackendFactory.Settings, .. TrainSettings.Some("profile"),
        new("sequence-length", SettingKind.Integer, "bench", "Tokens of a row.") { Default = "256" },
        new("steps", SettingKind.Integer, "bench", "Measured steps, after two that are left out.") { Default = "10" },
        new("masked", SettingKind.Number, "bench", "Share of tokens at the start of each row that is not trained.") { Default = "0" },
    ];

    public static Command Create(CommandContext context)
    {
        Command bench = new("bench", "Measure speed.");
        Command train = new("train", "Training throughput on random weights of a config.json's shape: medians, two warm-up steps left out.");
        SettingOptions.AddTo(train, _settings, recipe: false);
        Option<string> config = new("--config") { Description = "config.json, or a model folder.", HelpName = "FILE" };
        Option<bool> json = AllCommands.JsonOption();
        train.Add(config);
        train.Add(json);
        train.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host, parse.GetValue(config))));
        bench.Add(train);
        bench.Add(BenchGenerate.Create(context));
        return bench;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string? configPath)
    {
        if (configPath is null) throw new LoraNetException("--config is missing.", "Give a config.json.");
        Stopwatch clock = Stopwatch.StartNew();
        ModelConfig config = ModelConfig.Load(configPath);
        DecoderOptions options = DecoderFamilies.Options(config);
        int batch = Positive(values, "batch-size", 8), accumulation = Positive(values, "gradient-accumulation", 1), length = Positive(values, "sequence-length", 256), steps = Positive(values, "steps", 10);
        if (length < 2 || length > config.MaxPositionEmbeddings) throw values.Error("sequence-length", $"--sequence-length {length} is not between 2 and the model's {config.MaxPositionEmbeddings} positions.");
        double masked = values.Number("masked") ?? 0;
        if (masked is < 0 or >= 1) throw values.Error("masked", $"--masked {masked.ToString(CultureInfo.InvariantCulture)} is not in [0, 1).");
        ulong seed = (ulong)Math.Max(0, values.Integer("seed") ?? 42);
        Backend device = BackendFactory.Create(values, host);
        RunProfile? profile = RunProfile.Attach(values.Switch("profile"), ref device);
        using Backend backend = device;
        DType stored = ShapeWeights.StoredType(config);
        ShapeWeights weights = ShapeWeights.Random(config, options, stored);
        using CausalLM model = new(backend, config, options, weights);
        LoraConfig lora = SettingReaders.ReadLora(values) with { Dropout = 0 };
        LoraAdapter adapter = model.AddAdapter(lora, seed: seed);
        // A GPU uploads them while the first step's kernels compile.
        if (backend.IsHost) model.Prepare();
        // The CPU backend reads only its packed copies from now on, the embedding included where it is the head.
        if (options.TiedEmbeddings && backend.IsHost && !values.Switch("low-memory") && !lora.UseDora && host.Environment("LORANET_BACKEND") is null or "cpu") weights.FreeValues();
        List<TokenRow> rows = RandomRows((steps + WarmupSteps) * batch * accumulation, length, masked, config.VocabSize, seed);
        using LoraTrainer trainer = new(model, rows, new TrainingOptions
        {
            BatchSize = batch,
            GradientAccumulation = accumulation,
            MaxSteps = steps + WarmupSteps,
            Shuffle = false,
            Schedule = ScheduleKind.Constant,
            LearningRate = 1e-4,
            Seed = seed,
            Activations = SettingReaders.ReadTraining(values).Activations,
        });
        List<StepResult> results = [];
        double firstStep = 0;
        long allocated = 0;
        while (results.Count < steps + WarmupSteps && !host.Stop.IsCancellationRequested)
        {
            if (results.Count == WarmupSteps) profile?.Begin();
            long before = GC.GetTotalAllocatedBytes(precise: true);
            StepResult step = trainer.Step();
            if (results.Count >= WarmupSteps) allocated += GC.GetTotalAllocatedBytes(precise: true) - before;
            if (results.Count == 0) firstStep = clock.Elapsed.TotalMilliseconds;
            results.Add(step);
            terminal.Line(string.Create(CultureInfo.InvariantCulture, $"step {step.Step} | loss {step.Loss:0.0000} | {step.Milliseconds:0.0} ms | {Format.Short(step.TokensPerSecond)} tok/s{(results.Count <= WarmupSteps ? " | warm-up" : "")}"));
        }
        if (results.Count <= WarmupSteps) return ExitCodes.Interrupted;
        double[] milliseconds = [.. results.Skip(WarmupSteps).Select(r => r.Milliseconds).Order()];
        double median = milliseconds.Length % 2 == 1 ? milliseconds[milliseconds.Length / 2] : (milliseconds[milliseconds.Length / 2 - 1] + milliseconds[milliseconds.Length / 2]) / 2;
        double rate = (double)batch * accumulation * length / (median / 1000);
        using Process process = Process.GetCurrentProcess();
        long peak = backend.IsHost ? process.PeakWorkingSet64 : backend.PeakBytes;
        terminal.Line();
        terminal.Table(["", ""],
        [
            ["tokens per second", Format.Count(rate)],
            ["milliseconds a step", median.ToString("0.0", CultureInfo.InvariantCulture)],
            ["peak memory", $"{Format.Bytes(peak)}, {Format.Bytes(trainer.Plan!.Total)} planned"],
            ["parameters", $"{Format.Count(adapter.ParameterCount)} of {Format.Count(model.BaseParameterCount)} trained"],
            ["first step done after", Format.Duration(firstStep / 1000)],
            ["managed memory allocated a step", Format.Bytes(allocated / milliseconds.Length)],
            ["device", backend.Name],
        ]);
        JsonObject? times = profile?.End(terminal, results.Skip(WarmupSteps).Sum(static r => r.Milliseconds));
        JsonObject json = new()
        {
            ["tokens_per_second"] = rate,
            ["milliseconds_per_step"] = median,
            ["milliseconds_best_step"] = milliseconds[0],
            ["peak_memory_bytes"] = peak,
            ["planned_memory_bytes"] = trainer.Plan!.Total,
            ["trainable_parameters"] = adapter.ParameterCount,
            ["parameters"] = model.BaseParameterCount,
            ["loss_first"] = Number(results[0].Loss),
            ["loss_last"] = Number(results[^1].Loss),
            ["time_to_first_step_ms"] = firstStep,
            ["device"] = backend.Name,
            ["allocated_bytes_per_step"] = allocated / milliseconds.Length,
            ["step_buffer_bytes"] = trainer.ArenaBytes,
        };
        if (times is not null) json["profile"] = times;
        terminal.Result(json);
        return host.Stop.IsCancellationRequested ? ExitCodes.Interrupted : ExitCodes.Fine;
    }

    private static List<TokenRow> RandomRows(int count, int length, double masked, int vocabulary, ulong seed)
    {
        DropoutKey key = DropoutKey.Create(seed, "bench rows", "", 0);
        int untrained = (int)Math.Round(masked * length);
        List<TokenRow> rows = [];
        for (int r = 0; r < count; r++)
        {
            int[] ids = new int[length];
            for (int i = 0; i < length; i++) ids[i] = (int)((ulong)Philox.Block(key, r, (uint)i).Item1 * (ulong)vocabulary >> 32);
            int[] labels = (int[])ids.Clone();
            Array.Fill(labels, TokenRow.Ignored, 0, Math.Min(untrained, length - 1));
            rows.Add(new TokenRow(ids, labels));
        }
        return rows;
    }

    private static int Positive(SettingValues values, string name, int otherwise)
    {
        int value = values.Integer(name) ?? otherwise;
        return value > 0 ? value : throw values.Error(name, $"--{name} {value} is not a positive number.");
    }

    private static JsonValue? Number(double value) => double.IsFinite(value) ? JsonValue.Create(value) : null;
}
