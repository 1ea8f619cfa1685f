using System.Text.Json;
using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Models;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Tests.Lora;

namespace LoraNet.Tests.Adapters;

/// <summary>Combinations that PEFT 0.20 made of two stored adapters (tests/fixtures/generate.py), one weight negative, and what they should have been.</summary>
public sealed class WeightedFixtureTests
{
    /// <summary>Every form of every case.</summary>
    public static TheoryData<string, string> Cases()
    {
        TheoryData<string, string> data = [];
        foreach (string folder in Directory.GetDirectories(Path.Combine(TestData.Fixtures, "weighted")).Order(StringComparer.Ordinal))
            foreach (JsonProperty type in Json(folder).GetProperty("types").EnumerateObject()) data.Add(Path.GetFileName(folder), type.Name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void LogitsAreThoseOfPeft(string name, string type)
    {
        string folder = Path.Combine(TestData.Fixtures, "weighted", name);
        JsonElement options = Json(folder).GetProperty("types").GetProperty(type);
        double? density = options.TryGetProperty("density", out JsonElement d) ? d.GetDouble() : null;
        Assert.InRange(Difference(folder, AdapterAlgebra.Parse(type), new CombineOptions { Density = density, Peft = PeftCompatibility.Peft020 }, $"weighted.{type}.logits"), 0, 2e-5);
    }

    [Theory]
    [InlineData("equal-ranks")]
    [InlineData("rslora-patterns")]
    public void LinearIsTheWeightedSumOfTheChanges(string name) =>
        Assert.InRange(Difference(Path.Combine(TestData.Fixtures, "weighted", name), CombinationType.Linear, new CombineOptions(), "sum.logits"), 0, 2e-5);

    private static double Difference(string folder, CombinationType type, CombineOptions options, string expectedName)
    {
        JsonElement json = Json(folder);
        using CpuBackend backend = new();
        using CausalLM model = CausalLM.Load(folder, backend);
        List<string> names = [.. json.GetProperty("adapters").EnumerateArray().Select(a => a.GetString()!)];
        foreach (string name in names) AdapterFile.Load(Path.Combine(folder, name), model, name, trainable: false);
        double[] weights = [.. json.GetProperty("weights").EnumerateArray().Select(w => w.GetDouble())];
        model.Attach(AdapterAlgebra.Combine(model, names, weights, type, options), trainable: false);
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        float[] expected = file.Tensors[expectedName].ToArray(), ids = file.Tensors["input_ids"].ToArray(), mask = file.Tensors["attention_mask"].ToArray();
        int rows = file.Tensors["input_ids"].Shape[0], length = file.Tensors["input_ids"].Shape[1], vocabulary = model.Options.VocabularySize;
        double worst = 0;
        for (int r = 0; r < rows; r++)
        {
            // Padding is on the right.
            int real = (int)mask.AsSpan(r * length, length).ToArray().Sum();
            int[] row = [.. ids.AsSpan(r * length, real).ToArray().Select(v => (int)v)];
            float[] actual = TinyModel.Logits(model, new TokenRow(row, row));
            for (int i = 0; i < actual.Length; i++) worst = Math.Max(worst, Math.Abs(actual[i] - expected[r * length * vocabulary + i]));
        }
        return worst;
    }

    private static JsonElement Json(string folder) => JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json"))).RootElement;
}
