using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>Other methods, initialisations and LoRA-FA on the command line: they train, resume bit for bit, continue and merge.</summary>
public sealed class MethodRunTests
{
    [Theory]
    [InlineData("--method", "vera")]
    [InlineData("--method", "ia3")]
    [InlineData("--method", "loha", "--module-dropout", "0.3")]
    [InlineData("--method", "lokr", "--rank-dropout", "0.2", "--decompose-both")]
    [InlineData("--method", "adalora", "--target-rank", "2", "--tinit", "1", "--tfinal", "2")]
    [InlineData("--init", "mica")]
    [InlineData("--init", "eva", "--eva-tau", "0.5")]
    [InlineData("--init", "loftq", "--loftq-iterations", "2")]
    [InlineData("--lora-fa")]
    public void ARunContinuesBitForBitAndMerges(params string[] flags)
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20), output = scratch.Path("out");
        CliResult run = Cli.Run([.. Train(rows, output), "--save-steps", "4", "--json", .. flags]).Ok();
        Assert.True(run.Json.GetProperty("trainable_parameters").GetInt64() > 0);
        byte[] whole = File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")), config = File.ReadAllBytes(Path.Combine(output, "adapter_config.json"));
        Directory.Delete(Path.Combine(output, "checkpoint-8"), recursive: true);
        Cli.Run("train", "-o", output, "--resume").Ok();
        Assert.Equal(whole, File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")));
        Assert.Equal(config, File.ReadAllBytes(Path.Combine(output, "adapter_config.json")));
        Cli.Run("merge", "--model", TinyRun.Model, "--adapter", output, "-o", scratch.Path("merged")).Ok();
        Cli.Run("adapter", "inspect", output, "--json").Ok();
        Cli.Run("train", "--model", TinyRun.Model, "--data", rows, "-o", scratch.Path("more"), "--adapter", output, "--max-steps", "2").Ok();
    }

    [Fact]
    public void FusedExpertsTrainAndMerge()
    {
        using Scratch scratch = new();
        string model = Path.Combine(TestData.Fixtures, "golden", "mixtral-one-parameter"), rows = TinyRun.Rows(scratch, 20, vocabulary: 30), output = scratch.Path("out");
        Cli.Run("train", "--model", model, "--data", rows, "-o", output, "--rank", "2", "--max-steps", "4", "--target-parameters", "experts.gate_up_proj,experts.down_proj").Ok();
        Cli.Run("merge", "--model", model, "--adapter", output, "-o", scratch.Path("merged")).Ok();
        CliResult plan = Cli.Run("plan", "--model", model, "--rank", "2", "--target-parameters", "experts.gate_up_proj,experts.down_proj", "--json").Ok();
        // 3 experts of rank 2: A [6, 16] and [6, 24], B [48, 6] and [16, 6].
        Assert.Equal((6 * 16) + (6 * 24) + (48 * 6) + (16 * 6), plan.Json.GetProperty("trainable_parameters").GetInt64());
    }

    [Theory]
    [InlineData("--rank-dropout", "--method", "vera", "--rank-dropout", "0.1")]
    [InlineData("dropout", "--method", "loha", "--dropout", "0.1")]
    [InlineData("use_dora", "--lora-fa", "--use-dora")]
    [InlineData("VERA", "--lora-fa", "--method", "vera")]
    [InlineData("initialisation", "--method", "lokr", "--init", "pissa")]
    [InlineData("target_parameters", "--target-parameters", "experts.down_proj")]
    [InlineData("Nearest: lokr", "--method", "lokrr")]
    [InlineData("tfinal", "--method", "adalora", "--target-rank", "2", "--tinit", "4", "--tfinal", "4")]
    [InlineData("target_r", "--method", "adalora", "--target-rank", "5")]
    [InlineData("LoftQ", "--init", "loftq", "--loftq-bits", "5")]
    [InlineData("tau", "--init", "eva", "--eva-tau", "1")]
    public void WhatMakesNoSenseIsAUserError(string named, params string[] flags)
    {
        using Scratch scratch = new();
        CliResult result = Cli.Run([.. Train(TinyRun.Rows(scratch, 8), scratch.Path("out")), .. flags]);
        Assert.Equal(2, result.Code);
        Assert.Contains(named, result.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(scratch.Path("out")));
    }

    private static string[] Train(string rows, string output) =>
        ["train", "--model", TinyRun.Model, "--data", rows, "-o", output, "--rank", "4", "--learning-rate", "5e-3", "--batch-size", "4", "--max-steps", "8"];
}
