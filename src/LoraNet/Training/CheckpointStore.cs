using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Training;

/// <summary>
/// Checkpoints <c>checkpoint-N</c> in an output folder: adapter_config.json and adapter_model.safetensors as PEFT reads them,
/// optimizer.safetensors with both moments, training_state.json. Each is written aside and renamed, so that a folder of that
/// name is always complete, and a run resumed from it is bit-identical to an unbroken one.
/// </summary>
public sealed class CheckpointStore
{
    private const string FolderPrefix = "checkpoint-";
    private const string StateFile = "training_state.json";
    private const string OptimizerFile = "optimizer.safetensors";
    private readonly int _limit;

    /// <summary>Uses an output folder.</summary>
    /// <param name="directory">The run's output folder.</param>
    /// <param name="limit">Keep the newest so many checkpoints and the best one; 0 keeps all.</param>
    public CheckpointStore(string directory, int limit = 0) => (Directory, _limit) = (directory, limit);

    /// <summary>The run's output folder.</summary>
    public string Directory { get; }

    /// <summary>Steps of the complete checkpoints, ascending.</summary>
    public IReadOnlyList<int> Steps
    {
        get
        {
            List<int> steps = [];
            if (!System.IO.Directory.Exists(Directory)) return steps;
            foreach (string folder in System.IO.Directory.EnumerateDirectories(Directory, FolderPrefix + "*"))
            {
                string number = Path.GetFileName(folder)[FolderPrefix.Length..];
                if (int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int step) && File.Exists(Path.Combine(folder, StateFile))) steps.Add(step);
            }
            steps.Sort();
            return steps;
        }
    }

    /// <summary>The folder of a step's checkpoint.</summary>
    public string Folder(int step) => Path.Combine(Directory, FolderPrefix + step.ToString(CultureInfo.InvariantCulture));

    /// <summary>Writes the trainer's state.</summary>
    public void Save(LoraTrainer trainer)
    {
        string folder = Folder(trainer.State.CompletedSteps);
        if (File.Exists(Path.Combine(folder, StateFile))) return;
        using (AtomicDirectory output = AtomicDirectory.Begin(folder))
        {
            AdapterFile.Save(output.TemporaryPath, trainer.Model, ActiveAdapter(trainer));
            SafetensorsWriter.Write(Path.Combine(output.TemporaryPath, OptimizerFile), Moments(trainer));
            AtomicFile.WriteAllText(Path.Combine(output.TemporaryPath, StateFile), ToJson(trainer).ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
            output.Commit();
        }
        Prune(trainer.State);
    }

    /// <summary>Restores the newest complete checkpoint into a trainer built with the same model, data and settings.</summary>
    /// <returns>The step it stands at, or null when there is no checkpoint.</returns>
    /// <exception cref="LoraNetException">The checkpoint was made with other settings or data, or is damaged.</exception>
    public int? TryLoadNewest(LoraTrainer trainer)
    {
        IReadOnlyList<int> steps = Steps;
        if (steps.Count == 0) return null;
        string folder = Folder(steps[^1]);
        string path = Path.Combine(folder, StateFile);
        JsonObject json = JsonFile.ParseObject(path);
        JsonObject expected = Fingerprint(trainer);
        foreach ((string key, JsonNode? value) in expected)
        {
            string now = value?.ToJsonString() ?? "null", then = json["settings"]?[key]?.ToJsonString() ?? "null";
            if (now != then) throw new LoraNetException($"{path}: the checkpoint was made with {key} {then}, this run has {now}.", "Resume with the same settings and data, or start in another output folder.");
        }
        AdapterFile.ReadInto(folder, ActiveAdapter(trainer));
        ReadMoments(Path.Combine(folder, OptimizerFile), trainer);
        trainer.State = new TrainerState
        {
            CompletedSteps = json["completed_steps"]!.GetValue<int>(),
            Updates = json["updates"]!.GetValue<int>(),
            SkippedInARow = json["skipped_in_a_row"]!.GetValue<int>(),
            BestEvalLoss = json["best_eval_loss"]?.GetValue<double>(),
            BestStep = json["best_step"]!.GetValue<int>(),
            EvaluationsWithoutImprovement = json["evaluations_without_improvement"]!.GetValue<int>(),
            Stopped = json["stopped"]!.GetValue<bool>(),
        };
        return trainer.State.CompletedSteps;
    }

    private static LoraAdapter ActiveAdapter(LoraTrainer trainer) => trainer.Model.ActiveAdapters.Count == 1
        ? trainer.Model.Adapters[trainer.Model.ActiveAdapters[0]]
        : throw new LoraNetException($"A checkpoint holds one adapter, but {trainer.Model.ActiveAdapters.Count} are trained.", "Train them one after another, or save each with AdapterFile.Save when the run is over.");

    private static JsonObject ToJson(LoraTrainer trainer)
    {
        TrainerState state = trainer.State;
        return new JsonObject
        {
            ["completed_steps"] = state.CompletedSteps,
            ["updates"] = state.Updates,
            ["skipped_in_a_row"] = state.SkippedInARow,
            ["best_eval_loss"] = state.BestEvalLoss,
            ["best_step"] = state.BestStep,
            ["evaluations_without_improvement"] = state.EvaluationsWithoutImprovement,
            ["stopped"] = state.Stopped,
            ["settings"] = Fingerprint(trainer),
        };
    }

    /// <summary>What must be equal for a resumed run to be the same run.</summary>
    private static JsonObject Fingerprint(LoraTrainer trainer)
    {
        TrainingOptions o = trainer.Options;
        JsonObject settings = new()
        {
            ["seed"] = o.Seed.ToString(CultureInfo.InvariantCulture),
            ["rows"] = trainer.Order.Count,
            ["batch_size"] = o.BatchSize,
            ["gradient_accumulation"] = o.GradientAccumulation,
            ["shuffle"] = o.Shuffle,
            ["total_steps"] = trainer.TotalSteps,
            ["schedule"] = o.Schedule.ToString(),
            ["learning_rate"] = o.LearningRate,
            ["warmup_steps"] = trainer.Schedule.WarmupSteps,
            ["weight_decay"] = o.WeightDecay,
            ["adam"] = new JsonArray(o.AdamBeta1, o.AdamBeta2, o.AdamEpsilon),
            ["max_grad_norm"] = o.MaxGradNorm,
            ["lora_plus_ratio"] = o.LoraPlusRatio,
            ["data"] = trainer.DataHash,
        };
        // Left out where it is off, as in checkpoints of earlier versions.
        if (o.LoraFa) settings["lora_fa"] = true;
        return settings;
    }

    private static IEnumerable<SafetensorsEntry> Moments(LoraTrainer trainer)
    {
        Optimizer optimizer = trainer.Optimizer;
        for (int i = 0; i < optimizer.Parameters.Count; i++)
        {
            (Tensor first, Tensor second) = optimizer.Moments(i);
            string name = optimizer.Parameters[i].Name;
            yield return SafetensorsEntry.FromSingles("first." + name, first.Backend.Download(first), first.GetShape());
            yield return SafetensorsEntry.FromSingles("second." + name, second.Backend.Download(second), second.GetShape());
        }
        foreach (SafetensorsEntry entry in trainer.Allocator?.State() ?? []) yield return entry;
    }

    private static void ReadMoments(string path, LoraTrainer trainer)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Optimizer optimizer = trainer.Optimizer;
        for (int i = 0; i < optimizer.Parameters.Count; i++)
        {
            (Tensor first, Tensor second) = optimizer.Moments(i);
            Restore("first." + optimizer.Parameters[i].Name, first);
            Restore("second." + optimizer.Parameters[i].Name, second);
        }
        trainer.Allocator?.Restore(file);

        void Restore(string name, Tensor moment)
        {
            if (!file.Tensors.TryGetValue(name, out HostTensor? stored) || stored.Count != moment.Count)
                throw new LoraNetException($"{path}: moment '{name}' is missing or has another size.", "The checkpoint belongs to another adapter configuration.");
            moment.Backend.Upload(stored.ToArray(), moment);
        }
    }

    private void Prune(TrainerState state)
    {
        if (_limit <= 0) return;
        IReadOnlyList<int> steps = Steps;
        foreach (int step in steps.Take(Math.Max(0, steps.Count - _limit)))
        {
            if (step == state.BestStep) continue;
            // The state file goes first: without it a half-deleted folder is not taken for a checkpoint.
            File.Delete(Path.Combine(Folder(step), StateFile));
            System.IO.Directory.Delete(Folder(step), recursive: true);
        }
    }
}
