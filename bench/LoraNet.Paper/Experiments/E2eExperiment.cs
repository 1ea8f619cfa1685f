using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Generation;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Paper.Running;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Paper.Experiments;

/// <summary>How one run on E2E NLG is done.</summary>
internal sealed record E2eSettings(Method Method, ulong Seed)
{
    public double LearningRate { get; init; }
    public double Epochs { get; init; } = 20;
    public int BatchSize { get; init; } = 32;

    /// <summary>Optimizer steps; by the epochs when null.</summary>
    public int? Steps { get; init; }

    /// <summary>Held-out rows drawn for the loss, the same in every run.</summary>
    public int HeldRows { get; init; } = int.MaxValue;

    /// <summary>False where the held-out loss is enough.</summary>
    public bool Texts { get; init; } = true;

    /// <summary>True to start from <see cref="DomainModel"/> instead of the model of children's stories.</summary>
    public bool Domain { get; init; }
}

/// <summary>
/// E2E NLG (the paper's table 3) with a small real language model. The original training file is not at hand, so the runs train on
/// nine tenths of the validation file's meanings and are scored on the test file, with which it shares no meaning. The texts that
/// are generated are emitted, and scored when results are rendered.
/// </summary>
internal static class E2eExperiment
{
    private const int NewTokens = 90, Together = 105;

    public static void Run(JobContext context, string experiment, E2eSettings e2e, Action<CausalLM, LoraAdapter>? trained = null)
    {
        RunSettings settings = context.Settings;
        Backend backend = context.Backends.Current;
        string folder = e2e.Domain ? DomainModel.Folder(settings) : settings.LanguageModel;
        if (!Directory.Exists(folder)) return;
        using CausalLM model = CausalLM.Load(folder, backend);
        Tokenizer tokenizer = Tokenizer.Load(settings.LanguageModel);
        (List<E2eEntry> entries, List<E2eEntry> heldOut) = E2eData.Split(settings.Data);
        List<E2eEntry> test = E2eData.Read(Path.Combine(settings.Data, "e2e", "test.txt"));
        List<TokenRow> train = E2eData.Rows(tokenizer, entries), held = E2eData.Rows(tokenizer, heldOut);
        train = Drawing.Draw(train, settings.Rows(int.MaxValue), e2e.Seed);
        held = Drawing.Draw(held, settings.Rows(e2e.HeldRows), 0);
        test = Drawing.Draw(test, settings.Quick ? 3 : int.MaxValue, 0);

        JsonObject result = new() { ["experiment"] = experiment, ["base"] = e2e.Domain ? "domain" : "stories", ["method"] = e2e.Method.Name, ["seed"] = e2e.Seed };
        using Arena arena = new(backend);
        if (e2e.Method.Name == "base")
        {
            result["held_loss"] = Evaluator.Evaluate(model, held, 32, arena).Loss;
            result["parameters"] = model.BaseParameterCount;
            if (e2e.Texts) result["texts"] = Generate(model, tokenizer, test, settings);
            context.Emit(result);
            return;
        }
        LoraAdapter adapter = e2e.Method.Attach(model, [], e2e.Seed);
        using LoraTrainer trainer = new(model, train, new TrainingOptions
        {
            BatchSize = e2e.BatchSize,
            Epochs = e2e.Epochs,
            MaxSteps = settings.Quick ? 2 : e2e.Steps,
            LearningRate = e2e.LearningRate,
            WeightDecay = 0.01,
            WarmupRatio = 0.06,
            Seed = e2e.Seed,
        });
        Stopwatch watch = Stopwatch.StartNew();
        while (trainer.State.CompletedSteps < trainer.TotalSteps) trainer.Step();
        result["seconds"] = watch.Elapsed.TotalSeconds;
        result["rank"] = e2e.Method.Rank;
        result["alpha"] = e2e.Method.Alpha;
        result["targets"] = string.Join(",", e2e.Method.Targets);
        result["learning_rate"] = e2e.LearningRate;
        result["batch"] = e2e.BatchSize;
        result["epochs"] = e2e.Steps is { } steps ? steps * e2e.BatchSize / (double)train.Count : e2e.Epochs;
        result["steps"] = trainer.TotalSteps;
        result["rows"] = train.Count;
        // Two moments of 4 bytes a value; the adapter's own count has a tied matrix twice.
        result["trained"] = trainer.Optimizer.StateBytes / 8;
        result["parameters"] = model.BaseParameterCount;
        result["optimizer_bytes"] = trainer.Optimizer.StateBytes;
        result["held_rows"] = held.Count;
        result["held_loss"] = Evaluator.Evaluate(model, held, 32, arena).Loss;
        if (e2e.Texts) result["texts"] = Generate(model, tokenizer, test, settings);
        context.Emit(result);
        trained?.Invoke(model, adapter);
    }

    private static JsonArray Generate(CausalLM model, Tokenizer tokenizer, List<E2eEntry> entries, RunSettings settings)
    {
        using Generator generator = new(model);
        GenerationOptions options = new() { MaxNewTokens = settings.Steps(NewTokens), StopIds = [.. tokenizer.EndIds] };
        JsonArray texts = [];
        foreach (E2eEntry[] part in entries.Chunk(Together))
            foreach (int[] ids in generator.Generate([.. part.Select(e => E2eData.Prompt(tokenizer, e.Meaning))], options)) texts.Add(tokenizer.Decode(ids).Trim());
        return texts;
    }
}
