using System.Text.Json;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>Interrupted runs continue bit for bit.</summary>
public sealed class ResumeTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(11)]
    public void AnInterruptedRunSavesAndContinuesBitForBit(int stopAfter)
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20), whole = scratch.Path("whole"), broken = scratch.Path("broken");
        string[] more = ["--val-split", "0.2", "--eval-steps", "4", "--log-steps", "1"];
        Cli.Run(TinyRun.Train(rows, whole, more)).Ok();

        using CancellationTokenSource stop = new();
        using StopAfter watcher = new(stopAfter, stop);
        StringWriter errors = new();
        int code = CommandLine.Run(TinyRun.Train(rows, broken, more), watcher, errors, new CommandHost { Stop = stop.Token, Environment = Cli.OnProcessor });
        Assert.True(code == 130, $"exit code {code}: {errors}");
        Assert.True(Directory.Exists(Path.Combine(broken, $"checkpoint-{stopAfter}")));
        Assert.True(File.Exists(Path.Combine(broken, "adapter_model.safetensors")));
        Assert.Equal(stopAfter, Steps(broken).Length);

        CliResult resumed = Cli.Run("train", "-o", broken, "--resume", "--json").Ok();
        Assert.Equal(12, resumed.Json.GetProperty("steps").GetInt32());
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(broken, "adapter_model.safetensors")));
        Assert.Equal(Steps(whole), Steps(broken));
    }

    [Fact]
    public void ATornLastLineOfTheMetricsIsDropped()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20), whole = scratch.Path("whole"), broken = scratch.Path("broken");
        Cli.Run(TinyRun.Train(rows, whole)).Ok();
        Cli.Run(TinyRun.Train(rows, broken, "--save-steps", "4")).Ok();
        // As if the machine had died after step 9: its checkpoints end at 8, the metrics with half a line.
        Directory.Delete(Path.Combine(broken, "checkpoint-12"), recursive: true);
        string[] lines = File.ReadAllLines(Path.Combine(broken, "metrics.jsonl"));
        File.WriteAllText(Path.Combine(broken, "metrics.jsonl"), string.Join('\n', lines[..9]) + "\n" + lines[9][..20]);
        Cli.Run("train", "-o", broken, "--resume").Ok();
        Assert.Equal(Steps(whole), Steps(broken));
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(broken, "adapter_model.safetensors")));
    }

    [Fact]
    public void ResumingWithoutACheckpointStartsAnew()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20);
        CliResult result = Cli.Run(TinyRun.Train(rows, scratch.Path("out"), "--resume")).Ok();
        Assert.Contains("no complete checkpoint", result.Out, StringComparison.Ordinal);
    }

    [Fact]
    public void ResumingWithOtherSettingsIsRefused()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20), output = scratch.Path("out");
        Cli.Run(TinyRun.Train(rows, output, "--save-steps", "4")).Ok();
        byte[] before = File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors"));
        CliResult result = Cli.Run("train", "-o", output, "--resume", "--learning-rate", "1e-3");
        Assert.Equal(2, result.Code);
        Assert.Contains("learning_rate", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")));
    }

    [Fact]
    public void EarlyStoppingKeepsTheBestAdapter()
    {
        using Scratch scratch = new();
        // A learning rate far too high: the held-out loss gets worse at once.
        string rows = TinyRun.Rows(scratch, 20), held = TinyRun.Rows(scratch, 6, "held.jsonl", length: 5), output = scratch.Path("out");
        CliResult result = Cli.Run("train", "--model", TinyRun.Model, "--data", rows, "--eval-data", held, "-o", output, "--rank", "4", "--learning-rate", "0.5", "--lr-scheduler", "constant",
            "--batch-size", "4", "--max-steps", "60", "--eval-steps", "2", "--early-stopping-patience", "3", "--json").Ok();
        Assert.True(result.Json.GetProperty("stopped_early").GetBoolean());
        int best = result.Json.GetProperty("best_step").GetInt32();
        Assert.True(best < result.Json.GetProperty("steps").GetInt32());
        Assert.Equal(File.ReadAllBytes(Path.Combine(output, $"checkpoint-{best}", "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")));
    }

    // Everything but the times.
    private static string[] Steps(string run) => [.. File.ReadAllLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement).Where(r => r.TryGetProperty("loss", out _))
        .Select(r => $"{r.GetProperty("step")} {r.GetProperty("epoch")} {r.GetProperty("loss")} {r.GetProperty("grad_norm")} {r.GetProperty("learning_rate")} {r.GetProperty("tokens")}")];

    /// <summary>Presses Ctrl+C when a step's line appears.</summary>
    private sealed class StopAfter(int step, CancellationTokenSource stop) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value is not null && value.Replace(" ", "", StringComparison.Ordinal).StartsWith($"step{step}/", StringComparison.Ordinal)) stop.Cancel();
        }
    }
}
