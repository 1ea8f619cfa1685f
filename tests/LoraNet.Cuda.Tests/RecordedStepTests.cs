using LoraNet.Data.Packing;
using LoraNet.Generation;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Testing;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>Steps that replay recorded work against the same steps on the CPU backend, which has nothing to record.</summary>
public class RecordedStepTests
{
    private const int Steps = 7;

    [Theory]
    [InlineData("llama-tied", 0.0, 1)]
    [InlineData("mistral-window", 0.25, 1)]
    [InlineData("llama-dora-llama3rope", 0.0, 2)]
    public void Replayed_steps_train_like_the_cpu(string fixture, double dropout, int accumulation)
    {
        using CudaBackend cuda = CudaBackend.CreateOnCpuAccelerator();
        using CpuBackend cpu = new();
        (List<double> replayed, int replays) = Train(cuda, fixture, dropout, accumulation);
        (List<double> expected, int none) = Train(cpu, fixture, dropout, accumulation);
        Assert.Equal(0, none);
        // Rows of other lengths, masks, segments and rates go through the same recording.
        Assert.True(replays >= 2, $"{replays} replays");
        for (int i = 0; i < expected.Count; i++) Assert.Equal(expected[i], replayed[i], 1e-4 * Math.Abs(expected[i]));
    }

    [Theory]
    [InlineData("llama-tied")]
    [InlineData("mistral-window")]
    public void Replayed_decoding_generates_what_the_cpu_generates(string fixture)
    {
        using CudaBackend cuda = CudaBackend.CreateOnCpuAccelerator();
        using CpuBackend cpu = new();
        int[][] generated = Generate(cuda, fixture);
        Assert.Equal(Generate(cpu, fixture), generated);
        Assert.True(cuda.Replays >= 5, $"{cuda.Replays} replays");

        static int[][] Generate(Backend backend, string fixture)
        {
            using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", fixture), backend);
            using Generator generator = new(model);
            // Sequences of other lengths, and one that ends before the rest.
            return [.. generator.Generate([[5, 9, 11], [7], [3, 4]], new GenerationOptions { MaxNewTokens = 9, Temperature = 0, StopIds = [1, 2] }, Limit())];
        }
    }

    private static Func<int, int, bool> Limit()
    {
        int given = 0;
        return (sequence, _) => sequence != 1 || ++given < 4;
    }

    [Fact]
    public void A_rehearsal_changes_nothing_and_tells_whether_the_host_took_part()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        Tensor x = backend.Create([1f, 2f], 2), y = backend.Create([5f, 5f], 2);
        Assert.True(backend.Rehearse(() => backend.Scale(x, 3, y)));
        Assert.Equal([5f, 5f], backend.Download(y));
        Assert.False(backend.Rehearse(() => backend.Download(x)));
        Assert.False(backend.Rehearse(() => backend.Upload([0f, 0f], y)));
    }

    [Fact]
    public void Recorded_work_runs_when_replayed_and_refuses_the_host()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        Tensor x = backend.Create([1f, 2f], 2), y = backend.Create([5f, 5f], 2);
        using IRecordedWork work = backend.Record(default, () => backend.Scale(x, 3, y, accumulate: true));
        Assert.Equal([5f, 5f], backend.Download(y));
        work.Replay(default);
        work.Replay(default);
        Assert.Equal([11f, 17f], backend.Download(y));
        Assert.Throws<InvalidOperationException>(() => backend.Record(default, () => backend.Download(x)));
    }

    private static (List<double> Losses, int Replays) Train(Backend backend, string fixture, double dropout, int accumulation)
    {
        using CausalLM model = CausalLM.Load(Path.Combine(TestData.Fixtures, "golden", fixture), backend);
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8, Dropout = dropout, TargetModules = ModuleSelector.Of("q_proj", "v_proj", "down_proj"), UseDora = fixture.Contains("dora", StringComparison.Ordinal) });
        Random random = new(11);
        foreach (Parameter p in adapter.Parameters.Where(p => p.Kind == ParameterKind.LoraB))
            backend.Upload([.. Enumerable.Range(0, (int)p.Value.Count).Select(_ => (float)(random.NextDouble() - 0.5) * 0.2f)], p.Value);
        List<TokenRow> rows = [];
        for (int r = 0; r < Steps * accumulation * 2; r++)
        {
            int[] ids = [.. Enumerable.Range(0, 3 + random.Next(6)).Select(_ => random.Next(model.Options.VocabularySize))];
            int[] labels = (int[])ids.Clone();
            Array.Fill(labels, TokenRow.Ignored, 0, 1 + random.Next(2));
            rows.Add(new TokenRow(ids, labels));
        }
        LanguageModelTask task = new(model, PackedRow.Single(rows));
        using LoraTrainer trainer = new(task, new TrainingOptions { BatchSize = 2, GradientAccumulation = accumulation, MaxSteps = Steps, LearningRate = 0.01, Shuffle = false });
        List<double> losses = [];
        for (int s = 0; s < Steps; s++)
        {
            StepResult step = trainer.Step();
            losses.Add(step.Loss);
            losses.Add(step.GradientNorm);
        }
        return (losses, task.ReplayedBatches);
    }
}
