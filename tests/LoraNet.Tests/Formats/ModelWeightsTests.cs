using LoraNet.Formats;
using LoraNet.Tensors;
using LoraNet.Testing;

namespace LoraNet.Tests.Formats;

public class ModelWeightsTests
{
    private static SafetensorsEntry Ones(string name, params int[] shape) =>
        SafetensorsEntry.FromSingles(name, Enumerable.Repeat(1f, shape.Aggregate(1, (a, b) => a * b)).ToArray(), shape);

    private static string Fails(string path) => Assert.Throws<LoraNetException>(() => ModelWeights.Open(path)).Message;

    [SharedTheory]
    [InlineData("layers.0.input_layernorm", 10, 0.18652344f)]
    [InlineData("layers.1.post_attention_layernorm", 10, 0.32421875f)]
    [InlineData("norm", 100, 0.73046875f)]
    [InlineData("layers.0.mlp.down_proj", 100, -0.0625f)]
    [InlineData("layers.0.mlp.up_proj", 100, 1.46875f)]
    [InlineData("layers.1.mlp.gate_proj", 100, 0.296875f)]
    [InlineData("layers.1.self_attn.q_proj", 100, 0.032226563f)]
    [InlineData("layers.1.self_attn.k_proj", 100, -0.21386719f)]
    [InlineData("layers.0.self_attn.v_proj", 100, 0.041015625f)]
    [InlineData("layers.0.self_attn.o_proj", 100, 0.01965332f)]
    [InlineData("embed_tokens", 50, 0.14453125f)]
    public void A_real_bf16_model_has_the_published_values(string module, int index, float value)
    {
        using ModelWeights weights = ModelWeights.Open(TestData.SharedPath("data", "TinyStories-656K"));
        Assert.Equal(20, weights.Names.Count);
        weights.CheckFinite();
        HostTensor tensor = weights.Get($"model.{module}.weight");
        Assert.Equal(DType.BF16, tensor.DType);
        // The published values are printed with 8 digits of a bfloat16.
        Assert.Equal(value, tensor.ToArray()[index], 1e-7f);
    }

    [Fact]
    public void Shards_are_found_through_the_index()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["model-00001-of-00002.safetensors"], [Ones("a", 2, 3)]);
        SafetensorsWriter.Write(folder["model-00002-of-00002.safetensors"], [Ones("b", 4), Ones("unnamed", 1)]);
        File.WriteAllText(folder[SafetensorsIndex.FileName], """{"metadata":{"total_size":40},"weight_map":{"b":"model-00002-of-00002.safetensors","a":"model-00001-of-00002.safetensors"}}""");
        using ModelWeights weights = ModelWeights.Open(folder.Path);
        Assert.Equal(["a", "b"], weights.Names.Order());
        Assert.Equal([2, 3], weights.Get("a").Shape.ToArray());
        Assert.EndsWith("model-00002-of-00002.safetensors", weights.FileOf("b"));
        Assert.False(weights.TryGet("c", out _));
    }

    [Fact]
    public void A_missing_tensor_is_answered_with_near_names()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["model.safetensors"], [Ones("model.embed_tokens.weight", 1), Ones("model.norm.weight", 1)]);
        using ModelWeights weights = ModelWeights.Open(folder.Path);
        string message = Assert.Throws<LoraNetException>(() => weights.Get("model.embed_token.weight")).Message;
        Assert.Contains("model.embed_tokens.weight", message);
    }

    [Theory]
    [InlineData("../other.safetensors")]
    [InlineData("/etc/passwd")]
    [InlineData("a/../../b.safetensors")]
    [InlineData("C:\\\\x.safetensors")]
    [InlineData("")]
    [InlineData(".")]
    public void An_index_may_not_leave_its_folder(string shard)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder[SafetensorsIndex.FileName], "{\"weight_map\":{\"a\":\"" + shard + "\"}}");
        Assert.Contains("not a file in the same folder", Fails(folder.Path));
    }

    [Theory]
    [InlineData("""{"weight_map":{"a":"s.safetensors","gone":"s.safetensors"}}""", "\"gone\" in s.safetensors, which does not hold it")]
    [InlineData("""{"weight_map":{"a":"t.safetensors"}}""", "t.safetensors, which is not there")]
    [InlineData("""{"weight_map":{"a":1}}""", "not a file name")]
    [InlineData("""{"weight_map":[]}""", "no object \"weight_map\"")]
    [InlineData("""{"weight_map":{}}""", "weight_map is empty")]
    [InlineData("""[]""", "does not hold a JSON object")]
    [InlineData("""{"weight_map":{"a":"s.safetensors","a":"s.safetensors"}}""", "not valid JSON")]
    [InlineData("""{"weight_map":{"a":"\ud800"}}""", "malformed string")]
    [InlineData("""{"weight_map":""", "not valid JSON")]
    public void A_wrong_index_is_named(string json, string expected)
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["s.safetensors"], [Ones("a", 1)]);
        File.WriteAllText(folder[SafetensorsIndex.FileName], json);
        string message = Fails(folder.Path);
        Assert.Contains(SafetensorsIndex.FileName, message);
        Assert.Contains(expected, message);
    }

    [Theory]
    [InlineData("pytorch_model.bin", "onvert the model to safetensors")]
    [InlineData("pytorch_model.bin.index.json", "onvert the model to safetensors")]
    [InlineData("adapter_config.json", "is an adapter")]
    [InlineData("other.safetensors", "but other.safetensors")]
    [InlineData("model.Q4_0.gguf", "GGUF")]
    [InlineData("README.md", "holds no model")]
    public void A_folder_without_weights_says_what_it_holds(string file, string expected)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder[file], "x");
        Assert.Contains(expected, Fails(folder.Path));
    }

    [Fact]
    public void A_missing_folder_is_named() => Assert.Contains("does not exist", Fails(Path.Combine(Path.GetTempPath(), Guid.NewGuid().ToString())));

    [Fact]
    public void Non_finite_weights_are_found_in_every_float_type()
    {
        foreach (DType dtype in new[] { DType.F32, DType.F64, DType.BF16, DType.F16 })
        {
            foreach (float bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
            {
                using TemporaryFolder folder = new();
                float[] values = new float[1000];
                Array.Fill(values, 60000f);
                values[777] = bad;
                SafetensorsWriter.Write(folder["model.safetensors"], [SafetensorsEntry.FromSingles("w", values, [10, 100], dtype), Ones("fine", 3)]);
                using ModelWeights weights = ModelWeights.Open(folder.Path);
                Assert.Equal(777, weights.Get("w").FindNonFinite());
                Assert.Contains("\"w\": element 777", Assert.Throws<LoraNetException>(weights.CheckFinite).Message);
            }
        }
    }

    [Fact]
    public void Forgotten_pages_come_back_from_the_file()
    {
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "w.safetensors");
        float[] values = [.. Enumerable.Range(0, 50_000).Select(static i => i * 0.25f)];
        SafetensorsWriter.Write(path, [SafetensorsEntry.FromSingles("a", values[..17], [17]), SafetensorsEntry.FromSingles("w", values, [500, 100])]);
        using ModelWeights weights = ModelWeights.Open(path);
        HostTensor tensor = weights.Get("w");
        Assert.Equal(values, tensor.ToArray());
        ((IPageOwner)tensor.Owner!).Forget(tensor.Address, tensor.Count * sizeof(float));
        Assert.Equal(values, tensor.ToArray());
        Assert.Equal(values[..17], weights.Get("a").ToArray());
    }
}
