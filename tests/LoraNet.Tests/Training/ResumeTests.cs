using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Lora;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

public sealed class ResumeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("loranet-resume-").FullName;

    private static readonly TrainingOptions _options = new() { BatchSize = 3, GradientAccumulation = 2, MaxSteps = 9, LearningRate = 1e-2, WarmupSteps = 2, SaveSteps = 2 };
    private static readonly LoraConfig _config = new() { Rank = 4, TargetModules = ModuleSelector.AllLinearLayers, Dropout = 0.2 };

    [Fact]
    public async Task AResumedRunIsBitIdenticalToAnUnbrokenOne()
    {
        List<TokenRow> rows = TinyModel.Rows(20, 1);
        float[] unbroken = await Run(rows, null, stopAfter: int.MaxValue);
        CheckpointStore store = new(_folder);
        await Run(rows, store, stopAfter: 5);
        Assert.Equal([2, 4], store.Steps);
        float[] resumed = await Run(rows, store, stopAfter: int.MaxValue, resumeFrom: 4);
        Assert.Equal(unbroken, resumed);
    }

    [Fact]
    public async Task OtherSettingsOrDataAreRefused()
    {
        CheckpointStore store = new(_folder);
        await Run(TinyModel.Rows(20, 1), store, stopAfter: 3);
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(_config);
        using LoraTrainer other = new(model, TinyModel.Rows(20, 1), _options with { LearningRate = 1e-3 });
        Assert.Contains("learning_rate", Assert.Throws<LoraNetException>(() => store.TryLoadNewest(other)).Message, StringComparison.Ordinal);
        using LoraTrainer data = new(model, TinyModel.Rows(20, 2), _options);
        Assert.Contains("data", Assert.Throws<LoraNetException>(() => store.TryLoadNewest(data)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheLimitKeepsTheNewest()
    {
        CheckpointStore store = new(_folder, limit: 2);
        await Run(TinyModel.Rows(20, 1), store, stopAfter: int.MaxValue);
        Assert.Equal([6, 8], store.Steps);
    }

    [Fact]
    public async Task CancellingSavesAfterTheStepAtHand()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(_config);
        using LoraTrainer trainer = new(model, TinyModel.Rows(20, 1), _options with { SaveSteps = 0 });
        CheckpointStore store = new(_folder);
        using CancellationTokenSource source = new();
        await foreach (StepResult step in trainer.RunAsync(store, new Cancel(source, 3), source.Token)) Assert.True(step.Step <= 3);
        Assert.Equal(3, trainer.State.CompletedSteps);
        Assert.Equal([3], store.Steps);
    }

    [Fact]
    public async Task EarlyStoppingKeepsTheBest()
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(_config);
        // A learning rate that ruins the model, so that the first evaluation stays the best.
        TrainingOptions options = _options with { LearningRate = 5, WarmupSteps = 0, MaxSteps = 40, SaveSteps = 0, EvalSteps = 1, EarlyStoppingPatience = 3, Schedule = ScheduleKind.Constant };
        using LoraTrainer trainer = new(model, TinyModel.Rows(20, 1), options, TinyModel.Rows(5, 99));
        CheckpointStore store = new(_folder);
        await foreach (StepResult _ in trainer.RunAsync(store)) { }
        Assert.True(trainer.State.Stopped);
        Assert.Equal(trainer.State.BestStep + 3, trainer.State.CompletedSteps);
        Assert.Contains(trainer.State.BestStep, store.Steps);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static async Task<float[]> Run(List<TokenRow> rows, CheckpointStore? store, int stopAfter, int? resumeFrom = null)
    {
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        LoraAdapter adapter = model.AddAdapter(_config);
        using LoraTrainer trainer = new(model, rows, _options);
        if (resumeFrom is not null) Assert.Equal(resumeFrom, store!.TryLoadNewest(trainer));
        await foreach (StepResult step in trainer.RunAsync(store))
            if (step.Step >= stopAfter) break;
        return [.. adapter.Parameters.SelectMany(p => p.ToFile())];
    }

    private sealed class Cancel(CancellationTokenSource source, int step) : IProgress<StepResult>
    {
        public void Report(StepResult value)
        {
            if (value.Step == step) source.Cancel();
        }
    }
}
