using System.Text.Json.Nodes;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Testing;

namespace LoraNet.Tests.Models;

public class ModelConfigTests
{
    private const string Llama = """
        "model_type":"llama","hidden_size":64,"intermediate_size":96,"num_hidden_layers":4,"num_attention_heads":4,"vocab_size":160,"max_position_embeddings":128
        """;

    private static ModelConfig Parse(string json) => ModelConfig.Parse((JsonObject)JsonNode.Parse(json)!);

    /// <summary>The Llama above with further keys; a later key replaces an earlier one.</summary>
    private static ModelConfig With(string more)
    {
        JsonObject json = (JsonObject)JsonNode.Parse("{" + Llama + "}")!;
        foreach ((string key, JsonNode? value) in (JsonObject)JsonNode.Parse("{" + more + "}")!) json[key] = value?.DeepClone();
        return ModelConfig.Parse(json);
    }

    private static string Fails(string more) => Assert.Throws<LoraNetException>(() => With(more)).Message;

    [Fact]
    public void Absent_keys_take_the_defaults_of_transformers()
    {
        ModelConfig c = With("");
        Assert.Equal((4, 16, 1e-6, "silu", false), (c.NumKeyValueHeads, c.HeadDim, c.NormEps, c.HiddenAct, c.TieWordEmbeddings));
        Assert.Equal((null, null, null, 2), (c.DType, c.BosTokenId, c.PadTokenId, c.NumLabels));
        Assert.Empty(c.EosTokenIds);
        Assert.All(Enumerable.Range(0, 4), i => Assert.Null(c.SlidingWindow(i)));
        Assert.All(c.RopeLayers, Assert.True);
        Assert.Equal((RopeKind.Default, 10000.0, 1.0), (c.Rope(0).Kind, c.Rope(0).Theta, c.Rope(0).PartialRotaryFactor));
        Assert.True(With("\"model_type\":\"gemma\"").TieWordEmbeddings);
    }

    [Fact]
    public void Gpt2_names_are_read()
    {
        ModelConfig c = Parse("""{"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024,"n_inner":null,"vocab_size":50257,"layer_norm_epsilon":1e-05,"activation_function":"gelu_new","bos_token_id":50256,"eos_token_id":50256}""");
        Assert.Equal((768, 12, 12, 1024, 3072, 64), (c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.MaxPositionEmbeddings, c.IntermediateSize, c.HeadDim));
        Assert.Equal(("gelu_new", 1e-5, true), (c.HiddenAct, c.NormEps, c.TieWordEmbeddings));
        Assert.All(c.RopeLayers, Assert.False);
    }

    [Theory]
    [InlineData("\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32,\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":8192},\"torch_dtype\":\"bfloat16\"")]
    [InlineData("\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192},\"dtype\":\"bfloat16\"")]
    public void Both_generations_of_rope_and_dtype_keys_mean_the_same(string more)
    {
        ModelConfig c = With(more);
        RopeScaling rope = c.Rope(3);
        Assert.Equal((RopeKind.Llama3, 5e5, 32.0, 1.0, 4.0, 8192), (rope.Kind, rope.Theta, rope.Factor!.Value, rope.LowFreqFactor, rope.HighFreqFactor, rope.OriginalMaxPositionEmbeddings));
        Assert.Equal(DType.BF16, c.DType);
    }

    [Fact]
    public void The_older_type_key_and_phi3s_old_names_are_understood()
    {
        Assert.Equal(RopeKind.Linear, With("""
            "rope_scaling":{"type":"linear","factor":2}
            """).Rope(0).Kind);
        string factors = $"\"short_factor\":[{string.Join(',', Enumerable.Repeat("1", 8))}],\"long_factor\":[{string.Join(',', Enumerable.Repeat("2.5", 8))}]";
        foreach (string type in new[] { "su", "yarn", "longrope" })
        {
            RopeScaling rope = With($"\"model_type\":\"phi3\",\"original_max_position_embeddings\":32,\"rope_scaling\":{{\"type\":\"{type}\",{factors}}}").Rope(0);
            Assert.Equal((RopeKind.LongRope, 32, 2.5), (rope.Kind, rope.OriginalMaxPositionEmbeddings, rope.LongFactor![7]));
        }
    }

    [Fact]
    public void Gemma3_has_a_base_for_each_kind_of_layer()
    {
        const string Common = "\"model_type\":\"gemma3_text\",\"num_hidden_layers\":7,\"sliding_window\":6,";
        ModelConfig old = With(Common + "\"sliding_window_pattern\":6,\"rope_theta\":1e6,\"rope_local_base_freq\":1e4,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}");
        ModelConfig now = With(Common + "\"_sliding_window_pattern\":6,\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e6,\"rope_type\":\"linear\",\"factor\":8},\"sliding_attention\":{\"rope_theta\":1e4,\"rope_type\":\"default\"}}");
        foreach (ModelConfig c in new[] { old, now })
        {
            Assert.Equal([6, 6, 6, 6, 6, null, 6], Enumerable.Range(0, 7).Select(c.SlidingWindow));
            Assert.Equal((RopeKind.Linear, 1e6), (c.Rope(5).Kind, c.Rope(5).Theta));
            Assert.Equal((RopeKind.Default, 1e4), (c.Rope(0).Kind, c.Rope(0).Theta));
        }
    }

    [Fact]
    public void Windows_follow_each_familys_rule()
    {
        Assert.Equal([5, 5, 5, 5], Windows("\"model_type\":\"mistral\",\"sliding_window\":5"));
        Assert.Equal([null, null, null, null], Windows("\"model_type\":\"mistral\",\"sliding_window\":null"));
        Assert.Equal([5, null, 5, null], Windows("\"model_type\":\"gemma2\",\"sliding_window\":5"));
        Assert.Equal([null, null, 5, 5], Windows("\"model_type\":\"qwen2\",\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":2"));
        Assert.Equal([null, null, null, null], Windows("\"model_type\":\"qwen2\",\"sliding_window\":5,\"use_sliding_window\":false,\"max_window_layers\":0"));
        Assert.Equal([null, null, null, null], Windows("\"sliding_window\":5"));
        Assert.Equal([null, 5, null, null], Windows("\"sliding_window\":5,\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]"));
        static IEnumerable<int?> Windows(string more) => Enumerable.Range(0, 4).Select(With(more).SlidingWindow);
    }

    [Fact]
    public void SmolLM3_leaves_layers_without_positions()
    {
        Assert.Equal([true, true, true, false], With("\"model_type\":\"smollm3\"").RopeLayers);
        Assert.Equal([true, false, true, false], With("\"model_type\":\"smollm3\",\"no_rope_layer_interval\":2").RopeLayers);
        Assert.Equal([false, true, true, true], With("\"model_type\":\"smollm3\",\"no_rope_layers\":[0,1,1,1]").RopeLayers);
    }

    [Fact]
    public void Token_ids_may_be_one_many_none_or_minus_one()
    {
        ModelConfig c = With("\"bos_token_id\":1,\"eos_token_id\":[128001,128009],\"pad_token_id\":-1");
        Assert.Equal(1, c.BosTokenId);
        Assert.Equal([128001, 128009], c.EosTokenIds);
        Assert.Null(c.PadTokenId);
    }

    [Fact]
    public void A_nested_language_model_is_read()
    {
        ModelConfig c = Parse("{\"model_type\":\"gemma3\",\"eos_token_id\":[1,106],\"dtype\":\"bfloat16\",\"vision_config\":{},\"text_config\":{" + Llama.Replace("\"llama\"", "\"gemma3_text\"") + ",\"sliding_window\":512}}");
        Assert.Equal(("gemma3_text", "gemma3", 64, DType.BF16), (c.ModelType, c.OuterModelType, c.HiddenSize, c.DType));
        Assert.Equal([1, 106], c.EosTokenIds);
        JsonObject merged = c.ToJson(DType.F16, false, 170);
        Assert.Equal("float16", (string?)merged["dtype"]);
        Assert.Equal(170, (int)merged["text_config"]!["vocab_size"]!);
        Assert.False((bool)merged["text_config"]!["tie_word_embeddings"]!);
    }

    [Fact]
    public void A_changed_copy_keeps_everything_else()
    {
        ModelConfig c = With("\"torch_dtype\":\"float32\",\"something_new\":{\"a\":[1,2]},\"tie_word_embeddings\":true");
        JsonObject copy = c.ToJson(DType.BF16, tieWordEmbeddings: false);
        Assert.Equal("bfloat16", (string?)copy["torch_dtype"]);
        Assert.False(copy.ContainsKey("dtype"));
        Assert.Equal("""{"a":[1,2]}""", copy["something_new"]!.ToJsonString());
        Assert.Equal("float32", (string?)c.Json["torch_dtype"]);
        Assert.False(ModelConfig.Parse(copy).TieWordEmbeddings);
        Assert.True(JsonNode.DeepEquals(c.Json, c.ToJson()));
    }

    [Fact]
    public void Labels_are_counted_and_named()
    {
        ModelConfig c = With("\"id2label\":{\"1\":\"no\",\"0\":\"yes\",\"2\":\"maybe\"},\"problem_type\":\"single_label_classification\"");
        Assert.Equal(3, c.NumLabels);
        Assert.Equal(["yes", "no", "maybe"], c.Id2Label.Values);
        Assert.Equal(5, With("\"num_labels\":5").NumLabels);
        Assert.Contains("not class 0", Fails("\"id2label\":{\"1\":\"no\"}"));
        Assert.Contains("not a number", Fails("\"id2label\":{\"x\":\"no\"}"));
    }

    [Theory]
    [InlineData("\"num_attention_heads\":0", "num_attention_heads")]
    [InlineData("\"num_attention_heads\":-4", "num_attention_heads")]
    [InlineData("\"num_attention_heads\":5", "divide hidden_size")]
    [InlineData("\"num_key_value_heads\":3", "must divide num_attention_heads")]
    [InlineData("\"num_key_value_heads\":0", "num_key_value_heads")]
    [InlineData("\"hidden_size\":1048577", "hidden_size")]
    [InlineData("\"hidden_size\":1e300", "hidden_size")]
    [InlineData("\"hidden_size\":\"64\"", "hidden_size")]
    [InlineData("\"hidden_size\":64.5", "hidden_size")]
    [InlineData("\"hidden_size\":[64]", "hidden_size")]
    [InlineData("\"hidden_size\":null", "\"hidden_size\" is missing")]
    [InlineData("\"intermediate_size\":null", "\"intermediate_size\" is missing")]
    [InlineData("\"model_type\":null", "\"model_type\" is missing")]
    [InlineData("\"model_type\":7", "model_type")]
    [InlineData("\"num_hidden_layers\":1e6", "num_hidden_layers")]
    [InlineData("\"vocab_size\":0", "vocab_size")]
    [InlineData("\"head_dim\":15", "odd")]
    [InlineData("\"head_dim\":0", "head_dim")]
    [InlineData("\"rms_norm_eps\":-1", "rms_norm_eps")]
    [InlineData("\"tie_word_embeddings\":1", "tie_word_embeddings")]
    [InlineData("\"rope_theta\":0", "rope_theta")]
    [InlineData("\"partial_rotary_factor\":1.5", "partial_rotary_factor")]
    [InlineData("\"rope_scaling\":{\"type\":\"magic\"}", "\"magic\", which is not supported")]
    [InlineData("\"rope_scaling\":{\"type\":\"linear\"}", "\"rope_scaling.factor\" is missing")]
    [InlineData("\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}", "rope_scaling.factor")]
    [InlineData("\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}", "high_freq_factor")]
    [InlineData("\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]}", "has 1 entries, but 8")]
    [InlineData("\"rope_scaling\":{\"type\":\"longrope\"}", "rope_scaling.short_factor")]
    [InlineData("\"rope_scaling\":\"linear\"", "must be an object")]
    [InlineData("\"rope_parameters\":{\"sliding_attention\":{}}", "rope_parameters.full_attention")]
    [InlineData("\"layer_types\":[\"full_attention\"]", "1 entries for 4 layers")]
    [InlineData("\"layer_types\":[\"full_attention\",\"linear_attention\",\"full_attention\",\"full_attention\"]", "linear_attention")]
    [InlineData("\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]", "no sliding_window")]
    [InlineData("\"no_rope_layers\":[1]", "1 entries for 4 layers")]
    [InlineData("\"num_local_experts\":2,\"num_experts_per_tok\":3", "more than the 2 experts")]
    [InlineData("\"eos_token_id\":\"</s>\"", "eos_token_id")]
    [InlineData("\"text_config\":3", "text_config")]
    [InlineData("\"architectures\":\"LlamaForCausalLM\"", "architectures")]
    public void Impossible_values_are_named_with_file_and_key(string more, string expected)
    {
        string message = Fails(more);
        Assert.Contains("config.json", message);
        Assert.Contains(expected, message);
    }

    [Theory]
    [InlineData("", "is empty|not valid JSON")]
    [InlineData("[]", "JSON object")]
    [InlineData("{\"a\":1", "not valid JSON")]
    [InlineData("{\"a\":1,\"a\":2}", "not valid JSON")]
    [InlineData("{\"a\":\"\\ud800\"}", "malformed string")]
    [InlineData("{\"\\ud800\":1}", "malformed string|not valid JSON")]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer")]
    public void Files_that_are_not_json_are_named(string text, string expected)
    {
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, text);
            string message = Assert.Throws<LoraNetException>(() => ModelConfig.Load(file)).Message;
            Assert.Contains(file, message);
            Assert.Contains(expected.Split('|'), message.Contains);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void A_missing_file_is_named() => Assert.Contains("config.json", Assert.Throws<LoraNetException>(() => ModelConfig.Load(Path.GetTempPath())).Message);

    [SharedFact]
    public void Every_reference_model_is_read()
    {
        string[] files = Directory.GetFiles(TestData.SharedPath("reference"), "config.json", SearchOption.AllDirectories);
        Assert.NotEmpty(files);
        foreach (string file in files)
        {
            ModelConfig c = ModelConfig.Load(file);
            Assert.Equal((64, 2, 4, 160), (c.HiddenSize, c.NumHiddenLayers, c.NumAttentionHeads, c.VocabSize));
            Assert.Equal(DType.F32, c.DType);
        }
        ModelConfig roberta = ModelConfig.Load(TestData.SharedPath("reference", "roberta-classifier"));
        Assert.Equal((3, 1, 1e-12, "gelu"), (roberta.NumLabels, roberta.TypeVocabSize, roberta.NormEps, roberta.HiddenAct));
        ModelConfig mistral = ModelConfig.Load(TestData.SharedPath("reference", "mistral"));
        Assert.Equal(5, mistral.SlidingWindow(1));
        ModelConfig stories = ModelConfig.Load(TestData.SharedPath("data", "TinyStories-656K"));
        Assert.Equal((128, 4, 16, DType.BF16, true), (stories.HiddenSize, stories.NumKeyValueHeads, stories.HeadDim, stories.DType, stories.TieWordEmbeddings));
    }
}
