using LoraNet.Lora;

namespace LoraNet.Tests.Lora;

/// <summary>PEFT's own results for module matching (docs/peft-compatibility.md).</summary>
public sealed class ModuleMatcherTests
{
    [Theory]
    [InlineData("model.layers.1.mlp.up_proj", "up_proj", 1, null, true)]
    [InlineData("model.layers.11.mlp.up_proj", "up_proj", 1, null, false)]
    [InlineData("model.layers.1.mlp.up_proj", "proj", null, null, false)]
    [InlineData("model.layers.1.mlp.up_proj", "mlp.up_proj", null, null, true)]
    [InlineData("model.layers.1.mlp.up_proj", ".*up_proj", null, null, false)]
    [InlineData("layers.3.mlp.up_proj", "up_proj", 3, null, false)]
    [InlineData("model.layers.1.experts.0.w1", "w1", 0, null, false)]
    [InlineData("model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj", 5, null, true)]
    [InlineData("transformer.h.2.attn.c_attn", "c_attn", 2, "h", true)]
    public void ListEntriesAreNamesOrSuffixes(string path, string entry, int? layer, string? pattern, bool expected)
    {
        LoraConfig config = new()
        {
            TargetModules = ModuleSelector.Of(entry),
            LayersToTransform = layer is null ? null : [layer.Value],
            LayersPattern = pattern is null ? null : [pattern],
        };
        Assert.Equal(expected, ModuleMatcher.IsTarget(config, path));
    }

    [Theory]
    [InlineData(".*up_proj", true)]
    [InlineData("up_proj", false)]
    [InlineData("model\\.layers\\.1\\..*", true)]
    public void PatternsMustMatchTheWholePath(string pattern, bool expected) =>
        Assert.Equal(expected, ModuleMatcher.Selects(ModuleSelector.Regex(pattern), "model.layers.1.mlp.up_proj"));

    [Theory]
    [InlineData("q_proj", true)]
    [InlineData("proj", false)]
    [InlineData("^q_proj", false)]
    [InlineData("^model.layers.0.self_attn.q_proj", true)]
    [InlineData("base_model.model.model.layers.0.self_attn.q_proj", false)]
    [InlineData("layers\\.(0|1)\\..*", true)]
    public void PatternKeysMatchAtDotBoundaries(string key, bool expected) =>
        Assert.Equal(expected, ModuleMatcher.PatternMatches(key, "model.layers.0.self_attn.q_proj"));

    [Fact]
    public void LayerOneIsNotLayerEleven() => Assert.False(ModuleMatcher.PatternMatches("layers.1.mlp.up_proj", "model.layers.11.mlp.up_proj"));

    [Fact]
    public void FirstMatchingPatternWins()
    {
        Assert.True(ModuleMatcher.TryPattern([KeyValuePair.Create("layers.1.*q_proj", 2), KeyValuePair.Create("q_proj", 6)], "model.layers.1.self_attn.q_proj", out int rank));
        Assert.Equal(2, rank);
    }

    [Fact]
    public void SavedModulesMatchWithoutADotBoundary()
    {
        Assert.True(ModuleMatcher.IsSaved("head", "lm_head"));
        Assert.True(ModuleMatcher.IsUnderSaved("lm_head", "lm_head"));
        Assert.False(ModuleMatcher.IsUnderSaved("head", "lm_head"));
    }

    [Fact]
    public void ABadExpressionIsAUserError() => Assert.Throws<LoraNetException>(() => ModuleMatcher.FullMatch("(", "a"));
}
