using System.Text.Json;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>The embedded model: the demo, and commands that need text.</summary>
public sealed class DemoTests
{
    private static readonly string _base = Path.Combine(TestData.Root, "src", "LoraNet.Cli", "Demo");

    [Fact]
    public void TheDemoTrainsTheEmbeddedModelAndShowsSamples()
    {
        using Scratch scratch = new();
        string output = scratch.Path("demo");
        CliResult result = Cli.Run("demo", "-o", output, "--max-steps", "40", "--eval-steps", "0", "--json").Ok();
        JsonElement json = result.Json;
        Assert.True(json.GetProperty("eval_loss").GetDouble() < 0.7 * json.GetProperty("eval_loss_before").GetDouble());
        Assert.True(json.GetProperty("merged_logit_difference").GetDouble() < 1e-3);
        Assert.Contains("before: ", result.Error, StringComparison.Ordinal);
        Assert.Contains("after: ", result.Error, StringComparison.Ordinal);
        foreach (string file in new[] { "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "metrics.jsonl", "trainer_state.json", "recipe.resolved.yaml", "report.html" })
            Assert.True(File.Exists(Path.Combine(output, file)), file);
        // The adapter, merged, gives the same loss as the run's last evaluation.
        string merged = scratch.Path("merged"), held = Path.Combine(output, "base", "eval.jsonl");
        Cli.Run("merge", "--model", Path.Combine(output, "base"), "--adapter", output, "-o", merged, "--dtype", "f32").Ok();
        double loss = Cli.Run("eval", "--model", merged, "--data", held, "--json").Ok().Json.GetProperty("loss").GetDouble();
        Assert.Equal(json.GetProperty("eval_loss").GetDouble(), loss, 1e-4);
        Assert.True(File.Exists(Path.Combine(merged, "tokenizer.json")));
    }

    [Fact]
    public void GenerateStreamsTheSameTextThatJsonHolds()
    {
        string[] args = ["generate", "--model", _base, "--prompt", "One day", "--max-new-tokens", "24"];
        CliResult plain = Cli.Run(args).Ok(), json = Cli.Run([.. args, "--json"]).Ok();
        Assert.StartsWith("One day", plain.Out, StringComparison.Ordinal);
        string text = json.Json.GetProperty("text").GetString()!;
        Assert.True(text.Length > 10);
        Assert.Equal("One day" + text, "One day" + plain.Out["One day".Length..].TrimEnd('\n'), ignoreAllWhiteSpace: true);
        Assert.InRange(json.Json.GetProperty("ids").GetArrayLength(), 1, 24);
    }

    [Fact]
    public void AStopStringEndsTheTextBeforeIt()
    {
        string[] args = ["generate", "--model", _base, "--prompt", "One day", "--max-new-tokens", "60", "--json"];
        string whole = Cli.Run(args).Ok().Json.GetProperty("text").GetString()!;
        int dot = whole.IndexOf('.', StringComparison.Ordinal);
        Assert.True(dot > 0, whole);
        Assert.Equal(whole[..dot], Cli.Run([.. args, "--stop", "."]).Ok().Json.GetProperty("text").GetString());
    }

    [Fact]
    public void SeveralPromptsGiveWhatEachGivesAlone()
    {
        string[] common = ["generate", "--model", _base, "--max-new-tokens", "8", "--json"];
        JsonElement both = Cli.Run([.. common, "--prompt", "One day", "--prompt", "Lily had a"]).Ok().Json.GetProperty("outputs");
        Assert.Equal(Cli.Run([.. common, "--prompt", "One day"]).Ok().Json.GetProperty("text").GetString(), both[0].GetProperty("text").GetString());
        Assert.Equal(Cli.Run([.. common, "--prompt", "Lily had a"]).Ok().Json.GetProperty("text").GetString(), both[1].GetProperty("text").GetString());
    }

    [Fact]
    public void TokenizeRoundTrips()
    {
        using Scratch scratch = new();
        JsonElement one = Cli.Run("tokenize", "--tokenizer", _base, "--text", "Lily had a red drum.", "--json").Ok().Json;
        Assert.Equal("Lily had a red drum.", one.GetProperty("decoded").GetString()!.Trim());
        Assert.Equal(one.GetProperty("ids").GetArrayLength(), one.GetProperty("tokens").GetArrayLength());
        string file = scratch.Write("texts.jsonl", "\"Lily had a red drum.\"\n\"\"\n\"--text\"\n");
        string[] lines = Cli.Run("tokenize", "--tokenizer", _base, "--file", file).Ok().Out.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.Equal(one.GetRawText(), JsonDocument.Parse(lines[0]).RootElement.GetRawText());
    }

    [Fact]
    public void DataPreviewMarksTheCompletion()
    {
        CliResult result = Cli.Run("data", "preview", "--model", _base, "--data", Path.Combine(_base, "eval.jsonl"), "--samples", "1").Ok();
        Assert.Contains("⟦", result.Out, StringComparison.Ordinal);
        Assert.Contains("100 % of the samples end in a trained end-of-sequence token", result.Out, StringComparison.Ordinal);
    }
}
