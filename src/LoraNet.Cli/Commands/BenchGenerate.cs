using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Cli.Output;
using LoraNet.Cli.Planning;
using LoraNet.Cli.Settings;
using LoraNet.Generation;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet bench generate</c>: greedy generation on random weights of a shape, one sequence.</summary>
internal static class BenchGenerate
{
    // The first tokens compile kernels and are recorded where a device can.
    private const int WarmupTokens = 4;

    private static readonly IReadOnlyList<Setting> _settings =
    [
        .. TrainSettings.Some("rank", "alpha", "target-modules", "seed"), .. BackendFactory.Settings,
        new("prompt-length", SettingKind.Integer, "bench", "Tokens of the prompt.") { Default = "128" },
        new("new-tokens", SettingKind.Integer, "bench", "Tokens to generate, at least 8.") { Default = "64" },
        new("with-adapter", SettingKind.Switch, "bench", "Generate through an unmerged adapter."),
    ];

    public static Command Create(CommandContext context)
    {
        Command command = new("generate", "Generation speed on random weights of a config.json's shape: the median time of a token, and the rate at which weights are read.");
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<string> config = new("--config") { Description = "config.json, or a model folder.", HelpName = "FILE" };
        Option<bool> json = AllCommands.JsonOption();
        command.Add(config);
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host, parse.GetValue(config))));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string? configPath)
    {
        if (configPath is null) throw new LoraNetException("--config is missing.", "Give a config.json.");
        ModelConfig config = ModelConfig.Load(configPath);
        DecoderOptions options = DecoderFamilies.Options(config);
        int prompt = values.Integer("prompt-length") ?? 128, count = values.Integer("new-tokens") ?? 64;
        if (count < 2 * WarmupTokens) throw values.Error("new-tokens", $"--new-tokens {count} is less than {2 * WarmupTokens}.");
        if (prompt < 1 || prompt + count > config.MaxPositionEmbeddings) throw values.Error("prompt-length", $"{prompt} and {count} tokens are not between 2 and the model's {config.MaxPositionEmbeddings} positions.");
        ulong seed = (ulong)Math.Max(0, values.Integer("seed") ?? 42);
        using Backend backend = BackendFactory.Create(values, host);
        using CausalLM model = new(backend, config, options, ShapeWeights.Random(config, options, ShapeWeights.StoredType(config)));
        if (values.Switch("with-adapter")) model.AddAdapter(SettingReaders.ReadLora(values) with { Dropout = 0 }, seed: seed);
        using Generator generator = new(model);
        DropoutKey key = DropoutKey.Create(seed, "bench prompt", "", 0);
        int[] ids = [.. Enumerable.Range(0, prompt).Select(i => (int)((ulong)Philox.Block(key, 0, (uint)i).W0 * (ulong)config.VocabSize >> 32))];
        double[] milliseconds = [], prompts = [];
        // The first run compiles; the second is measured.
        for (int run = 0; run < 2; run++)
        {
            List<long> times = [Stopwatch.GetTimestamp()];
            generator.Generate([ids], new GenerationOptions { MaxNewTokens = count, Temperature = 0 }, (_, _) =>
            {
                times.Add(Stopwatch.GetTimestamp());
                return true;
            }, host.Stop);
            if (host.Stop.IsCancellationRequested) return ExitCodes.Interrupted;
            prompts = [.. prompts, Stopwatch.GetElapsedTime(times[0], times[1]).TotalMilliseconds];
            milliseconds = [.. times.Skip(WarmupTokens + 1).Zip(times.Skip(WarmupTokens), (after, before) => Stopwatch.GetElapsedTime(before, after).TotalMilliseconds).Order()];
        }
        double median = milliseconds[milliseconds.Length / 2];
        // A token reads every matrix once; of an embedding that is not the head too, one row.
        long bytes = model.Modules.OfType<LinearModule>().Select(m => m.Weight).DistinctBy(t => t.Source.Address).Sum(t => t.Source.Count * t.Source.DType.Size());
        double rate = bytes / (median / 1000);
        terminal.Table(["", ""],
        [
            ["milliseconds a token", Format.Exact(Math.Round(median, 3))],
            ["tokens per second", Format.Exact(Math.Round(1000 / median, 1))],
            ["weights read", $"{Format.Bytes(bytes)} a token, {Format.Exact(Math.Round(rate / 1e9, 1))} GB/s"],
            ["prompt", $"{prompt} tokens in {Format.Exact(Math.Round(prompts[^1], 1))} ms"],
            ["device", backend.Name],
        ]);
        terminal.Result(new JsonObject
        {
            ["milliseconds_per_token"] = median,
            ["tokens_per_second"] = 1000 / median,
            ["weight_bytes"] = bytes,
            ["weight_bytes_per_second"] = rate,
            ["prompt_milliseconds"] = prompts[^1],
            ["device"] = backend.Name,
        });
        return ExitCodes.Fine;
    }
}
