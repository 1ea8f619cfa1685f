using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Tests.Formats;
using LoraNet.Tests.Lora;

namespace LoraNet.Tests.Adapters;

/// <summary>Extraction, rank reduction, rsLoRA folded into alpha, and loralib's files.</summary>
public sealed class ConversionTests : IDisposable
{
    private static readonly LoraConfig _random = new() { Rank = 4, Alpha = 8, Init = LoraInit.Random, TargetModules = ModuleSelector.AllLinearLayers };

    private readonly CpuBackend _backend = new();
    private readonly CausalLM _model;
    private readonly TokenRow _row = TinyModel.Rows(1, 9)[0];

    public ConversionTests() => _model = TinyModel.Load(_backend);

    public void Dispose()
    {
        _model.Dispose();
        _backend.Dispose();
    }

    [Theory]
    [InlineData(null, 0.999999)]
    [InlineData(4, null)]
    [InlineData(32, null)]
    public void TheAdapterOfAMergedModelIsFoundAgain(int? rank, double? energy)
    {
        _model.AddAdapter(_random with { UseRsLora = true, RankPattern = [KeyValuePair.Create("q_proj", 2)] });
        float[] expected = TinyModel.Logits(_model, _row);
        using MergedWeights tuned = new(_model);
        Extraction found = AdapterExtraction.Extract(_model, tuned, new RankChoice(rank, energy));
        Assert.Empty(found.LeftOut);
        Assert.All(found.Layers, l => Assert.InRange(l.Energy, 0.99999, 1));
        if (energy is not null) Assert.All(found.Layers, l => Assert.Equal(l.Path.EndsWith("q_proj", StringComparison.Ordinal) ? 2 : 4, l.Rank));
        _model.Attach(found.Adapter, trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(_model, _row)) < 1e-4);
    }

    [Fact]
    public void DoraBecomesPlainLoraAndWhatIsLeftOutIsNamed()
    {
        _model.AddAdapter(_random with { UseDora = true, TargetModules = ModuleSelector.Of("q_proj", "down_proj"), ModulesToSave = ["model.norm"] });
        foreach ((BaseTensor _, Parameter copy) in _model.Adapters["default"].Overrides) copy.FromFile([.. copy.ToFile().Select(v => v + 0.25f)]);
        using MergedWeights tuned = new(_model);
        Extraction found = AdapterExtraction.Extract(_model, tuned, new RankChoice(Rank: 32));
        Assert.Equal(["model.norm.weight"], found.LeftOut);
        Assert.Equal(4, found.Layers.Count);
        foreach (string path in found.Adapter.Layers.Keys)
        {
            float[] delta = AdapterFactors.Of(found.Adapter.Layers[path]).Delta(), w = _model.Weights.Get(path + ".weight").ToArray(), t = tuned.Get(path + ".weight").ToArray();
            for (int i = 0; i < w.Length; i++) Assert.Equal(t[i], w[i] + delta[i], 1e-5f);
        }
        found.Adapter.Dispose();
    }

    [Fact]
    public void EnergyChoosesTheSmallestRankThatHoldsIt()
    {
        _model.AddAdapter(_random with { Rank = 12 });
        using MergedWeights tuned = new(_model);
        Extraction half = AdapterExtraction.Extract(_model, tuned, new RankChoice(Energy: 0.5));
        Assert.All(half.Layers, l => Assert.InRange(l.Energy, 0.5, 0.9));
        Extraction limited = AdapterExtraction.Extract(_model, tuned, new RankChoice(Rank: 2, Energy: 0.999));
        Assert.All(limited.Layers, l => Assert.Equal(2, l.Rank));
        half.Adapter.Dispose();
        limited.Adapter.Dispose();
        Assert.Throws<LoraNetException>(() => AdapterExtraction.Extract(_model, _model.Weights, new RankChoice(4)));
        Assert.Throws<LoraNetException>(() => AdapterExtraction.Extract(_model, tuned, default));
    }

    [Fact]
    public void EmbeddingsAreExtractedAsPeftStoresThem()
    {
        using CausalLM model = TinyModel.Load(_backend, "llama-leftpad-embeddings");
        model.AddAdapter(_random with { TargetModules = ModuleSelector.Of("embed_tokens") });
        float[] expected = TinyModel.Logits(model, _row);
        using MergedWeights tuned = new(model);
        Extraction found = AdapterExtraction.Extract(model, tuned, new RankChoice(Energy: 0.999999), ModuleSelector.Of("embed_tokens"));
        Assert.Equal(4, Assert.Single(found.Layers).Rank);
        model.Attach(found.Adapter, trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(model, _row)) < 1e-3);
    }

    [Fact]
    public void ReducingToTheSameRankChangesNothingAndLessIsTheBest()
    {
        LoraAdapter adapter = _model.AddAdapter(_random with { UseRsLora = true });
        float[] expected = TinyModel.Logits(_model, _row);
        _model.Attach(AdapterConversion.Reduce(_model, adapter, new RankChoice(4)), trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(_model, _row)) < 1e-4);
        using LoraAdapter two = AdapterConversion.Reduce(_model, adapter, new RankChoice(2), "two");
        using LoraAdapter svd = AdapterAlgebra.Combine(_model, ["default"], [1], CombinationType.Svd, new CombineOptions { Rank = 2 });
        foreach (string path in two.Layers.Keys)
            Assert.True(TinyModel.MaxDifference(AdapterFactors.Of(two.Layers[path]).Delta(), AdapterFactors.Of(svd.Layers[path]).Delta()) < 1e-6, path);
    }

    [Fact]
    public void ReducingKeepsWholeModules()
    {
        using CausalLM model = TinyModel.Load(_backend, "llama-saved-head");
        LoraAdapter adapter = model.AddAdapter(_random with { TargetModules = ModuleSelector.Of("v_proj"), ModulesToSave = ["lm_head"] });
        Parameter head = Assert.Single(adapter.Overrides).Copy;
        head.FromFile([.. head.ToFile().Select(v => 1.5f * v)]);
        float[] expected = TinyModel.Logits(model, _row);
        using TemporaryFolder folder = new();
        using (LoraAdapter reduced = AdapterConversion.Reduce(model, adapter, new RankChoice(4))) AdapterFile.Save(folder.Path, model, reduced);
        AdapterFile.Load(folder.Path, model, "again", trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(model, _row)) < 1e-4);
    }

    [Fact]
    public void RsLoraFoldsIntoAlpha()
    {
        LoraAdapter adapter = _model.AddAdapter(_random with { UseRsLora = true, UseDora = true, RankPattern = [KeyValuePair.Create("q_proj", 9)], AlphaPattern = [KeyValuePair.Create("v_proj", 3.0)] });
        float[] expected = TinyModel.Logits(_model, _row);
        using TemporaryFolder folder = new();
        AdapterFile.Save(folder["rs"], _model, adapter);
        AdapterConversion.FoldRsLora(folder["rs"], folder["plain"]);
        Assert.False(AdapterConfigJson.Read(folder["plain"]).UseRsLora);
        AdapterFile.Load(folder["plain"], _model, "plain", trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(_model, _row)) < 1e-5);
        Assert.Throws<LoraNetException>(() => AdapterConversion.FoldRsLora(folder["plain"], folder["again"]));
    }

    [Fact]
    public void LoralibAndBackKeepsEveryTensor()
    {
        LoraAdapter adapter = _model.AddAdapter(_random with { TargetModules = ModuleSelector.Of("q_proj", "embed_tokens") });
        float[] expected = TinyModel.Logits(_model, _row);
        using TemporaryFolder folder = new();
        AdapterFile.Save(folder["peft"], _model, adapter);
        LoralibImport.ToLoralib(folder["peft"], folder["loralib.safetensors"]);
        using (SafetensorsFile file = SafetensorsFile.Open(folder["loralib.safetensors"]))
            Assert.Contains("model.layers.0.self_attn.q_proj.lora_A", file.Tensors.Keys);
        LoralibImport.ToPeft(folder["loralib.safetensors"], folder["back"], new LoralibOptions { Alpha = 8 });
        AdapterFile.Load(folder["back"], _model, "back", trainable: false);
        Assert.Equal(expected, TinyModel.Logits(_model, _row));
    }

    [Theory]
    [InlineData(null, 2)]
    [InlineData(new[] { true, true, true }, 3)]
    [InlineData(new[] { false, true, false }, 1)]
    public void MergedLinearBecomesABlockedB(bool[]? mask, int parts)
    {
        const int r = 2, inputs = 6, segment = 5;
        float[] a = Random(r * parts * inputs, 1), b = Random(segment * parts * r, 2);
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["x.safetensors"], [SafetensorsEntry.FromSingles("transformer.h.0.attn.c_attn.lora_A", a, [r * parts, inputs]), SafetensorsEntry.FromSingles("transformer.h.0.attn.c_attn.lora_B", b, [segment * parts, r])]);
        PeftAdapterConfig config = LoralibImport.ToPeft(folder["x.safetensors"], folder["peft"], new LoralibOptions { Alpha = 32, EnableLora = mask });
        Assert.Equal((r * parts, 32.0 * parts, true), (config.R, config.LoraAlpha, config.FanInFanOut));
        using SafetensorsFile file = SafetensorsFile.Open(folder["peft/adapter_model.safetensors"]);
        AdapterFactors f = new("c_attn", r * parts, config.LoraAlpha / config.R, a, file.Tensors["base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"].ToArray(), 3 * segment, inputs);
        float[] delta = f.Delta();
        // loralib: each enabled part g gets (alpha / r)·B_g·A_g, the others nothing.
        bool[] enabled = mask ?? [true, false, true];
        for (int part = 0, g = 0; part < 3; part++)
        {
            for (int o = 0; o < segment; o++)
                for (int i = 0; i < inputs; i++)
                {
                    double expected = 0;
                    if (enabled[part])
                        for (int k = 0; k < r; k++) expected += 32.0 / r * b[(g * segment + o) * r + k] * a[(g * r + k) * inputs + i];
                    Assert.Equal(expected, delta[(part * segment + o) * inputs + i], 1e-4);
                }
            if (enabled[part]) g++;
        }
    }

    [SharedFact]
    public void TheAuthorsOwnFileBecomesAPeftAdapter()
    {
        using TemporaryFolder folder = new();
        string source = TestData.SharedPath("data", "lora-adapter-roberta-base-mnli", "roberta_base_lora_mnli.bin");
        PeftAdapterConfig config = LoralibImport.ToPeft(source, folder.Path, new LoralibOptions { Alpha = 16, BaseModelNameOrPath = "roberta-base" });
        Assert.Equal((8, 16.0, "SEQ_CLS"), (config.R, config.LoraAlpha, config.TaskType));
        Assert.Equal(["query", "value"], config.TargetModules!.Names);
        Assert.Equal(["classifier"], config.ModulesToSave);
        using SafetensorsFile file = SafetensorsFile.Open(folder["adapter_model.safetensors"]);
        // The paper's 0.3M trainable parameters of RoBERTa-base.
        Assert.Equal(294912, file.Tensors.Where(t => t.Key.Contains("lora_", StringComparison.Ordinal)).Sum(t => t.Value.Count));
        Dictionary<string, HostTensor> original = TorchFile.Read(source).ToDictionary(t => t.Name, t => t.Tensor);
        Assert.Equal(original.Count, file.Tensors.Count);
        foreach ((string name, HostTensor tensor) in file.Tensors) Assert.Equal(original[PeftNames.ToLoralib(name)].ToArray(), tensor.ToArray());
    }

    [Fact]
    public void MistakesAreNamed()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("lora_A", Convert(("x.weight", [2, 2])), StringComparison.Ordinal);
        Assert.Contains("lora_B", Convert(("x.lora_A", [2, 4])), StringComparison.Ordinal);
        Assert.Contains("fit together", Convert(("x.lora_A", [3, 4]), ("x.lora_B", [4, 2])), StringComparison.Ordinal);
        Assert.Contains("enable_lora", Convert(("x.lora_A", [8, 4]), ("x.lora_B", [4, 2])), StringComparison.Ordinal);

        string Convert(params (string Name, int[] Shape)[] tensors)
        {
            SafetensorsWriter.Write(folder["x.safetensors"], tensors.Select(t => SafetensorsEntry.FromSingles(t.Name, new float[t.Shape[0] * t.Shape[1]], t.Shape)));
            return Assert.Throws<LoraNetException>(() => LoralibImport.ToPeft(folder["x.safetensors"], folder["out"], new LoralibOptions { Alpha = 1 })).Message;
        }
    }

    private static float[] Random(int count, ulong seed)
    {
        float[] values = new float[count];
        LoraInitializer.Normal(values, 1, seed, "conversion");
        return values;
    }
}
