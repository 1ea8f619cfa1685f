using System.Diagnostics.CodeAnalysis;
using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Tests.Formats;
using LoraNet.Training;

namespace LoraNet.Tests.Lora.Initialization;

/// <summary>PiSSA, OLoRA and the orthogonal start: their definitions, and that the unchanged base with a frozen companion is PEFT's residual base.</summary>
public sealed class WeightInitializerTests
{
    private static LoraConfig Config(LoraInit init, bool rsLora = false) =>
        new() { Rank = 4, Alpha = 8, Init = init, UseRsLora = rsLora, TargetModules = ModuleSelector.Of("q_proj", "down_proj", "up_proj"), RankPattern = [KeyValuePair.Create("up_proj", 6)] };

    [SharedTheory]
    [InlineData("pissa", LoraInit.Pissa)]
    [InlineData("olora", LoraInit.Olora)]
    public void ProductAndResidualAreThoseOfPeft(string name, LoraInit init)
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.SharedPath("reference", "inits.safetensors"));
        for (int layer = 0; layer < 2; layer++)
        {
            string path = $"model.layers.{layer}.self_attn.q_proj";
            float[] w = file.Tensors[$"{name}.original.{path}.weight"].ToArray();
            (float[] a, float[] b) = init == LoraInit.Pissa ? WeightInitializer.Pissa(w, 64, 64, 8, 2) : WeightInitializer.Olora(w, 64, 64, 8);
            float[] ours = new AdapterFactors(path, 8, 2, a, b, 64, 64).Delta();
            float[] theirs = new AdapterFactors(path, 8, 2, file.Tensors[$"{name}.{path}.lora_A.default.weight"].ToArray(), file.Tensors[$"{name}.{path}.lora_B.default.weight"].ToArray(), 64, 64).Delta();
            float[] residual = file.Tensors[$"{name}.{path}.base_layer.weight"].ToArray();
            for (int i = 0; i < w.Length; i++)
            {
                Assert.Equal(theirs[i], ours[i], 1e-4f);
                Assert.Equal(residual[i], w[i] - ours[i], 1e-4f);
            }
        }
    }

    [Fact]
    public void TheOrthogonalStartIsNothingMadeOfSomething()
    {
        (float[] a, float[] b) = LoraInitializer.Linear(LoraInit.Orthogonal, 200, 300, 8, 3, "layer");
        float[] delta = new AdapterFactors("layer", 8, 1, a, b, 300, 200).Delta();
        Assert.True(delta.Max(Math.Abs) < 1e-6);
        // Rows of A and B combine half as many normals of deviation 0.1 through an orthogonal matrix: a mean square of 0.01/2.
        Assert.Equal(0.005, a.Average(v => (double)v * v), 0.001);
        Assert.Equal(0.005, b.Average(v => (double)v * v), 0.001);
        Assert.Throws<LoraNetException>(() => LoraInitializer.Linear(LoraInit.Orthogonal, 20, 30, 5, 3, "layer"));
    }

    [Theory]
    [InlineData(LoraInit.Pissa, false)]
    [InlineData(LoraInit.Pissa, true)]
    [InlineData(LoraInit.Olora, false)]
    [InlineData(LoraInit.Orthogonal, true)]
    public async Task TrainingStartsAtTheBaseAndExportsAsPlainLora(LoraInit init, bool rsLora)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        TokenRow row = TinyModel.Rows(1, 4)[0];
        float[] before = TinyModel.Logits(model, row);
        LoraAdapter adapter = model.AddAdapter(Config(init, rsLora));
        Assert.True(TinyModel.MaxDifference(before, TinyModel.Logits(model, row)) < 1e-5);
        await Train(model);
        float[] trained = TinyModel.Logits(model, row);
        Assert.True(TinyModel.MaxDifference(before, trained) > 1e-2);

        using (CausalLM merged = model.MergeAndUnload()) Assert.True(TinyModel.MaxDifference(trained, TinyModel.Logits(merged, row)) < 1e-4);
        using (model.DisableAdapter()) Assert.Equal(before, TinyModel.Logits(model, row));
        foreach (LoraLayer layer in adapter.Layers.Values) layer.Multiplier = 0;
        Assert.True(TinyModel.MaxDifference(before, TinyModel.Logits(model, row)) < 1e-6);

        using TemporaryFolder folder = new();
        AdapterFile.Save(folder.Path, model, adapter);
        Assert.Equal("true", AdapterConfigJson.Read(folder.Path).InitLoraWeights);
        LoraAdapter plain = AdapterFile.Load(folder.Path, model, "plain", trainable: false);
        Assert.Equal(init == LoraInit.Orthogonal ? 4 : 8, plain.Layers["model.layers.0.self_attn.q_proj"].Rank);
        Assert.Equal(init == LoraInit.Orthogonal ? 6 : 12, plain.Layers["model.layers.0.mlp.up_proj"].Rank);
        Assert.True(TinyModel.MaxDifference(trained, TinyModel.Logits(model, row)) < 1e-4);
    }

    [Theory]
    [InlineData(LoraInit.Pissa)]
    [InlineData(LoraInit.Olora)]
    public async Task ItTrainsAsPlainLoraOverTheResidualBase(LoraInit init)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraAdapter adapter = model.AddAdapter(Config(init));
        using CausalLM residual = new(backend, model.Config, model.Options, new Residual(TinyModel.Folder(), adapter));
        LoraAdapter plain = residual.AddAdapter(Config(LoraInit.KaimingUniform));
        foreach ((string path, LoraLayer layer) in plain.Layers)
        {
            layer.A.FromFile(adapter.Layers[path].A.ToFile());
            layer.B.FromFile(adapter.Layers[path].B.ToFile());
        }
        List<double> losses = await Train(model), expected = await Train(residual);
        for (int i = 0; i < losses.Count; i++) Assert.Equal(expected[i], losses[i], 1e-4);
        foreach ((string path, LoraLayer layer) in plain.Layers)
        {
            Assert.True(TinyModel.MaxDifference(layer.A.ToFile(), adapter.Layers[path].A.ToFile()) < 1e-3, path);
            Assert.True(TinyModel.MaxDifference(layer.B.ToFile(), adapter.Layers[path].B.ToFile()) < 1e-3, path);
        }
    }

    [Fact]
    public async Task AResumedRunIsBitIdentical()
    {
        using TemporaryFolder folder = new();
        CheckpointStore store = new(folder.Path);
        float[] unbroken = await Run(null, 8), _ = await Run(store, 4), resumed = await Run(store, 8);
        Assert.Equal(unbroken, resumed);

        static async Task<float[]> Run(CheckpointStore? store, int stopAfter)
        {
            using CpuBackend backend = new();
            using CausalLM model = TinyModel.Load(backend);
            LoraAdapter adapter = model.AddAdapter(Config(LoraInit.Pissa));
            using LoraTrainer trainer = new(model, TinyModel.Rows(12, 1), new TrainingOptions { BatchSize = 3, MaxSteps = 8, LearningRate = 1e-3, SaveSteps = 4 });
            store?.TryLoadNewest(trainer);
            await foreach (StepResult step in trainer.RunAsync(store))
                if (step.Step >= stopAfter) break;
            return [.. StoredTensor.Of(adapter).SelectMany(t => t.Get())];
        }
    }

    [Fact]
    public void AdaptersThatPeftStoredWithoutTheBasesPartAreRead()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraAdapter adapter = model.AddAdapter(Config(LoraInit.Pissa));
        foreach (LoraLayer layer in adapter.Layers.Values) layer.B.FromFile([.. layer.B.ToFile().Select(v => 1.5f * v)]);
        TokenRow row = TinyModel.Rows(1, 4)[0];
        float[] expected = TinyModel.Logits(model, row);
        using TemporaryFolder folder = new();
        AdapterConfigJson.Write(folder[AdapterConfigJson.FileName], PeftAdapterConfig.From(adapter.Config) with { InitLoraWeights = "pissa" });
        SafetensorsWriter.Write(folder[AdapterFile.TensorFileName], adapter.Parameters.Select(p => SafetensorsEntry.FromSingles(AdapterTensors.Prefix + p.Name, p.ToFile(), p.FileShape)));
        AdapterFile.Load(folder.Path, model, "read", trainable: false);
        Assert.True(TinyModel.MaxDifference(expected, TinyModel.Logits(model, row)) < 1e-5);
    }

    [Fact]
    public void MistakesAreNamed()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        Assert.Contains("33", Assert.Throws<LoraNetException>(() => model.AddAdapter(Config(LoraInit.Pissa) with { Rank = 33, RankPattern = [] })).Message, StringComparison.Ordinal);
        Assert.Contains("DoRA", Assert.Throws<LoraNetException>(() => model.AddAdapter(Config(LoraInit.Olora) with { UseDora = true })).Message, StringComparison.Ordinal);
        Assert.Contains("alpha", Assert.Throws<LoraNetException>(() => model.AddAdapter(Config(LoraInit.Pissa) with { Alpha = 0 })).Message, StringComparison.Ordinal);
        Assert.Empty(model.Adapters);
    }

    private static async Task<List<double>> Train(CausalLM model)
    {
        using LoraTrainer trainer = new(model, TinyModel.Rows(12, 1), new TrainingOptions { BatchSize = 3, MaxSteps = 5, LearningRate = 5e-3 });
        List<double> losses = [];
        await foreach (StepResult step in trainer.RunAsync()) losses.Add(step.Loss);
        return losses;
    }

    /// <summary>The fixture's weights with W − s·B₀·A₀ in place of each adapted W.</summary>
    private sealed class Residual : IWeightSource
    {
        private readonly FolderWeights _folder;
        private readonly Dictionary<string, HostTensor> _changed = [];

        public Residual(string folder, LoraAdapter adapter)
        {
            _folder = new FolderWeights(folder);
            foreach ((string path, LoraLayer layer) in adapter.Layers)
            {
                HostTensor w = _folder.Get(path + ".weight");
                float[] values = w.ToArray(), delta = AdapterFactors.Of(layer.Initial!).Delta();
                _changed[path + ".weight"] = HostTensor.Copy([.. values.Zip(delta, (x, d) => x + d)], w.Shape);
            }
        }

        public IReadOnlyCollection<string> Names => _folder.Names;
        public string? Directory => null;
        public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor) => _changed.TryGetValue(name, out tensor) || _folder.TryGet(name, out tensor);
        public HostTensor Get(string name) => _changed.TryGetValue(name, out HostTensor? tensor) ? tensor : _folder.Get(name);
        public void Dispose() => _folder.Dispose();
    }
}
