using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors.Cpu;
using LoraNet.Tests.Lora;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

/// <summary>Steps of one shape live on the buffers of the first: the collector has nothing to do.</summary>
public sealed class AllocationTests
{
    private const int Length = 24;

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    public void AStepAllocatesUnderTenKilobytes(int batch, int accumulation)
    {
        const int Steps = 20, Warmup = 5;
        using CpuBackend backend = new();
        using CausalLM model = TinyModel.Load(backend);
        model.AddAdapter(new LoraConfig { Rank = 4, TargetModules = ModuleSelector.AllLinearLayers });
        using LoraTrainer trainer = new(model, Rows((Steps + Warmup) * batch * accumulation), new TrainingOptions
        {
            BatchSize = batch,
            GradientAccumulation = accumulation,
            MaxSteps = Steps + Warmup,
            LearningRate = 1e-3,
        });
        for (int i = 0; i < Warmup; i++) trainer.Step();
        // Of this thread only: other tests run beside it, and the backend's workers see nothing but pointers.
        long own = GC.GetAllocatedBytesForCurrentThread();
        double loss = 0;
        for (int i = 0; i < Steps; i++) loss += trainer.Step().Loss;
        long perStep = (GC.GetAllocatedBytesForCurrentThread() - own) / Steps;
        Assert.True(double.IsFinite(loss));
        Assert.True(perStep < 10 * 1024, $"{perStep} bytes a step");
    }

    // Other tokens in every row, and other masks of equal size.
    private static List<TokenRow> Rows(int count)
    {
        Random random = new(7);
        List<TokenRow> rows = [];
        for (int r = 0; r < count; r++)
        {
            int[] ids = [.. Enumerable.Range(0, Length).Select(_ => random.Next(3, 64))];
            int gap = random.Next(1, Length - 6);
            rows.Add(new TokenRow(ids, [.. ids.Select((id, i) => i >= gap && i < gap + 5 ? TokenRow.Ignored : id)]));
        }
        return rows;
    }
}
