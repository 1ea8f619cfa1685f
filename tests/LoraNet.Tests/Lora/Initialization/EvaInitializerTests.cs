using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;

namespace LoraNet.Tests.Lora.Initialization;

/// <summary>EVA against PEFT on the same batches (tests/fixtures/eva, made by generate.py), and its laws.</summary>
public sealed class EvaInitializerTests
{
    private static readonly LoraConfig _config = new() { Rank = 4, Alpha = 8, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "o_proj", "gate_proj") };

    [Fact]
    public void RanksAndComponentsAreThoseOfPeft()
    {
        string folder = Path.Combine(TestData.Fixtures, "eva");
        using CpuBackend backend = new();
        using CausalLM model = CausalLM.Load(folder, backend);
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "batches.safetensors"));
        List<IReadOnlyList<TokenRow>> batches = [];
        for (int i = 0; file.Tensors.ContainsKey($"{i}.input_ids"); i++)
        {
            int rows = file.Tensors[$"{i}.input_ids"].Shape[0];
            int[][] ids = Split($"{i}.input_ids", rows), labels = Split($"{i}.labels", rows);
            batches.Add([.. ids.Zip(labels, (a, b) => new TokenRow(a, b))]);
        }
        LoraAdapter ours = EvaInitializer.Create(model, "ours", _config with { RankPattern = [KeyValuePair.Create("o_proj", 2)] }, batches, new EvaOptions { Tau = 0.97 });
        LoraAdapter theirs = AdapterFile.Load(folder, model, "theirs");
        Assert.Equal(theirs.Layers.Keys.Order(), ours.Layers.Keys.Order());
        Assert.Contains(theirs.Layers.Values, l => l.Rank != 4);
        foreach ((string path, LoraLayer layer) in theirs.Layers)
        {
            LoraLayer own = ours.Layers[path];
            Assert.Equal(layer.Rank, own.Rank);
            Assert.Equal(layer.BaseScaling, own.BaseScaling, 1e-6);
            Assert.All(own.B.ToFile(), v => Assert.Equal(0, v));
            float[] a = layer.A.ToFile(), b = own.A.ToFile();
            int width = a.Length / layer.Rank;
            for (int r = 0; r < layer.Rank; r++)
            {
                double dot = 0;
                for (int i = 0; i < width; i++) dot += (double)a[r * width + i] * b[r * width + i];
                Assert.Equal(1, Math.Abs(dot), 1e-3);
            }
        }
        ours.Dispose();

        int[][] Split(string name, int rows) => [.. file.Tensors[name].ToArray().Select(v => (int)v).Chunk(file.Tensors[name].Shape[1]).Take(rows)];
    }

    [Fact]
    public void TheBudgetStaysAndTheFileIsPlainLora()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        List<IReadOnlyList<TokenRow>> batches = [.. Enumerable.Range(0, 4).Select(i => (IReadOnlyList<TokenRow>)TinyModel.Rows(6, i))];
        LoraConfig config = _config with { Rank = 3, UseRsLora = true, RankPattern = [KeyValuePair.Create("o_proj", 2)] };
        LoraAdapter adapter = EvaInitializer.Create(model, "default", config, batches, new EvaOptions { Tau = 0.5, MaxBatches = 40 });
        Assert.Equal(2 * (3 * 3 + 2), adapter.Layers.Values.Sum(l => l.Rank));
        Assert.All(adapter.Layers.Values, l => Assert.InRange(l.Rank, 1, 6));
        model.Attach(adapter);
        TokenRow row = TinyModel.Rows(1, 77)[0];
        float[] start = TinyModel.Logits(model, row);
        using (model.DisableAdapter()) Assert.Equal(start, TinyModel.Logits(model, row));
        using Formats.TemporaryFolder folder = new();
        AdapterFile.Save(folder["a"], model, adapter);
        model.DeleteAdapter("default");
        LoraAdapter read = AdapterFile.Load(folder["a"], model);
        Assert.Equal(config.UseRsLora, read.Config.UseRsLora);
        Assert.Equal(22, read.Layers.Values.Sum(l => l.Rank));
    }

    [Fact]
    public void WithoutDataOrTokensItIsAnError()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        Assert.Contains("training data", Assert.Throws<LoraNetException>(() => model.AddAdapter(_config with { Init = LoraInit.Eva })).Message, StringComparison.Ordinal);
        IReadOnlyList<TokenRow> few = [new TokenRow([3, 4], [3, 4])];
        Assert.Contains("tokens", Assert.Throws<LoraNetException>(() => EvaInitializer.Create(model, "a", _config, [few])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BatchesGiveTheComponentsOfAllRowsTogether()
    {
        // With as many components as features nothing is lost from batch to batch.
        const int Rows = 60, Features = 7;
        float[] x = new float[Rows * Features];
        LoraInitializer.Normal(x, 1, 5, "x");
        for (int r = 0; r < Rows; r++)
            for (int f = 0; f < Features; f++) x[r * Features + f] = (f + 1) * x[r * Features + f] + f;
        IncrementalPca whole = new(Features, Features), parts = new(Features, Features);
        whole.Add(x, Rows);
        for (int r = 0; r < Rows; r += 15) parts.Add(x.AsSpan(r * Features, 15 * Features).ToArray(), 15);
        Assert.Equal(1, whole.Ratios.Sum(), 1e-5);
        for (int i = 0; i < Features; i++)
        {
            Assert.Equal(whole.SingularValues[i], parts.SingularValues[i], 1e-3);
            Assert.Equal(whole.Ratios[i], parts.Ratios[i], 1e-5);
            double dot = 0;
            for (int f = 0; f < Features; f++) dot += whole.Components[i * Features + f] * parts.Components[i * Features + f];
            Assert.Equal(1, Math.Abs(dot), 1e-4);
        }
    }
}
