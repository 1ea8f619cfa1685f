using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Data;
using LoraNet.Lora;
using LoraNet.Metrics;
using LoraNet.Models.Encoders;
using LoraNet.Paper.Running;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Paper.Experiments;

/// <summary>How one run on a GLUE task is done.</summary>
internal sealed record GlueSettings(string Task, Method Method, ulong Seed)
{
    public double LearningRate { get; init; }
    public double Epochs { get; init; } = 1;
    public int BatchSize { get; init; } = 32;

    /// <summary>Training rows drawn from the task's.</summary>
    public int Rows { get; init; } = int.MaxValue;
}

/// <summary>
/// GLUE with a real encoder (the paper's table 2): LoRA, full fine-tuning, and the head alone. As in the paper's RoBERTa, the
/// head is two layers, both trained by every method: here BERT's pooler and the new classifier.
/// </summary>
internal static class GlueExperiment
{
    /// <summary>Longest row in tokens.</summary>
    private const int Longest = 128;

    public static readonly IReadOnlyList<string> Head = ["pooler.dense", "classifier"];

    private static readonly ConcurrentDictionary<string, Lazy<(List<ClassificationRow> Train, List<ClassificationRow> Held)>> _data = [];

    /// <summary>Trains, scores the development set, and emits one result.</summary>
    public static void Run(JobContext context, string experiment, GlueSettings glue, Action<SequenceClassifier, LoraAdapter>? trained = null)
    {
        RunSettings settings = context.Settings;
        Backend backend = context.Backends.Current;
        // STS-B has scores of 0 to 5, the others two classes.
        using SequenceClassifier model = SequenceClassifier.Load(settings.Encoder, backend, glue.Task == "stsb" ? ["score"] : ["0", "1"], glue.Seed);
        (List<ClassificationRow> train, List<ClassificationRow> held) = Read(settings, glue.Task);
        train = Drawing.Draw(train, settings.Rows(glue.Rows), glue.Seed);
        // Always the same development rows, so that methods and seeds compare.
        held = Drawing.Draw(held, settings.Rows(int.MaxValue), 0);
        LoraAdapter adapter = glue.Method.Attach(model, Head, glue.Seed);
        ClassificationTask task = new(model, train);
        using LoraTrainer trainer = new(task, new TrainingOptions
        {
            BatchSize = glue.BatchSize,
            Epochs = glue.Epochs,
            MaxSteps = settings.Quick ? 2 : null,
            LearningRate = glue.LearningRate,
            WeightDecay = 0.01,
            WarmupRatio = 0.06,
            Seed = glue.Seed,
        });
        Stopwatch watch = Stopwatch.StartNew();
        double first = 0, last = 0;
        int skipped = 0, window = Math.Max(1, trainer.TotalSteps / 20);
        while (trainer.State.CompletedSteps < trainer.TotalSteps)
        {
            StepResult step = trainer.Step();
            if (!step.Applied) skipped++;
            if (step.Step <= window) first += step.Loss / window;
            if (step.Step > trainer.TotalSteps - window) last += step.Loss / window;
        }
        double seconds = watch.Elapsed.TotalSeconds;
        ClassificationResult result = Evaluator.Evaluate(model, held, backend.IsHost ? 64 : 256);
        JsonObject scores = [];
        foreach (MetricValue score in GlueMetrics.Compute(glue.Task, result)) scores[score.Name] = score.Value;
        context.Emit(new JsonObject
        {
            ["experiment"] = experiment,
            ["task"] = glue.Task,
            ["method"] = glue.Method.Name,
            ["rank"] = glue.Method.Rank,
            ["alpha"] = glue.Method.Alpha,
            ["dropout"] = glue.Method.Dropout,
            ["targets"] = string.Join(",", glue.Method.Targets),
            ["seed"] = glue.Seed,
            ["learning_rate"] = glue.LearningRate,
            ["batch"] = glue.BatchSize,
            ["epochs"] = glue.Epochs,
            ["steps"] = trainer.TotalSteps,
            ["skipped"] = skipped,
            ["rows"] = train.Count,
            ["held_rows"] = held.Count,
            ["trained"] = adapter.ParameterCount,
            ["lora_values"] = adapter.Layers.Values.Sum(l => l.A.Count + l.B.Count),
            ["parameters"] = model.BaseParameterCount,
            ["first_loss"] = first,
            ["last_loss"] = last,
            ["held_loss"] = result.Loss,
            ["scores"] = scores,
            ["seconds"] = seconds,
            ["replayed"] = task.ReplayedBatches,
        });
        trained?.Invoke(model, adapter);
    }

    // A worker's jobs read the same files again and again.
    private static (List<ClassificationRow> Train, List<ClassificationRow> Held) Read(RunSettings settings, string task) => _data.GetOrAdd(task, name => new(() =>
    {
        Tokenizer tokenizer = Tokenizer.Load(settings.Encoder);
        string folder = Path.Combine(settings.Data, "glue");
        return (GlueFiles.Read(folder, name, "train", tokenizer, Longest), GlueFiles.Read(folder, name, "dev", tokenizer, Longest));
    })).Value;
}
