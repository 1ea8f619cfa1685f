using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Paper.Running;
using LoraNet.Tensors;
using LoraNet.Training;

namespace LoraNet.Paper.Experiments;

/// <summary>Speed and memory of training: LoRA against full fine-tuning of the same model, rows and trainer (the paper's section 4.2).</summary>
internal static class SpeedExperiment
{
    private const int Warmup = 3;

    /// <summary>Times optimizer steps, once a seed, on a fresh device, so that its peak of memory is this run's alone.</summary>
    public static void Run(JobContext context, string name, JsonObject shape, Method method, int batch, int length, int steps, IReadOnlyList<ulong> seeds)
    {
        Backend backend = context.Backends.Renew();
        using (CausalLM model = Shapes.Create(backend, shape))
        {
            steps = context.Settings.Steps(steps);
            foreach (ulong seed in seeds)
            {
                LoraAdapter adapter = method.Attach(model, [], seed);
                Measure(context, name, model, method, batch, length, steps, seed);
                model.DeleteAdapter(adapter.Name);
            }
        }
        context.Backends.Renew();
    }

    private static void Measure(JobContext context, string name, CausalLM model, Method method, int batch, int length, int steps, ulong seed)
    {
        Backend backend = model.Backend;
        using LoraTrainer trainer = new(model, Shapes.Rows(batch * 4, length, model.Options.VocabularySize, (int)seed), new TrainingOptions
        {
            BatchSize = batch,
            MaxSteps = steps + Warmup,
            LearningRate = 1e-5,
            Schedule = ScheduleKind.Constant,
            Seed = seed,
        });
        List<double> milliseconds = [];
        for (int i = 0; i < steps + Warmup; i++)
        {
            StepResult step = trainer.Step();
            if (i >= Warmup) milliseconds.Add(step.Milliseconds);
        }
        milliseconds.Sort();
        // Two moments of 4 bytes a value; the adapter's own count has a tied matrix twice.
        long trained = trainer.Optimizer.StateBytes / 8;
        double median = milliseconds[milliseconds.Count / 2];
        using Process process = Process.GetCurrentProcess();
        context.Emit(new JsonObject
        {
            ["experiment"] = "speed",
            ["shape"] = name,
            ["method"] = method.Name,
            ["rank"] = method.Rank,
            ["targets"] = string.Join(",", method.Targets),
            ["seed"] = seed,
            ["batch"] = batch,
            ["length"] = length,
            ["steps"] = steps,
            ["trained"] = trained,
            ["parameters"] = model.BaseParameterCount,
            ["optimizer_bytes"] = trainer.Optimizer.StateBytes,
            ["gradient_bytes"] = 4 * trained,
            ["step_buffer_bytes"] = trainer.ArenaBytes,
            ["peak_bytes"] = backend.IsHost ? process.PeakWorkingSet64 : backend.PeakBytes,
            ["milliseconds"] = median,
            ["fastest"] = milliseconds[0],
            ["slowest"] = milliseconds[^1],
            ["tokens_per_second"] = batch * length / (median / 1000),
        });
    }
}
