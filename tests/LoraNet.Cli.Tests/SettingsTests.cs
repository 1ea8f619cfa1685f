using System.Text.Json;
using LoraNet.Cli.Settings;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>Where settings come from and which source wins.</summary>
public sealed class SettingsTests
{
    [Fact]
    public void FlagsBeatEnvironmentBeatsRecipeBeatsPreset()
    {
        using Scratch scratch = new();
        string recipe = scratch.Write("recipe.yaml", "lora:\n  r: 5\n  lora_alpha: 50\n  dropout: 0.25\ntraining:\n  micro_batch_size: 3\n  seed: 7\n");
        string output = scratch.Path("out");
        Dictionary<string, string> environment = new() { ["LORANET_RANK"] = "6", ["LORANET_ALPHA"] = "60", ["LORANET_WEIGHT_DECAY"] = "0.5" };
        Cli.RunEnv(environment, "train", "--model", TinyRun.Model, "--data", TinyRun.Rows(scratch, 8), "-o", output, "-c", recipe, "--preset", "a100", "--rank", "7", "--max-steps", "1").Ok();
        JsonElement adapter = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "adapter_config.json"))).RootElement;
        Assert.Equal(7, adapter.GetProperty("r").GetInt32());
        Assert.Equal(60, adapter.GetProperty("lora_alpha").GetDouble());
        Assert.Equal(0.25, adapter.GetProperty("lora_dropout").GetDouble());
        string resolved = File.ReadAllText(Path.Combine(output, "recipe.resolved.yaml"));
        Assert.Contains("rank: 7  # --rank", resolved, StringComparison.Ordinal);
        Assert.Contains("alpha: 60  # LORANET_ALPHA", resolved, StringComparison.Ordinal);
        Assert.Contains("batch-size: 3  # ", resolved, StringComparison.Ordinal);
        Assert.Contains("weight-decay: 0.5  # LORANET_WEIGHT_DECAY", resolved, StringComparison.Ordinal);
        Assert.Contains("learning-rate: 2e-4  # preset a100", resolved, StringComparison.Ordinal);
        Assert.Contains("seed: 7  # ", resolved, StringComparison.Ordinal);
    }

    [Fact]
    public void ALoadedAdapterKeepsItsSettingsWhateverThePreset()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out");
        Cli.Run("train", "--model", TinyRun.Model, "--data", TinyRun.Rows(scratch, 8), "-o", output, "--adapter", TinyRun.Adapter, "--preset", "h100", "--dropout", "0.125", "--max-steps", "1").Ok();
        JsonElement before = JsonDocument.Parse(File.ReadAllText(Path.Combine(TinyRun.Adapter, "adapter_config.json"))).RootElement;
        JsonElement after = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "adapter_config.json"))).RootElement;
        foreach (string key in new[] { "r", "lora_alpha" }) Assert.Equal(before.GetProperty(key).GetDouble(), after.GetProperty(key).GetDouble());
        Assert.Equal(Names(before), Names(after));
        Assert.Equal(0.125, after.GetProperty("lora_dropout").GetDouble());

        static string[] Names(JsonElement config) => [.. config.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString()!).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void TheResolvedRecipeRepeatsTheRunBitForBit()
    {
        using Scratch scratch = new();
        string first = scratch.Path("first"), second = scratch.Path("second");
        Cli.Run(TinyRun.Train(TinyRun.Rows(scratch, 20), first, "--rank-pattern", "{\"q_proj\": 2}", "--weight-decay", "0.01", "--lr-scheduler", "cosine")).Ok();
        Cli.Run("train", "-c", Path.Combine(first, "recipe.resolved.yaml"), "-o", second).Ok();
        Assert.Equal(File.ReadAllBytes(Path.Combine(first, "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(second, "adapter_model.safetensors")));
    }

    [Fact]
    public void ARecipeMayBeJson()
    {
        using Scratch scratch = new();
        string recipe = scratch.Write("recipe.json", $"{{\"model\": {JsonSerializer.Serialize(TinyRun.Model)}, \"data\": {JsonSerializer.Serialize(TinyRun.Rows(scratch, 8))}, \"lora\": {{\"target_modules\": [\"q_proj\", \"v_proj\"], \"rank_pattern\": {{\"v_proj\": 2}}}}, \"max_steps\": 1}}");
        CliResult result = Cli.Run("train", "-c", recipe, "-o", scratch.Path("out"), "--json").Ok();
        Assert.Equal(1, result.Json.GetProperty("steps").GetInt32());
    }

    [Fact]
    public void TheSchemaInTheDocsIsCurrent()
    {
        string path = Path.Combine(TestData.Root, "docs", "recipe.schema.json");
        // After a new setting: LORANET_WRITE_SCHEMA=1 dotnet test tests/LoraNet.Cli.Tests --filter TheSchemaInTheDocsIsCurrent
        if (Environment.GetEnvironmentVariable("LORANET_WRITE_SCHEMA") == "1") File.WriteAllText(path, RecipeSchema.Write());
        Assert.Equal(RecipeSchema.Write(), File.ReadAllText(path).ReplaceLineEndings("\n"));
    }

    [Fact]
    public void TheSchemaNamesEverySettingAndEverySpelling()
    {
        JsonElement properties = JsonDocument.Parse(RecipeSchema.Write()).RootElement.GetProperty("properties");
        foreach (Setting setting in TrainSettings.All)
            foreach (string name in setting.RecipeAliases.Append(setting.Name)) Assert.True(properties.TryGetProperty(name, out _), name);
    }

    [Fact]
    public void NoTwoSettingsShareASpelling()
    {
        string[] names = [.. TrainSettings.All.SelectMany(s => s.RecipeAliases.Select(a => a.Replace('_', '-')).Append(s.Name).Distinct())];
        Assert.Equal(names.Length, names.Distinct().Count());
        string[] shorts = [.. TrainSettings.All.Select(s => s.Short).OfType<string>()];
        Assert.Equal(shorts.Length, shorts.Distinct().Count());
    }
}
