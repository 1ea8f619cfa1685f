using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.ChatTemplates;
using LoraNet.Cli.Output;
using LoraNet.Cli.Settings;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Reports;
using LoraNet.Tensors;
using LoraNet.Tokenizers;
using LoraNet.Training;

namespace LoraNet.Cli.Runs;

/// <summary>
/// One run of <c>train</c>, top to bottom: check everything, train, write the adapter and the report. Nothing is written before
/// all inputs are known to be good.
/// </summary>
internal sealed class TrainJob(SettingValues values, Terminal terminal, CommandHost host)
{
    // Merging keeps a second copy of the changed weights in memory for the check at the end.
    private const long LargestMergeCheck = 400_000_000;
    private readonly List<string> _notes = [];
    private readonly RunHistory _history = new();
    // What the adapter was asked for, where data decided its ranks: a resumed run finds the same ones again.
    private LoraConfig? _asked;

    /// <summary>Runs it.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync()
    {
        Stopwatch clock = Stopwatch.StartNew();
        string modelFolder = values.Required("model"), output = values.Required("output");
        values.Required("data");
        OutputFolder.Check(output, modelFolder);
        TrainingOptions options = SettingReaders.ReadTraining(values);
        Backend device = BackendFactory.Create(values, host);
        RunProfile? profile = RunProfile.Attach(values.Switch("profile"), ref device);
        using Backend backend = device;
        ModelFolder.Check(modelFolder);
        Tokenizer? tokenizer = ModelFolder.Tokenizer(modelFolder);
        using RunTask task = RunTask.Open(values, backend, tokenizer, options, host.Stop);
        PretrainedModel model = task.Model;
        foreach (string warning in task.Warnings) Note(warning);
        int maxLength = DataReading.MaxLength(values, model.Config);
        if (maxLength > model.Config.MaxPositionEmbeddings) Note($"--max-length {maxLength} is beyond the {model.Config.MaxPositionEmbeddings} positions the model was made for.");
        LoraAdapter adapter = CreateAdapter(task);
        using LoraTrainer trainer = new(task.Task, options);
        int logSteps = values.Integer("log-steps") ?? Math.Max(1, trainer.TotalSteps / 40);
        if (logSteps < 1) throw values.Error("log-steps", "--log-steps must be at least 1.");

        OutputFolder.Prepare(output, adapter.ParameterCount * sizeof(float));
        CheckpointStore store = new(output, options.SaveTotalLimit);
        bool resumed = Resume(store, trainer);
        WriteRecipe(output, adapter, maxLength, logSteps);
        using MetricsLog metrics = resumed ? MetricsLog.Resume(Path.Combine(output, "metrics.jsonl"), trainer.State.CompletedSteps, _history) : MetricsLog.Create(Path.Combine(output, "metrics.jsonl"));
        ShowHeader(task, adapter, trainer, resumed);

        Samples? samples = task.CreateSamples();
        if (tokenizer is null) Note("The model folder has no tokenizer: tokenizer files and samples are left out.");
        (double? evalBefore, IReadOnlyList<string> before) = MeasureBase(task, trainer, samples, resumed);

        double? firstStep = null;
        ProgressLines progress = new(terminal, trainer.TotalSteps, logSteps, task.Describe, () => backend.IsHost ? Environment.WorkingSet : backend.PeakBytes);
        // Metrics are written when a step is done, before its checkpoint, so that a checkpoint never knows more than metrics.jsonl.
        Immediate record = new(step =>
        {
            Record(step, metrics);
            firstStep ??= clock.Elapsed.TotalMilliseconds;
        });
        profile?.Begin();
        Stopwatch training = Stopwatch.StartNew();
        await foreach (StepResult step in trainer.RunAsync(store, record, host.Stop).ConfigureAwait(false)) progress.Show(step);
        double seconds = training.Elapsed.TotalSeconds;
        terminal.ClearStatus();
        JsonObject? times = profile?.End(terminal, seconds * 1000);
        bool interrupted = host.Stop.IsCancellationRequested && trainer.State.CompletedSteps < trainer.TotalSteps && !trainer.State.Stopped;
        if (interrupted) store.Save(trainer);

        TakeBest(trainer, store, adapter, options);
        SaveModel(model, adapter, modelFolder, output);
        if (tokenizer is not null) SaveTokenizer(modelFolder, output);
        string? best = trainer.State.BestStep > 0 && Directory.Exists(store.Folder(trainer.State.BestStep)) ? store.Folder(trainer.State.BestStep) : null;
        TrainerStateFile.Write(Path.Combine(output, "trainer_state.json"), _history, options, trainer.TotalSteps, logSteps, seconds, best);
        (double Difference, double Largest)? merge = interrupted ? null : CompareMerged(task);
        IReadOnlyList<ReportSample> pairs = samples is null ? [] : samples.Pair(before, samples.Continue((CausalLM)model));
        IReadOnlyList<(string Name, double Value)> measured = interrupted ? [] : task.Measure(options.BatchSize);
        RunFacts facts = new(modelFolder, task, adapter, trainer, options, seconds, firstStep, evalBefore, merge, pairs, measured, interrupted, backend);
        ReportBuilder.Write(Path.Combine(output, "report.html"), facts, values, _history, _notes);
        ShowEnd(facts, output);
        JsonObject result = facts.ToJson(output, _history);
        if (times is not null) result["profile"] = times;
        terminal.Result(result);
        return interrupted ? ExitCodes.Interrupted : ExitCodes.Fine;
    }

    private LoraAdapter CreateAdapter(RunTask task)
    {
        PretrainedModel model = task.Model;
        if (values.Switch("full"))
        {
            if (values.IsSet("adapter")) throw new LoraNetException("--full trains every weight, so --adapter has no place.", "Choose one of them.");
            return model.Attach(AdapterBuilder.CreateFull(model));
        }
        Func<LoraConfig, LoraConfig>? change = values.Text("adapter") is { } folder ? AdapterLayer.Apply(values, folder) : null;
        Preset.Apply(values, model.Backend.Name, BackendFactory.DeviceBytes(model.Backend), task.Attention);
        if (change is not null) return AdapterFile.Load(values.Required("adapter"), model, trainable: true, warn: Note, change: change);
        LoraConfig config = SettingReaders.ReadLora(values) with { BaseModelNameOrPath = values.Required("model") };
        TrainingOptions training = SettingReaders.ReadTraining(values);
        if (config.Init != LoraInit.Eva) return model.AddAdapter(config, seed: training.Seed);
        _asked = config;
        EvaOptions eva = new() { Rho = values.Number("eva-rho") ?? 2, Tau = values.Number("eva-tau") ?? 0.99 };
        LoraAdapter adapter = EvaInitializer.Create((CausalLM)model, "default", config, task.InitialBatches(training.BatchSize), eva, training.Seed);
        Note($"EVA gave {adapter.Layers.Count} modules ranks from {adapter.Layers.Values.Min(l => l.Rank)} to {adapter.Layers.Values.Max(l => l.Rank)}.");
        return model.Attach(adapter);
    }

    private bool Resume(CheckpointStore store, LoraTrainer trainer)
    {
        if (!values.Switch("resume"))
        {
            // Checkpoints of an earlier run would be taken for this one's by a later --resume.
            IReadOnlyList<int> old = store.Steps;
            if (File.Exists(Path.Combine(store.Directory, AdapterFile.TensorFileName))) Note($"{store.Directory} holds an adapter; this run replaces it.");
            if (old.Count == 0) return false;
            Note($"{old.Count} checkpoint{(old.Count == 1 ? "" : "s")} of an earlier run in {store.Directory} removed; --resume would have continued it.");
            foreach (int step in old) Directory.Delete(store.Folder(step), recursive: true);
            return false;
        }
        if (store.TryLoadNewest(trainer) is not { } at)
        {
            Note($"{store.Directory} has no complete checkpoint: starting from the beginning.");
            return false;
        }
        terminal.Line($"Resuming after step {at} of {trainer.TotalSteps}.");
        return true;
    }

    private (double? Loss, IReadOnlyList<string> Texts) MeasureBase(RunTask task, LoraTrainer trainer, Samples? samples, bool resumed)
    {
        // A resumed run measures its starting point only where that is the base model.
        using IDisposable? off = resumed && !values.IsSet("adapter") ? task.Model.DisableAdapter() : null;
        double? loss = task.Data.Held > 0 && (!resumed || off is not null) ? trainer.EvaluateHeldOut().Loss : null;
        if (loss is { } l) terminal.Line(FormattableString.Invariant($"before training | held-out loss {l:0.0000} | {task.Describe(l)}"));
        return (loss, samples?.Continue((CausalLM)task.Model) ?? []);
    }

    private void Record(StepResult step, MetricsLog metrics)
    {
        _history.Add(step);
        metrics.Write(step);
        if (step.EvalLoss is not { } loss) return;
        EvalPoint evaluation = new(step.Step, step.Epoch, loss);
        _history.Add(evaluation);
        metrics.Write(evaluation);
    }

    private void TakeBest(LoraTrainer trainer, CheckpointStore store, LoraAdapter adapter, TrainingOptions options)
    {
        int best = trainer.State.BestStep;
        if (options.EarlyStoppingPatience == 0 || best == 0 || best == trainer.State.CompletedSteps) return;
        string tensors = Path.Combine(store.Folder(best), AdapterFile.TensorFileName);
        if (!File.Exists(tensors)) return;
        AdapterFile.ReadInto(store.Folder(best), adapter);
        Note(string.Create(CultureInfo.InvariantCulture, $"The adapter is that of step {best}, which had the best held-out loss ({trainer.State.BestEvalLoss:0.0000})."));
    }

    private void SaveModel(PretrainedModel model, LoraAdapter adapter, string modelFolder, string output)
    {
        if (!values.Switch("full"))
        {
            AdapterFile.Save(output, model, adapter);
            return;
        }
        // The whole model is written aside, then its files are moved in.
        string aside = Path.Combine(output, $".model-{Guid.NewGuid():N}");
        ModelWriter.WriteMerged(model, modelFolder, aside, null);
        foreach (string file in Directory.EnumerateFiles(aside)) File.Move(file, Path.Combine(output, Path.GetFileName(file)), overwrite: true);
        Directory.Delete(aside);
    }

    // The layout of conversations belongs to what was trained; chat, eval and merge read it from there.
    private void SaveTokenizer(string modelFolder, string output)
    {
        string path = Path.Combine(output, ModelFolder.TemplateFile);
        if (File.Exists(path)) File.Delete(path);
        string? trained = values.Text("chat-template") is { } named ? ChatTemplate.Named(named).Source : ModelFolder.TemplateOf(values.Text("adapter"), modelFolder);
        ModelFolder.CopyTokenizer(modelFolder, output);
        if (trained is not null) AtomicFile.WriteAllText(path, trained);
    }

    private (double Difference, double Largest)? CompareMerged(RunTask task)
    {
        if (task.Model.BaseParameterCount > LargestMergeCheck)
        {
            Note("The model is large: 'loranet merge' compares the merged model when it writes it.");
            return null;
        }
        try
        {
            return task.CompareMerged();
        }
        catch (LoraNetException e)
        {
            Note($"Not merged: {e.Message}");
            return null;
        }
    }

    private void WriteRecipe(string output, LoraAdapter adapter, int maxLength, int logSteps)
    {
        Dictionary<string, string> resolved = new()
        {
            ["max-length"] = maxLength.ToString(CultureInfo.InvariantCulture),
            ["log-steps"] = logSteps.ToString(CultureInfo.InvariantCulture),
        };
        if (!values.Switch("full"))
            foreach ((string name, string text) in AdapterLayer.Text(_asked ?? adapter.Config)) resolved[name] = text;
        AtomicFile.WriteAllText(Path.Combine(output, "recipe.resolved.yaml"), RecipeWriter.Write(values, resolved));
    }

    private void ShowHeader(RunTask task, LoraAdapter adapter, LoraTrainer trainer, bool resumed)
    {
        (PretrainedModel model, RunData data) = (task.Model, task.Data);
        terminal.Heading(resumed ? "LoraNet training, resumed" : "LoraNet training");
        long parameters = model.BaseParameterCount;
        List<IReadOnlyList<string>> rows =
        [
            ["model", $"{values.Required("model")} ({model.Config.ModelType}, {Format.Short(parameters)} parameters)"],
            ["trained", values.Switch("full") ? $"every weight: {Format.Count(adapter.ParameterCount)}"
                : $"{Format.Count(adapter.ParameterCount)} ({Format.Percent(adapter.ParameterCount / (double)(parameters + adapter.ParameterCount))}), {Describe(adapter)}"],
            ["data", $"{Format.Count(data.Rows)} rows, {Format.Count(data.Trained)} trained {task.Unit}, longest {data.Longest}" + (data.Batches < data.Rows ? $", packed into {Format.Count(data.Batches)} rows" : "") + (data.Held > 0 ? $"; {Format.Count(data.Held)} held out" : "")],
            ["steps", $"{trainer.TotalSteps} of {trainer.Options.BatchSize * trainer.Options.GradientAccumulation} rows, {trainer.Schedule.Kind} schedule, learning rate {Format.Exact(trainer.Options.LearningRate)}"],
            ["device", model.Backend.Name],
        ];
        terminal.Table(["", ""], rows);
    }

    private static string Describe(LoraAdapter adapter)
    {
        int modules = adapter.Layers.Count + adapter.Parts.Count(p => p.ModulePath.Length > 0);
        LoraConfig c = adapter.Config;
        string rank = c.Method is Ia3Settings ? "" : c.Method is VeraSettings ? $"r {c.Rank}, " : $"r {c.Rank}, alpha {Format.Exact(c.Alpha)}, ";
        return $"{(c.Method is null ? "" : $"{c.Method.PeftType}, ")}{rank}{modules} modules";
    }

    private static double Median(List<StepResult> steps, Func<StepResult, double> value) => steps.Select(value).Order().ElementAt(steps.Count / 2);

    private void ShowEnd(RunFacts facts, string output)
    {
        foreach (ReportSample sample in facts.Samples)
        {
            terminal.Line();
            terminal.Line($"prompt: {sample.Prompt.ReplaceLineEndings(" ")}");
            terminal.Line($"before: {sample.Before.ReplaceLineEndings(" ")}");
            terminal.Line($"after:  {sample.After.ReplaceLineEndings(" ")}");
        }
        terminal.Line();
        if (facts.FirstStepMilliseconds is { } first) terminal.Line(FormattableString.Invariant($"First step after {first / 1000:0.0} s; {_history.Steps.Count} steps in {Format.Duration(facts.Seconds)}."));
        // Padding is never computed; the padded rate is what a trainer that pads would have to reach to be as fast.
        List<StepResult> timed = [.. _history.Steps.Where(static s => s.PaddedTokens > 0 && s.Milliseconds > 0)];
        if (timed.Count > 0)
            terminal.Line($"Median rate {Format.Short(Median(timed, static s => s.TokensPerSecond))} real tokens/s ({Format.Short(Median(timed, static s => s.PaddedTokensPerSecond))} counting the padding that rows of a batch would need).");
        if (_history.Steps.Count > 0) terminal.Line(FormattableString.Invariant($"Loss {_history.Steps[0].Loss:0.0000} -> {_history.Steps[^1].Loss:0.0000}.")
            + (facts.EvalBefore is { } b && _history.Evaluations.Count > 0 ? FormattableString.Invariant($" Held-out loss {b:0.0000} -> {_history.Evaluations[^1].Loss:0.0000}.") : ""));
        if (facts.Measured.Count > 0) terminal.Line("Held-out " + string.Join(", ", facts.Measured.Select(f => FormattableString.Invariant($"{f.Name.Replace('_', ' ')} {f.Value:0.0000}"))) + ".");
        if (facts.Merge is { } m) terminal.Line(FormattableString.Invariant($"Merged into the weights, logits differ by at most {m.Difference:0.0e-0} (largest logit {m.Largest:0.0})."));
        terminal.Line(facts.Interrupted ? $"Stopped after step {facts.Trainer.State.CompletedSteps}; continue with --resume. Output: {output}" : $"Output: {output} (report.html shows the run)");
    }

    private void Note(string text)
    {
        _notes.Add(text);
        terminal.Line($"note: {text}");
    }

    /// <summary>Reports at once, on the caller's thread; <see cref="Progress{T}"/> would post to another.</summary>
    private sealed class Immediate(Action<StepResult> report) : IProgress<StepResult>
    {
        public void Report(StepResult value) => report(value);
    }
}
