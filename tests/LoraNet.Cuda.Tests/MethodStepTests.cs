using LoraNet.Data.Packing;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>Every method trains on the CUDA backend's kernels, run on ILGPU's CPU accelerator, as on the CPU backend; recorded steps included.</summary>
public class MethodStepTests(CpuAcceleratorF32 f32, CpuAcceleratorBF16 bf16) : IClassFixture<CpuAcceleratorF32>, IClassFixture<CpuAcceleratorBF16>
{
    private const int Steps = 4;
    private static readonly LoraConfig _plain = new() { Rank = 3, Alpha = 6, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "down_proj"), Init = LoraInit.Random };

    /// <summary>A name and whether equal batches are replayed from the third on.</summary>
    public static TheoryData<string, bool> Cases => new()
    {
        { "vera-dropout", true }, { "ia3", true }, { "loha", true }, { "lokr-factors", true }, { "lokr-dropout", false }, { "module-dropout", false },
        { "adalora", true }, { "lora-fa", true }, { "loftq", true }, { "dora-embedding", true }, { "experts", false },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Steps_are_those_of_the_cpu(string name, bool replays)
    {
        using CpuBackend cpu = new();
        (List<double> expected, _) = Train(cpu, name);
        (List<double> actual, int replayed) = Train(f32.Backend, name);
        Assert.Equal(replays, replayed > 0);
        for (int i = 0; i < expected.Count; i++) Assert.Equal(expected[i], actual[i], 2e-4 * Math.Abs(expected[i]));
    }

    [Theory]
    [InlineData("ia3")]
    [InlineData("lokr-factors")]
    [InlineData("adalora")]
    [InlineData("dora-embedding")]
    public void Steps_in_bf16_stay_near(string name)
    {
        using CpuBackend cpu = new();
        (List<double> expected, _) = Train(cpu, name);
        (List<double> actual, _) = Train(bf16.Backend, name);
        // Losses, not gradient norms: a relative precision of 2⁻⁸ on every activation.
        for (int i = 0; i < expected.Count; i += 2) Assert.Equal(expected[i], actual[i], 0.03 * Math.Abs(expected[i]));
    }

    private static (LoraConfig Config, string Fixture) Case(string name) => name switch
    {
        "vera-dropout" => (_plain with { Method = new VeraSettings(), Rank = 5, Dropout = 0.25 }, "loha"),
        "ia3" => (_plain with { Method = new Ia3Settings { FeedForwardModules = ModuleSelector.Of("down_proj") } }, "ia3"),
        "loha" => (_plain with { Method = new LoHaSettings() }, "loha"),
        "lokr-factors" => (_plain with { Method = new LoKrSettings { DecomposeBoth = true, DecomposeFactor = 4 }, Rank = 1 }, "loha"),
        "lokr-dropout" => (_plain with { Method = new LoKrSettings { RankDropout = 0.3 } }, "loha"),
        "module-dropout" => (_plain with { Method = new LoHaSettings { ModuleDropout = 0.5 } }, "loha"),
        "adalora" => (_plain with { Method = new AdaLoraSettings { TargetRank = 1 }, Init = LoraInit.KaimingUniform, Alpha = 30 }, "loha"),
        "lora-fa" => (_plain, "loha"),
        "loftq" => (_plain with { Init = LoraInit.LoftQ }, "loha"),
        "dora-embedding" => (_plain with { UseDora = true, TargetModules = ModuleSelector.Of("q_proj", "embed_tokens"), Alpha = 0.6 }, "loha"),
        "experts" => (_plain with { TargetModules = ModuleSelector.Of("q_proj"), TargetParameters = ["experts.gate_up_proj", "experts.down_proj"] }, "mixtral-one-parameter"),
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };

    private static (List<double> LossesAndNorms, int Replays) Train(Backend backend, string name)
    {
        (LoraConfig config, string fixture) = Case(name);
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", fixture), backend);
        model.AddAdapter(config, seed: 5);
        Random random = new(3);
        List<TokenRow> rows = [];
        for (int r = 0; r < 2 * Steps; r++)
        {
            int[] ids = [.. Enumerable.Range(0, 8).Select(_ => random.Next(3, 32))];
            rows.Add(new TokenRow(ids, ids));
        }
        LanguageModelTask task = new(model, PackedRow.Single(rows));
        TrainingOptions options = new() { BatchSize = 2, MaxSteps = Steps, LearningRate = 2e-3, Shuffle = false, LoraFa = name == "lora-fa" };
        using LoraTrainer trainer = new(task, options);
        List<double> numbers = [];
        for (int s = 0; s < Steps; s++)
        {
            StepResult step = trainer.Step();
            numbers.Add(step.Loss);
            numbers.Add(step.GradientNorm);
        }
        return (numbers, task.ReplayedBatches);
    }
}
