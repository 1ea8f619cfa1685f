using System.Diagnostics.CodeAnalysis;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;
using LoraNet.Tests.Lora;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

/// <summary>The step that the benchmark times leaves nothing out: every weight counts, every parameter moves, losses are the reference's.</summary>
public sealed class WholeStepTests
{
    private static readonly LoraConfig _config = new() { Rank = 8, Alpha = 16, TargetModules = ModuleSelector.Parse("q_proj,k_proj,v_proj,o_proj") };

    [Theory]
    [InlineData("llama-tied")]
    [InlineData("qwen3")]
    public void LossesAndNormsAreTheReferences(string fixture)
    {
        using CpuBackend fast = new();
        using ReferenceBackend exact = new();
        List<StepResult> measured = Steps(fast, fixture, out _), expected = Steps(exact, fixture, out _);
        foreach ((StepResult m, StepResult e) in measured.Zip(expected))
        {
            Assert.Equal(e.Loss, m.Loss, 1e-5 * e.Loss);
            Assert.Equal(e.GradientNorm, m.GradientNorm, 1e-4 * e.GradientNorm);
            Assert.True(m.Applied);
        }
    }

    [Fact]
    public void EveryParameterMoves()
    {
        using CpuBackend backend = new();
        _ = Steps(backend, "llama-tied", out List<(string Name, float[] Before, float[] After)> parameters);
        Assert.NotEmpty(parameters);
        foreach ((string name, float[] before, float[] after) in parameters)
            Assert.True(before.Zip(after).All(static p => p.First != p.Second), name);
    }

    [Fact]
    public void EveryFrozenTensorIsRead()
    {
        using CpuBackend backend = new();
        string[] names;
        using (FolderWeights weights = new(TinyModel.Folder())) names = [.. weights.Names];
        Assert.True(names.Length > 15);
        double loss = Loss(backend, null);
        Assert.Equal(loss, Loss(backend, null));
        foreach (string name in names) Assert.True(loss != Loss(backend, name), name);
    }

    private static double Loss(CpuBackend backend, string? changed)
    {
        ModelConfig config = ModelConfig.Load(TinyModel.Folder());
        using CausalLM model = new(backend, config, DecoderFamilies.Options(config), new ChangedWeights(TinyModel.Folder(), changed));
        model.AddAdapter(_config);
        using LoraTrainer trainer = new(model, TinyModel.Rows(8, 5), new TrainingOptions { BatchSize = 4, MaxSteps = 1 });
        return trainer.Step().Loss;
    }

    private static List<StepResult> Steps(Backend backend, string fixture, out List<(string, float[], float[])> parameters)
    {
        using CausalLM model = TinyModel.Load(backend, fixture);
        LoraAdapter adapter = model.AddAdapter(_config);
        List<float[]> before = [.. adapter.Parameters.Select(static p => p.ToFile())];
        using LoraTrainer trainer = new(model, TinyModel.Rows(24, 2), new TrainingOptions { BatchSize = 4, MaxSteps = 5, LearningRate = 1e-3, Schedule = ScheduleKind.Constant });
        List<StepResult> results = [.. Enumerable.Range(0, 5).Select(_ => trainer.Step())];
        parameters = [.. adapter.Parameters.Select((p, i) => (p.Name, before[i], p.ToFile()))];
        return results;
    }

    /// <summary>A folder's weights, with one tensor larger by one percent.</summary>
    private sealed class ChangedWeights(string folder, string? changed) : IWeightSource
    {
        private readonly FolderWeights _weights = new(folder);

        public IReadOnlyCollection<string> Names => _weights.Names;

        public string? Directory => _weights.Directory;

        public HostTensor Get(string name)
        {
            HostTensor tensor = _weights.Get(name);
            return name == changed ? HostTensor.Copy([.. tensor.ToArray().Select(static v => v * 1.01f)], tensor.Shape) : tensor;
        }

        public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor)
        {
            tensor = _weights.TryGet(name, out _) ? Get(name) : null;
            return tensor is not null;
        }

        public void Dispose() => _weights.Dispose();
    }
}
