using LoraNet.Data;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Training;

namespace LoraNet.Cuda.Tests;

/// <summary>Steps of a classifier that replay recorded work, on rows of other lengths and labels each time, against the same steps on
/// the CPU backend, which has nothing to record.</summary>
public class RecordedClassifierTests
{
    private const int Steps = 8, Batch = 3;

    [Theory]
    [InlineData("lora", 2, 0.0, 1, "bert")]
    [InlineData("lora", 3, 0.25, 2, "bert")]
    [InlineData("lora", 1, 0.25, 1, "bert")]
    [InlineData("lora", 2, 0.0, 1, "roberta")]
    [InlineData("full", 2, 0.0, 1, "bert")]
    [InlineData("full", 1, 0.0, 2, "bert")]
    [InlineData("full", 2, 0.0, 1, "roberta")]
    [InlineData("probe", 2, 0.0, 1, "bert")]
    [InlineData("probe", 1, 0.0, 1, "bert")]
    public void Replayed_steps_train_like_the_cpu(string method, int labels, double dropout, int accumulation, string type)
    {
        using Backend cpu = new CpuBackend(), cuda = CudaBackend.CreateOnCpuAccelerator();
        using SequenceClassifier expected = TinyEncoder.Create(cpu, labels, 2, type), model = TinyEncoder.Create(cuda, labels, 2, type);
        (List<double> values, int none) = Train(expected, method, labels, dropout, accumulation);
        (List<double> recorded, int replays) = Train(model, method, labels, dropout, accumulation);
        Assert.Equal(0, none);
        // Masks depend on the place within the step, so with dropout and accumulation fewer recordings fit.
        Assert.True(replays >= 2, $"{replays} replays");
        Assert.Equal(values.Count, recorded.Count);
        for (int i = 0; i < values.Count; i++) Assert.Equal(values[i], recorded[i], 1e-4 * Math.Abs(values[i]) + 1e-7);
    }

    [Theory]
    [InlineData("bert")]
    [InlineData("roberta")]
    public void Padding_trains_nothing(string type)
    {
        using Backend cuda = CudaBackend.CreateOnCpuAccelerator();
        using SequenceClassifier model = TinyEncoder.Create(cuda, 2, 2, type);
        (_, int replays) = Train(model, "full", 2, 0, 1);
        Assert.True(replays > 0);
        int positions = type == "bert" ? 7 : 9;
        foreach (Parameter parameter in model.TrainableParameters)
        {
            // Padding has id 0, which no row has; and no row is longer than seven tokens.
            bool words = parameter.Name.Contains("word_embeddings", StringComparison.Ordinal), places = parameter.Name.Contains("position_embeddings", StringComparison.Ordinal);
            if (!words && !places) continue;
            float[] gradient = cuda.Download(parameter.Gradient);
            Assert.Contains(gradient, g => g != 0);
            Assert.All(words ? gradient[..TinyEncoder.Hidden] : gradient[(positions * TinyEncoder.Hidden)..], g => Assert.Equal(0, g));
        }
    }

    [Fact]
    public void Padding_stays_within_a_table_of_positions_that_its_longest_sample_fills()
    {
        using Backend cpu = new CpuBackend(), cuda = CudaBackend.CreateOnCpuAccelerator();
        using SequenceClassifier expected = TinyEncoder.Create(cpu, 2, 1, "roberta"), model = TinyEncoder.Create(cuda, 2, 1, "roberta");
        // RoBERTa's positions count from 2, so rows of 14 tokens reach the last one of 16.
        List<ClassificationRow> rows = [.. Rows(2).Select((r, i) => i % 2 == 0 ? r : new ClassificationRow([.. Enumerable.Range(3, 14)], null, null, r.Label))];
        (List<double> values, _) = Train(expected, "full", rows, 0, 1);
        (List<double> recorded, int replays) = Train(model, "full", rows, 0, 1);
        Assert.True(replays > 0);
        for (int i = 0; i < values.Count; i++) Assert.Equal(values[i], recorded[i], 1e-4 * Math.Abs(values[i]));
    }

    [Fact]
    public void Evaluations_between_steps_leave_recordings_in_use()
    {
        using Backend cuda = CudaBackend.CreateOnCpuAccelerator(), cpu = new CpuBackend();
        (List<double> Losses, int Replays) recorded = Run(cuda), plain = Run(cpu);
        Assert.True(recorded.Replays >= Steps / 3, $"{recorded.Replays} replays");
        for (int i = 0; i < plain.Losses.Count; i++) Assert.Equal(plain.Losses[i], recorded.Losses[i], 1e-4 * plain.Losses[i]);

        static (List<double> Losses, int Replays) Run(Backend backend)
        {
            using SequenceClassifier model = TinyEncoder.Create(backend, 2, 2);
            Attach(model, "lora", 0);
            List<ClassificationRow> rows = Rows(2);
            ClassificationTask task = new(model, rows, rows[..5]);
            using LoraTrainer trainer = new(task, new TrainingOptions { BatchSize = Batch, MaxSteps = Steps, LearningRate = 1e-3, Shuffle = false });
            List<double> losses = [];
            for (int s = 0; s < Steps; s++)
            {
                losses.Add(trainer.Step().Loss);
                losses.Add(trainer.EvaluateHeldOut().Loss);
            }
            return (losses, task.ReplayedBatches);
        }
    }

    private static (List<double> Values, int Replays) Train(SequenceClassifier model, string method, int labels, double dropout, int accumulation) =>
        Train(model, method, Rows(labels), dropout, accumulation);

    private static (List<double> Values, int Replays) Train(SequenceClassifier model, string method, List<ClassificationRow> rows, double dropout, int accumulation)
    {
        Attach(model, method, dropout);
        ClassificationTask task = new(model, rows);
        // A low rate: AdamW would make different steps of gradients that are 0 but for rounding.
        using LoraTrainer trainer = new(task, new TrainingOptions { BatchSize = Batch, GradientAccumulation = accumulation, MaxSteps = Steps, LearningRate = 1e-4, Shuffle = false });
        List<double> values = [];
        for (int s = 0; s < Steps; s++)
        {
            StepResult step = trainer.Step();
            values.Add(step.Loss);
            values.Add(step.GradientNorm);
        }
        return (values, task.ReplayedBatches);
    }

    private static void Attach(SequenceClassifier model, string method, double dropout)
    {
        if (method == "full")
        {
            model.Attach(AdapterBuilder.CreateFull(model));
            return;
        }
        ModuleSelector targets = method == "lora" ? ModuleSelector.Of("query", "value") : ModuleSelector.Of();
        IReadOnlyList<string> head = model.Options.Head == ClassificationHead.Pooler ? ["pooler.dense"] : [];
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = 4, Alpha = 8, Dropout = dropout, ModulesToSave = [.. head, "classifier"], TargetModules = targets }, seed: 3);
        Random random = new(3);
        foreach (Parameter p in adapter.Parameters.Where(p => p.Kind == ParameterKind.LoraB))
            p.FromFile([.. Enumerable.Range(0, (int)p.Count).Select(_ => (float)(random.NextDouble() - 0.5))]);
    }

    /// <summary>Rows of two to seven tokens without token 0; an odd number, so that every epoch ends with a smaller batch.</summary>
    private static List<ClassificationRow> Rows(int labels)
    {
        Random random = new(11);
        List<ClassificationRow> rows = [];
        for (int r = 0; r < 13; r++)
        {
            int[] ids = [.. Enumerable.Range(0, random.Next(2, 8)).Select(_ => random.Next(3, TinyEncoder.Vocabulary))];
            rows.Add(new ClassificationRow(ids, null, null, labels == 1 ? 5 * random.NextDouble() : random.Next(labels)));
        }
        return rows;
    }
}
