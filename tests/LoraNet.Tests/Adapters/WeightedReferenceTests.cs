using LoraNet.Adapters;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Tests.Golden;
using LoraNet.Tests.Lora;

namespace LoraNet.Tests.Adapters;

/// <summary>
/// PEFT's own add_weighted_adapter on a model. The script that made the case gave both adapters' B new random values before it
/// combined them and stored only the second adapter; the first one's are drawn again, which the second one's confirm.
/// </summary>
public sealed class WeightedReferenceTests
{
    [SharedTheory]
    [InlineData("linear", true)]
    [InlineData("cat", true)]
    [InlineData("cat", false)]
    [InlineData("svd", true)]
    [InlineData("svd", false)]
    [InlineData("ties", true)]
    [InlineData("ties", false)]
    [InlineData("magnitude_prune", true)]
    [InlineData("magnitude_prune", false)]
    [InlineData("ties_svd", true)]
    [InlineData("ties_svd", false)]
    public void LogitsAreThoseOfPeft(string name, bool compatible)
    {
        using CpuBackend backend = new();
        using ReferenceCase golden = new(TestData.SharedPath("reference", "llama-tied-attn"));
        using CausalLM model = Load(backend, golden);
        CombinationType type = AdapterAlgebra.Parse(name);
        CombineOptions options = new() { Density = 0.5, Peft = compatible ? PeftCompatibility.Peft021 : PeftCompatibility.None };
        model.Attach(AdapterAlgebra.Combine(model, ["default", "second"], [0.7, 0.4], type, options), trainable: false);
        Assert.True(Difference(golden, model, $"weighted.{name}.logits") < 2e-5);
    }

    [SharedFact]
    public void ExactLinearIsTheSumAndPeftsIsNot()
    {
        using CpuBackend backend = new();
        using ReferenceCase golden = new(TestData.SharedPath("reference", "llama-tied-attn"));
        using CausalLM model = Load(backend, golden);
        model.Attach(AdapterAlgebra.Combine(model, ["default", "second"], [0.7, 0.4], CombinationType.Linear), trainable: false);
        Assert.True(Difference(golden, model, "weighted.linear.logits") > 1e-3);
        Assert.True(Difference(golden, model, "weighted.cat.logits") < 2e-5);
    }

    [SharedFact]
    public void TheFirstAdapterIsTheOneThatWasMerged()
    {
        using CpuBackend backend = new();
        using ReferenceCase golden = new(TestData.SharedPath("reference", "llama-tied-attn"));
        using CausalLM model = Load(backend, golden);
        model.SetAdapter("default");
        Assert.True(Difference(golden, model, "merged.logits") < 2e-5);
        model.SetAdapter("second");
        Assert.True(Difference(golden, model, "second.logits") < 2e-5);
    }

    private static CausalLM Load(CpuBackend backend, ReferenceCase golden)
    {
        CausalLM model = CausalLM.Load(golden.Folder, backend);
        LoraAdapter first = AdapterFile.Load(Path.Combine(golden.Folder, "adapter_trained"), model, "default", trainable: false);
        LoraAdapter second = AdapterFile.Load(Path.Combine(golden.Folder, "second"), model, "second", trainable: false);
        TorchNormal random = new(5);
        foreach ((string path, LoraLayer layer) in first.Layers)
        {
            layer.B.FromFile(random.Next((int)layer.B.Count, 0.05));
            float[] stored = second.Layers[path].B.ToFile();
            Assert.True(TinyModel.MaxDifference(random.Next(stored.Length, 0.05), stored) < 1e-7, path);
        }
        return model;
    }

    private static double Difference(ReferenceCase golden, CausalLM model, string name)
    {
        List<TokenRow> rows = golden.Rows(0);
        float[] expected = golden.Values(name), ids = golden.Values("step0.attention_mask");
        int length = ids.Length / rows.Count, v = model.Options.VocabularySize;
        double worst = 0;
        for (int r = 0; r < rows.Count; r++)
        {
            float[] actual = TinyModel.Logits(model, rows[r]);
            for (int i = 0; i < actual.Length; i++) worst = Math.Max(worst, Math.Abs(actual[i] - expected[r * length * v + i]));
        }
        return worst;
    }
}
