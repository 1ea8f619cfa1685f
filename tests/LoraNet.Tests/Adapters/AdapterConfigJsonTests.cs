using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Testing;

namespace LoraNet.Tests.Adapters;

public class AdapterConfigJsonTests
{
    private static PeftAdapterConfig Parse(string keys) => AdapterConfigJson.Parse((JsonObject)JsonNode.Parse("{" + keys + "}")!);

    private static PeftAdapterConfig With(string more) => Parse("\"peft_type\":\"LORA\"," + more);

    private static string Fails(string keys) => Assert.Throws<LoraNetException>(() => Parse(keys)).Message;

    [Fact]
    public void The_least_that_peft_writes_is_enough()
    {
        PeftAdapterConfig c = With("\"target_modules\":[\"q_proj\",\"v_proj\"]");
        Assert.Equal((8, 8.0, 0.0, BiasTraining.None, "true"), (c.R, c.LoraAlpha, c.LoraDropout, c.Bias, c.InitLoraWeights));
        Assert.Equal(["q_proj", "v_proj"], c.TargetModules!.Names!);
        Assert.Equal(8, c.ToLoraConfig().Rank);
    }

    [Fact]
    public void Lists_texts_and_numbers_are_read_where_peft_allows_both()
    {
        Assert.Equal(".*q_proj", With("\"target_modules\":\".*q_proj\"").TargetModules!.Pattern);
        Assert.True(With("\"target_modules\":\"all-Linear\"").TargetModules!.AllLinear);
        Assert.Empty(With("\"target_modules\":[]").TargetModules!.Names!);
        Assert.Null(With("\"target_modules\":null").TargetModules);
        Assert.Null(With("\"exclude_modules\":[]").ExcludeModules);
        Assert.Equal("x", With("\"exclude_modules\":\"x\"").ExcludeModules!.Pattern);
        Assert.Equal([3], With("\"layers_to_transform\":3").LayersToTransform!);
        Assert.Equal([0, 2], With("\"layers_to_transform\":[0,2]").LayersToTransform!);
        Assert.Null(With("\"layers_to_transform\":[]").LayersToTransform);
        Assert.Equal(["h"], With("\"layers_pattern\":\"h\"").LayersPattern!);
        Assert.Equal(["h", "layers"], With("\"layers_pattern\":[\"h\",\"layers\"]").LayersPattern!);
        Assert.Equal("false", With("\"init_lora_weights\":false").InitLoraWeights);
        Assert.Equal("gaussian", With("\"init_lora_weights\":\"gaussian\"").InitLoraWeights);
        Assert.Equal(16.5, With("\"lora_alpha\":16.5").LoraAlpha);
        Assert.Equal([5, 7], With("\"trainable_token_indices\":[5,7]").TrainableTokenIndices![""]);
        Assert.Equal([5], With("\"trainable_token_indices\":{\"embed_tokens\":[5]}").TrainableTokenIndices!["embed_tokens"]);
    }

    [Fact]
    public void Patterns_keep_their_order()
    {
        PeftAdapterConfig c = With("\"rank_pattern\":{\"z\":4,\"a\":2},\"alpha_pattern\":{\"y\":1,\"b\":2.5}");
        Assert.Equal(["z", "a"], c.RankPattern.Select(static p => p.Key));
        Assert.Equal([1, 2.5], c.AlphaPattern.Select(static p => p.Value));
        Assert.Equal(c.RankPattern, AdapterConfigJson.Parse((JsonObject)JsonNode.Parse(AdapterConfigJson.ToJson(c))!).RankPattern);
    }

    [Theory]
    [InlineData("\"r\":8", "\"peft_type\" is missing")]
    [InlineData("\"peft_type\":\"BOFT\"", "\"BOFT\"")]
    [InlineData("\"peft_type\":\"LORA\",\"r\":0", "\"r\"")]
    [InlineData("\"peft_type\":\"LORA\",\"r\":\"8\"", "\"r\"")]
    [InlineData("\"peft_type\":\"LORA\",\"lora_alpha\":\"x\"", "lora_alpha")]
    [InlineData("\"peft_type\":\"LORA\",\"lora_dropout\":1.0", "lora_dropout")]
    [InlineData("\"peft_type\":\"LORA\",\"bias\":\"some\"", "must be none, all or lora_only")]
    [InlineData("\"peft_type\":\"LORA\",\"target_modules\":[1]", "target_modules")]
    [InlineData("\"peft_type\":\"LORA\",\"target_modules\":{}", "target_modules")]
    [InlineData("\"peft_type\":\"LORA\",\"rank_pattern\":{\"q\":0}", "rank_pattern.q")]
    [InlineData("\"peft_type\":\"LORA\",\"rank_pattern\":[]", "rank_pattern")]
    [InlineData("\"peft_type\":\"LORA\",\"layers_to_transform\":[-1]", "layers_to_transform")]
    [InlineData("\"peft_type\":\"LORA\",\"init_lora_weights\":3", "init_lora_weights")]
    [InlineData("\"peft_type\":\"LORA\",\"use_dora\":\"yes\"", "use_dora")]
    [InlineData("\"peft_type\":\"LORA\",\"alora_invocation_tokens\":[1,2]", "\"alora_invocation_tokens\" is in use")]
    [InlineData("\"peft_type\":\"LORA\",\"layer_replication\":[[0,4]]", "layer_replication")]
    [InlineData("\"peft_type\":\"LORA\",\"use_qalora\":true", "use_qalora")]
    [InlineData("\"peft_type\":\"LORA\",\"kasa_config\":{\"beta\":1}", "kasa_config")]
    [InlineData("\"peft_type\":\"LORA\",\"use_something_new\":\"yes\"", "use_something_new")]
    public void What_cannot_be_honoured_is_named(string keys, string expected)
    {
        string message = Fails(keys);
        Assert.Contains("adapter_config.json", message);
        Assert.Contains(expected, message);
    }

    [Fact]
    public void Inactive_keys_are_ignored()
    {
        PeftAdapterConfig c = With("""
            "megatron_core":"megatron.core","megatron_config":null,"qalora_group_size":16,"use_qalora":false,"runtime_config":{"ephemeral_gpu_offload":false},
            "loftq_config":{},"eva_config":{"rho":2.0},"arrow_config":null,"peft_version":"0.99","auto_mapping":{"x":1},"from_the_future":null,"and_more":[],"or":{},"no":false
            """);
        Assert.Equal(8, c.R);
    }

    [Fact]
    public void Initialisations_that_cannot_be_computed_again_are_refused_on_use()
    {
        foreach (string init in new[] { "pissa_niter_4", "corda", "lora_ga" })
            Assert.Contains(init, Assert.Throws<LoraNetException>(() => With($"\"init_lora_weights\":\"{init}\"").ToLoraConfig()).Message);
        Assert.Equal(LoraInit.Gaussian, With("\"init_lora_weights\":\"gaussian\"").ToLoraConfig().Init);
        Assert.Equal(LoraInit.Pissa, With("\"init_lora_weights\":\"pissa\"").ToLoraConfig().Init);
        Assert.Equal(LoraInit.Olora, With("\"init_lora_weights\":\"olora\"").ToLoraConfig().Init);
    }

    [Fact]
    public void What_the_engine_cannot_use_is_refused_on_use()
    {
        foreach (string key in new[] { "\"trainable_token_indices\":[1]", "\"ensure_weight_tying\":true" })
            Assert.Contains("not supported", Assert.Throws<LoraNetException>(() => With(key).ToLoraConfig()).Message);
        Assert.Contains("adapter_config.json", Assert.Throws<LoraNetException>(() => With("\"target_modules\":\"x\",\"layers_to_transform\":[1]").ToLoraConfig()).Message);
    }

    [Fact]
    public void The_file_holds_sorted_keys_that_every_version_knows()
    {
        LoraConfig config = new() { Rank = 16, Alpha = 32, Dropout = 0.05, TargetModules = ModuleSelector.Of("q_proj", "k_proj"), BaseModelNameOrPath = "org/base" };
        const string Expected = """
            {
              "alpha_pattern": {},
              "base_model_name_or_path": "org/base",
              "bias": "none",
              "fan_in_fan_out": false,
              "inference_mode": true,
              "init_lora_weights": true,
              "lora_alpha": 32,
              "lora_dropout": 0.05,
              "modules_to_save": null,
              "peft_type": "LORA",
              "r": 16,
              "rank_pattern": {},
              "target_modules": [
                "k_proj",
                "q_proj"
              ],
              "task_type": "CAUSAL_LM",
              "use_dora": false,
              "use_rslora": false
            }

            """;
        Assert.Equal(Expected.ReplaceLineEndings("\n"), AdapterConfigJson.ToJson(PeftAdapterConfig.From(config)));
    }

    [Fact]
    public void Everything_that_is_written_is_read()
    {
        PeftAdapterConfig c = new()
        {
            R = 3,
            LoraAlpha = 2.5,
            LoraDropout = 0.125,
            TargetModules = ModuleSelector.Regex(@".*\.(q|v)_proj"),
            ExcludeModules = ModuleSelector.Of("lm_head"),
            TargetParameters = ["a.b"],
            Bias = BiasTraining.LoraOnly,
            LoraBias = true,
            UseRsLora = true,
            FanInFanOut = true,
            ModulesToSave = ["score"],
            RankPattern = [new("x", 1)],
            AlphaPattern = [new("y", 0.5)],
            LayersToTransform = [0, 5],
            LayersPattern = ["h"],
            InitLoraWeights = "orthogonal",
            TaskType = null,
            BaseModelNameOrPath = "básis",
            Revision = "main",
            EnsureWeightTying = true,
            TrainableTokenIndices = new Dictionary<string, IReadOnlyList<int>> { ["wte"] = [1, 2] },
        };
        string json = AdapterConfigJson.ToJson(c);
        PeftAdapterConfig read = AdapterConfigJson.Parse((JsonObject)JsonNode.Parse(json)!);
        Assert.Equal(json, AdapterConfigJson.ToJson(read));
        Assert.Equal((3, 2.5, 0.125, BiasTraining.LoraOnly, true, true, false, "orthogonal", null, "básis", "main", true),
            (read.R, read.LoraAlpha, read.LoraDropout, read.Bias, read.LoraBias, read.UseRsLora, read.UseDora, read.InitLoraWeights, read.TaskType, read.BaseModelNameOrPath, read.Revision, read.EnsureWeightTying));
        Assert.Equal(@".*\.(q|v)_proj", read.TargetModules!.Pattern);
        Assert.Equal([1, 2], read.TrainableTokenIndices!["wte"]);
    }

    [SharedFact]
    public void Every_reference_adapter_is_read()
    {
        string[] files = Directory.GetFiles(TestData.SharedPath("reference"), "adapter_config.json", SearchOption.AllDirectories);
        Assert.NotEmpty(files);
        foreach (string file in files) Assert.InRange(AdapterConfigJson.Read(file).ToLoraConfig(file).Rank, 1, 8);
        PeftAdapterConfig patterns = AdapterConfigJson.Read(TestData.SharedPath("reference", "llama-patterns-bias", "adapter_trained"));
        Assert.Equal([new("layers.1.*down_proj", 2), new("q_proj", 6)], patterns.RankPattern);
        Assert.Equal(BiasTraining.LoraOnly, patterns.Bias);
        Assert.Equal([1], patterns.LayersToTransform!);
        Assert.Equal("gpt2", AdapterConfigJson.Read(TestData.SharedPath("data", "peft-adapter-gpt2")).BaseModelNameOrPath);
    }
}
