using System.Globalization;
using System.Runtime.InteropServices;
using LoraNet.Cli.Output;
using LoraNet.Cli.Settings;
using LoraNet.Reports;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>Turns a finished run into report.html.</summary>
internal static class ReportBuilder
{
    /// <summary>Writes the report.</summary>
    public static void Write(string path, RunFacts facts, SettingValues values, RunHistory history, IReadOnlyList<string> notes)
    {
        TrainingOptions options = facts.Options;
        StepResult? last = history.Steps.Count > 0 ? history.Steps[^1] : null;
        EvalPoint? eval = history.Evaluations.Count > 0 ? history.Evaluations[^1] : null;
        List<(string, string)> figures = [];
        if (last is not null) figures.Add(("training loss, first to last", $"{Short(history.Steps[0].Loss)} → {Short(last.Loss)}"));
        if (eval is not null) figures.Add(("held-out loss", facts.EvalBefore is { } before ? $"{Short(before)} → {Short(eval.Loss)}" : Short(eval.Loss)));
        if (eval is not null && facts.Task is LanguageModelRun) figures.Add(("held-out perplexity", Math.Exp(eval.Loss).ToString("0.##", CultureInfo.InvariantCulture)));
        foreach ((string name, double value) in facts.Measured) figures.Add(($"held-out {name.Replace('_', ' ')}", value.ToString("0.000", CultureInfo.InvariantCulture)));
        figures.Add(("steps", $"{facts.Trainer.State.CompletedSteps} of {facts.Trainer.TotalSteps}"));
        figures.Add(("trained parameters", Format.Short(facts.Adapter.ParameterCount)));
        if (history.Steps.Count > 0) figures.Add(("tokens per second, median", Format.Short(Median(history.Steps.Select(s => s.TokensPerSecond)))));
        if (facts.Merge is { } merge) figures.Add(("largest logit difference when merged", Format.Small(merge.Difference)));

        RunReport report = new()
        {
            Title = $"Fine-tuning of {(values.Origin("model") == "demo" ? "the demo's model" : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(facts.ModelFolder))))}",
            Summary = $"LoraNet {CommandLine.Version}, {DateTime.UtcNow.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture)} UTC, {Format.Duration(facts.Seconds)} of training"
                + (facts.Interrupted ? "; the run was interrupted." : facts.Trainer.State.Stopped ? "; stopped early." : "."),
            Figures = figures,
            History = WithStart(history, facts.EvalBefore),
            Samples = facts.Samples,
            Notes = notes,
            Sections = [AdapterSection(facts, values), TrainingSection(facts, values, options), DataSection(facts), HardwareSection(facts, history)],
        };
        HtmlReport.Write(path, report);
    }

    // The curve of the held-out loss starts at the untrained model.
    private static RunHistory WithStart(RunHistory history, double? evalBefore)
    {
        if (evalBefore is not { } loss) return history;
        RunHistory result = new();
        foreach (StepResult step in history.Steps) result.Add(step);
        result.Add(new EvalPoint(0, 0, loss));
        foreach (EvalPoint evaluation in history.Evaluations) result.Add(evaluation);
        return result;
    }

    private static ReportSection AdapterSection(RunFacts facts, SettingValues values)
    {
        Lora.LoraConfig config = facts.Adapter.Config;
        List<(string, string, string?)> rows = [("base model", facts.ModelFolder, null), ("family", facts.Model.Config.ModelType, null), ("base parameters", Format.Count(facts.Model.BaseParameterCount), null)];
        if (values.Switch("full"))
        {
            rows.Add(("trained", "every weight", null));
            return new ReportSection("Model", rows);
        }
        rows.Add(("trained parameters", $"{Format.Count(facts.Adapter.ParameterCount)} ({Format.Percent(facts.Adapter.ParameterCount / (double)(facts.Model.BaseParameterCount + facts.Adapter.ParameterCount))} of base and adapter)", null));
        rows.Add(("rank, alpha", $"{config.Rank}, {Format.Exact(config.Alpha)}", Origin(values, "rank")));
        rows.Add(("scaling", config.UseRsLora ? "alpha / √r (rsLoRA)" : "alpha / r", null));
        rows.Add(("dropout", Format.Exact(config.Dropout), Origin(values, "dropout")));
        rows.Add(("target modules", config.TargetModules?.ToString().Replace(",", ", ") ?? "", Origin(values, "target-modules")));
        rows.Add(("adapted modules", Format.Count(facts.Adapter.Layers.Count + facts.Adapter.Parts.Count(p => p.ModulePath.Length > 0)), null));
        if (config.UseDora) rows.Add(("DoRA", "yes", null));
        if (config.Bias != Lora.BiasTraining.None) rows.Add(("biases", config.Bias.ToString(), null));
        if (config.ModulesToSave.Count > 0) rows.Add(("trained whole", string.Join(", ", config.ModulesToSave), null));
        return new ReportSection("Model and adapter", rows);
    }

    private static ReportSection TrainingSection(RunFacts facts, SettingValues values, TrainingOptions options) => new("Training",
    [
        ("batch", $"{options.BatchSize} rows × {options.GradientAccumulation} accumulated", Origin(values, "batch-size")),
        ("length", options.MaxSteps is { } steps ? $"{steps} steps" : $"{Format.Exact(options.Epochs)} epochs = {facts.Trainer.TotalSteps} steps", null),
        ("optimizer", $"AdamW, β {Format.Exact(options.AdamBeta1)}, {Format.Exact(options.AdamBeta2)}, ε {Format.Exact(options.AdamEpsilon)}, decay {Format.Exact(options.WeightDecay)}", null),
        ("learning rate", $"{Format.Exact(options.LearningRate)}, {options.Schedule}, {facts.Trainer.Schedule.WarmupSteps} warm-up steps", Origin(values, "learning-rate")),
        ("gradient clipping", options.MaxGradNorm == 0 ? "none" : $"norm {Format.Exact(options.MaxGradNorm)}", null),
        ("LoRA+ ratio", Format.Exact(options.LoraPlusRatio), null),
        ("seed", options.Seed.ToString(CultureInfo.InvariantCulture), options.Shuffle ? "rows shuffled every epoch" : "rows in file order"),
    ]);

    private static ReportSection DataSection(RunFacts facts)
    {
        RunData data = facts.Task.Data;
        List<(string, string, string?)> rows =
        [
            ("training rows", Format.Count(data.Rows), data.Batches < data.Rows ? $"packed into {Format.Count(data.Batches)}" : null),
            ("tokens", Format.Count(data.Tokens), null),
            ($"trained {facts.Task.Unit}", facts.Task is LanguageModelRun ? $"{Format.Count(data.Trained)} ({Format.Percent(data.Trained / (double)Math.Max(1, data.Tokens))})" : Format.Count(data.Trained), null),
            ("longest row", Format.Count(data.Longest), null),
            ("rows cut to length", Format.Count(data.Truncated), null),
        ];
        if (data.Held > 0) rows.Add(("held-out rows", Format.Count(data.Held), $"{Format.Count(data.HeldTrained)} trained {facts.Task.Unit}"));
        return new ReportSection("Data", rows);
    }

    private static ReportSection HardwareSection(RunFacts facts, RunHistory history)
    {
        List<(string, string, string?)> rows =
        [
            ("device", facts.Backend.Name, null),
            ("system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}", null),
            ("processors", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture), null),
            ("peak memory", Format.Bytes(System.Diagnostics.Process.GetCurrentProcess().PeakWorkingSet64), facts.Backend.IsHost ? "of the process" : $"device: {Format.Bytes(facts.Backend.PeakBytes)}"),
        ];
        if (facts.FirstStepMilliseconds is { } first) rows.Add(("first step done after", Format.Duration(first / 1000), null));
        if (history.Steps.Count > 0) rows.Add(("step, median", Median(history.Steps.Select(s => s.Milliseconds)).ToString("0.0", CultureInfo.InvariantCulture) + " ms", null));
        if (facts.Merge is { } merge) rows.Add(("merged model", $"logits differ by at most {Format.Small(merge.Difference)}", $"largest logit {merge.Largest.ToString("0.0", CultureInfo.InvariantCulture)}"));
        return new ReportSection("Hardware and checks", rows);
    }

    private static string? Origin(SettingValues values, string name) => values.Origin(name) is { } origin && origin != "default" ? origin[(origin.LastIndexOfAny(['/', '\\']) + 1)..] : null;

    private static string Short(double loss) => loss.ToString("0.000", CultureInfo.InvariantCulture);

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Where(double.IsFinite).Order()];
        return sorted.Length == 0 ? 0 : sorted[sorted.Length / 2];
    }
}
