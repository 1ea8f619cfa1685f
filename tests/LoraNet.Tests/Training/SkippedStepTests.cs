using System.Security.Cryptography;
using LoraNet.Data.Packing;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Tests.Training;

/// <summary>What must happen although a step was not finite, and what must not although a trainer was refused.</summary>
public class SkippedStepTests
{
    [Fact]
    public void AdaLoRA_meets_its_budget_although_the_step_of_the_last_allocation_was_skipped()
    {
        const int steps = 8, final = 2;
        using CpuBackend backend = new();
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "adalora"), backend);
        LoraAdapter adapter = model.AddAdapter(new LoraConfig
        {
            Rank = 4,
            TargetModules = ModuleSelector.Of("q_proj", "v_proj"),
            Method = new AdaLoraSettings { TargetRank = 1, InitialSteps = 1, FinalSteps = final, Interval = 3 },
        });
        List<TokenRow> rows = [.. Enumerable.Range(1, 4).Select(i => new TokenRow([i, i + 3, i + 5], [TokenRow.Ignored, i + 3, i + 5]))];
        using LanguageModelTask inner = new(model, PackedRow.Single(rows));
        using LoraTrainer trainer = new(new NotFinite(inner, steps - final), new TrainingOptions { BatchSize = 2, MaxSteps = steps, LearningRate = 0.01 });
        List<bool> applied = [.. Enumerable.Range(0, steps).Select(_ => trainer.Step().Applied)];
        Assert.Equal([steps - final], Enumerable.Range(0, steps).Where(s => !applied[s]));
        List<AdaLoraLayer> layers = [.. adapter.Parts.OfType<AdaLoraLayer>()];
        Assert.Equal(layers.Count, layers.Sum(l => l.Kept!.Count(k => k)));
        Assert.All(layers, l => Assert.All(l.Diagonal.ToFile().Zip(l.Kept!), p => Assert.True(p.Second || p.First == 0)));
    }

    [Fact]
    public void LoRA_FA_that_is_refused_freezes_nothing()
    {
        using CpuBackend backend = new();
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", "llama-tied"), backend);
        LoraConfig config = new() { Rank = 2, Alpha = 4, TargetModules = ModuleSelector.Of("q_proj") };
        LoraAdapter plain = model.AddAdapter(config, "plain");
        model.AddAdapter(config with { UseDora = true, TargetModules = ModuleSelector.Of("v_proj") }, "dora");
        model.SetAdapter("plain", "dora");
        List<TokenRow> rows = [new([1, 2, 3], [TokenRow.Ignored, 2, 3])];
        Assert.Throws<LoraNetException>(() => new LoraTrainer(model, rows, new TrainingOptions { MaxSteps = 1, LoraFa = true }));
        Assert.All(plain.Parameters, p => Assert.True(p.Trainable));
    }

    /// <summary>Makes the loss of one step a number that is none.</summary>
    private sealed class NotFinite(ITrainingTask task, uint step) : ITrainingTask
    {
        public PretrainedModel Model => task.Model;

        public int Count => task.Count;

        public bool HasHeldOut => task.HasHeldOut;

        public int TrainedCount(int row) => task.TrainedCount(row);

        public BatchSizes Accumulate(Tape tape, ReadOnlySpan<int> rows, ForwardContext context, float gradScale, Tensor lossSum, BatchSizes before)
        {
            BatchSizes sizes = task.Accumulate(tape, rows, context, gradScale, lossSum, before);
            if (context.Step == step) lossSum.Backend.Upload([float.NaN], lossSum);
            return sizes;
        }

        public MemoryPlan? Plan(Tape tape, TrainingOptions options, long trained) => task.Plan(tape, options, trained);

        public EvaluationResult EvaluateHeldOut(int batchSize, Arena arena) => task.EvaluateHeldOut(batchSize, arena);

        public void AppendTo(IncrementalHash hash) => task.AppendTo(hash);
    }
}
