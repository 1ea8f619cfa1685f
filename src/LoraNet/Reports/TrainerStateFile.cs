using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Training;

namespace LoraNet.Reports;

/// <summary>trainer_state.json with the keys of Hugging Face's Trainer, so that its plotters read our runs.</summary>
public static class TrainerStateFile
{
    /// <summary>Writes the file.</summary>
    /// <param name="path">The target.</param>
    /// <param name="history">Steps and evaluations so far.</param>
    /// <param name="options">Settings of the run.</param>
    /// <param name="totalSteps">Length of the whole run.</param>
    /// <param name="loggingSteps">A step in so many gets an entry.</param>
    /// <param name="seconds">Time spent training, or null while it goes on.</param>
    /// <param name="bestCheckpoint">Folder of the best checkpoint, or null.</param>
    public static void Write(string path, RunHistory history, TrainingOptions options, int totalSteps, int loggingSteps = 1, double? seconds = null, string? bestCheckpoint = null)
    {
        JsonArray log = [];
        int e = 0;
        foreach (StepResult step in history.Steps)
        {
            while (e < history.Evaluations.Count && history.Evaluations[e].Step < step.Step) log.Add(Entry(history.Evaluations[e++]));
            if (loggingSteps <= 1 || step.Step % loggingSteps == 0 || step.Step == totalSteps) log.Add(Entry(step));
        }
        while (e < history.Evaluations.Count) log.Add(Entry(history.Evaluations[e++]));
        StepResult? last = history.Steps.Count > 0 ? history.Steps[^1] : null;
        if (seconds is { } time && last is not null)
        {
            log.Add((JsonNode)new JsonObject
            {
                ["epoch"] = Number(last.Epoch),
                ["step"] = last.Step,
                ["train_loss"] = Number(history.Steps.Average(s => s.Loss)),
                ["train_runtime"] = Number(time),
                ["train_samples_per_second"] = Number(history.Steps.Count * (double)options.BatchSize * options.GradientAccumulation / time),
                ["train_steps_per_second"] = Number(history.Steps.Count / time),
            });
        }
        JsonObject state = new()
        {
            ["best_global_step"] = history.Best?.Step,
            ["best_metric"] = Number(history.Best?.Loss),
            ["best_model_checkpoint"] = bestCheckpoint,
            ["epoch"] = Number(last?.Epoch ?? 0),
            ["eval_steps"] = options.EvalSteps,
            ["global_step"] = last?.Step ?? 0,
            ["is_hyper_param_search"] = false,
            ["is_local_process_zero"] = true,
            ["is_world_process_zero"] = true,
            ["log_history"] = log,
            ["logging_steps"] = loggingSteps,
            ["max_steps"] = totalSteps,
            ["num_train_epochs"] = Number(options.Epochs),
            ["save_steps"] = options.SaveSteps,
            ["train_batch_size"] = options.BatchSize,
        };
        AtomicFile.Write(path, stream =>
        {
            using Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true });
            state.WriteTo(json);
        });
    }

    private static JsonNode Entry(StepResult step) => new JsonObject
    {
        ["epoch"] = Number(step.Epoch),
        ["grad_norm"] = Number(step.GradientNorm),
        ["learning_rate"] = Number(step.LearningRate),
        ["loss"] = Number(step.Loss),
        ["step"] = step.Step,
    };

    private static JsonNode Entry(EvalPoint evaluation) => new JsonObject
    {
        ["epoch"] = Number(evaluation.Epoch),
        ["eval_loss"] = Number(evaluation.Loss),
        ["step"] = evaluation.Step,
    };

    private static JsonValue? Number(double? value) => value is { } v && double.IsFinite(v) ? JsonValue.Create(v) : null;
}
