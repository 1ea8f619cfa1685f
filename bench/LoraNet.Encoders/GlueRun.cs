using System.Diagnostics;
using System.Globalization;
using LoraNet;
using LoraNet.Cuda;
using LoraNet.Data;
using LoraNet.Lora;
using LoraNet.Metrics;
using LoraNet.Models.Encoders;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tokenizers;
using LoraNet.Training;

/// <summary>One run on one GLUE task: LoRA, full fine-tuning, or the new head alone (a linear probe of the frozen encoder).</summary>
internal static class GlueRun
{
    private const int Longest = 128;

    private sealed record Settings
    {
        public int Rows { get; init; } = int.MaxValue;
        public int EvalRows { get; init; } = int.MaxValue;
        public double Epochs { get; init; } = 3;
        public int BatchSize { get; init; } = 16;
        public double? LearningRate { get; init; }
        public ulong Seed { get; init; } = 1;
        public bool Cuda { get; init; }
    }

    public static void Run(string model, string data, string task, string method, string[] options)
    {
        Settings settings = Parse(options);
        using Backend backend = settings.Cuda ? CudaBackend.Create() : new CpuBackend();
        // STS-B has scores of 0 to 5, the others two classes.
        using SequenceClassifier classifier = SequenceClassifier.Load(model, backend, task == "stsb" ? ["score"] : ["0", "1"], settings.Seed);
        Tokenizer tokenizer = Tokenizer.Load(model);
        List<ClassificationRow> train = GlueFiles.Read(data, task, "train", tokenizer, Longest), held = GlueFiles.Read(data, task, "dev", tokenizer, Longest);
        train = Draw(train, settings.Rows, settings.Seed);
        // Always the same development rows, so that methods and seeds compare.
        held = Draw(held, settings.EvalRows, 0);
        double rate = settings.LearningRate ?? method switch { "lora" => 1e-3, "full" => 5e-5, _ => 2e-3 };
        LoraAdapter adapter = method switch
        {
            "lora" => classifier.AddAdapter(new LoraConfig { Rank = 8, Alpha = 16, Dropout = 0.05, TargetModules = ModuleSelector.Of("query", "value") }, seed: settings.Seed),
            "probe" => classifier.AddAdapter(new LoraConfig { TargetModules = ModuleSelector.Of() }, seed: settings.Seed),
            "full" => classifier.Attach(AdapterBuilder.CreateFull(classifier)),
            _ => throw new LoraNetException($"Unknown method '{method}'.", "Use lora, full or probe."),
        };
        TrainingOptions training = new() { BatchSize = settings.BatchSize, Epochs = settings.Epochs, LearningRate = rate, WeightDecay = 0.01, WarmupRatio = 0.06, Seed = settings.Seed };
        using LoraTrainer trainer = new(classifier, train, training);
        Stopwatch watch = Stopwatch.StartNew();
        while (trainer.State.CompletedSteps < trainer.TotalSteps) trainer.Step();
        double seconds = watch.Elapsed.TotalSeconds;
        ClassificationResult result = Evaluator.Evaluate(classifier, held, 32);
        string scores = string.Join(", ", GlueMetrics.Compute(task, result).Select(m => string.Create(CultureInfo.InvariantCulture, $"{m.Name} {100 * m.Value:0.0}")));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {task} | {method} | {adapter.ParameterCount:N0} | {train.Count:N0} | {settings.Epochs:0.##} | {trainer.TotalSteps} × {settings.BatchSize} | {rate:0.#e-0} | {settings.Seed} | {scores} | {held.Count:N0} | {seconds:0} s |"));
    }

    private static List<ClassificationRow> Draw(List<ClassificationRow> rows, int count, ulong seed) =>
        count >= rows.Count ? rows : [.. new RowOrder(rows.Count, rows.Count, seed, shuffle: true).Rows(0)[..count].ToArray().Select(i => rows[i])];

    private static Settings Parse(string[] options)
    {
        Settings settings = new();
        if (options.Length % 2 != 0) throw new LoraNetException($"{options[^1]} has no value.");
        for (int i = 0; i < options.Length; i += 2)
        {
            if (options[i] == "--device")
            {
                if (options[i + 1] is not ("cpu" or "cuda")) throw new LoraNetException($"--device is '{options[i + 1]}'.", "Use cpu or cuda.");
                settings = settings with { Cuda = options[i + 1] == "cuda" };
                continue;
            }
            if (!double.TryParse(options[i + 1], NumberStyles.Float, CultureInfo.InvariantCulture, out double number) || !(number > 0)) throw new LoraNetException($"{options[i]} '{options[i + 1]}' is not a positive number.");
            settings = options[i] switch
            {
                "--rows" => settings with { Rows = (int)number },
                "--eval-rows" => settings with { EvalRows = (int)number },
                "--epochs" => settings with { Epochs = number },
                "--batch-size" => settings with { BatchSize = (int)number },
                "--lr" => settings with { LearningRate = number },
                "--seed" => settings with { Seed = (ulong)number },
                _ => throw new LoraNetException($"Unknown option '{options[i]}'."),
            };
        }
        return settings;
    }
}
