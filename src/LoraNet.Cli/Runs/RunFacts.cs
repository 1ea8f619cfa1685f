using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Reports;
using LoraNet.Tensors;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>What is known at the end of a run.</summary>
internal sealed record RunFacts(
    string ModelFolder, RunTask Task, LoraAdapter Adapter, LoraTrainer Trainer, TrainingOptions Options,
    double Seconds, double? FirstStepMilliseconds, double? EvalBefore, (double Difference, double Largest)? Merge, IReadOnlyList<ReportSample> Samples,
    IReadOnlyList<(string Name, double Value)> Measured, bool Interrupted, Backend Backend)
{
    /// <summary>The trained model.</summary>
    public PretrainedModel Model => Task.Model;

    /// <summary>The object that <c>train --json</c> prints.</summary>
    public JsonObject ToJson(string output, RunHistory history)
    {
        EvalPoint? eval = history.Evaluations.Count > 0 ? history.Evaluations[^1] : null;
        JsonObject result = new()
        {
            ["output"] = output,
            ["steps"] = Trainer.State.CompletedSteps,
            ["total_steps"] = Trainer.TotalSteps,
            ["loss_first"] = Number(history.Steps.Count > 0 ? history.Steps[0].Loss : null),
            ["loss_last"] = Number(history.Steps.Count > 0 ? history.Steps[^1].Loss : null),
            ["eval_loss_before"] = Number(EvalBefore),
            ["eval_loss"] = Number(eval?.Loss),
            ["best_step"] = Trainer.State.BestStep > 0 ? Trainer.State.BestStep : null,
            ["trainable_parameters"] = Adapter.ParameterCount,
            ["parameters"] = Model.BaseParameterCount,
            ["trained_" + Task.Unit] = history.Steps.Sum(s => (long)s.Tokens),
            ["seconds"] = Number(Seconds),
            ["time_to_first_step_ms"] = Number(FirstStepMilliseconds),
            ["merged_logit_difference"] = Number(Merge?.Difference),
            ["stopped_early"] = Trainer.State.Stopped,
            ["interrupted"] = Interrupted,
            ["device"] = Backend.Name,
        };
        foreach ((string name, double value) in Measured) result["eval_" + name] = Number(value);
        return result;
    }

    private static JsonValue? Number(double? value) => value is { } v && double.IsFinite(v) ? JsonValue.Create(v) : null;
}
