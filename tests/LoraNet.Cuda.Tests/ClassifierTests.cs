using LoraNet.Data;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>A classifier trains and answers with the GPU's kernels as it does on the CPU (here on ILGPU's CPU accelerator).</summary>
public sealed class ClassifierTests
{
    private static readonly ClassificationRow[] _rows =
    [
        new([2, 11, 7, 29, 3], null, null, 1),
        new([2, 9, 3, 14, 5, 21, 3], null, [0, 0, 0, 1, 1, 1, 1], 0),
        new([2, 17, 3], null, null, 1),
        new([2, 11, 11, 8, 3], null, [0, 0, 1, 1, 1], 0),
    ];

    [Theory]
    [InlineData("lora", 2, DType.F32, 1e-4)]
    [InlineData("full", 2, DType.F32, 1e-4)]
    [InlineData("lora", 1, DType.F32, 1e-4)]
    [InlineData("full", 1, DType.BF16, 0.05)]
    public void TrainsAndAnswersAsOnTheCpu(string method, int labels, DType type, double tolerance)
    {
        using Backend cpu = new CpuBackend(), gpu = CudaBackend.CreateOnCpuAccelerator(type);
        (double[] losses, float[] logits) = Train(cpu, method, labels);
        (double[] otherLosses, float[] otherLogits) = Train(gpu, method, labels);
        Assert.True(losses[^1] < 0.8 * losses[0], $"The loss did not fall: {string.Join(", ", losses)}");
        for (int i = 0; i < losses.Length; i++) Assert.True(Math.Abs(losses[i] - otherLosses[i]) <= tolerance * Math.Max(1, losses[i]), $"step {i + 1}: {losses[i]} and {otherLosses[i]}");
        for (int i = 0; i < logits.Length; i++) Assert.True(Math.Abs(logits[i] - otherLogits[i]) <= 4 * tolerance * Math.Max(1, Math.Abs(logits[i])), $"logit {i}: {logits[i]} and {otherLogits[i]}");
    }

    private static (double[] Losses, float[] Logits) Train(Backend backend, string method, int labels)
    {
        using SequenceClassifier model = TinyEncoder.Create(backend, labels);
        switch (method)
        {
            case "full": model.Attach(AdapterBuilder.CreateFull(model)); break;
            default: model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 16, Dropout = 0.1, ModulesToSave = ["pooler.dense"], TargetModules = ModuleSelector.Of("query", "value") }, seed: 3); break;
        }
        using LoraTrainer trainer = new(model, _rows, new TrainingOptions { BatchSize = 4, MaxSteps = 6, LearningRate = method == "full" ? 1e-2 : 3e-2, WeightDecay = 0.01, Seed = 1 });
        double[] losses = new double[trainer.TotalSteps];
        for (int i = 0; i < losses.Length; i++) losses[i] = trainer.Step().Loss;
        return (losses, [.. Evaluator.Evaluate(model, _rows, 2).Logits.SelectMany(l => l)]);
    }
}
