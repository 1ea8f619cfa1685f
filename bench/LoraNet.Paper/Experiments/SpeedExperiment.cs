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

    /// <summary>Times optimizer steps on a fresh device, so that its peak of memory is this run's alone.</summary>
    public static void Run(JobContext context, string name, JsonObject shape, Method method, int batch, int length, int steps, ulong seed)
    {
        Backend backend = context.Backends.Renew();
        using (CausalLM model = Shapes.Create(backend, shape))
        {
            LoraAdapter adapter = method.Attach(model, [], seed);
            steps = context.Settings.Steps(steps);
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
                ["trained"] = adapter.ParameterCount,
                ["parameters"] = model.BaseParameterCount,
                ["optimizer_bytes"] = trainer.Optimizer.StateBytes,
                ["gradient_bytes"] = 4 * adapter.ParameterCount,
                ["peak_bytes"] = backend.IsHost ? process.PeakWorkingSet64 : backend.PeakBytes,
                ["milliseconds"] = median,
                ["fastest"] = milliseconds[0],
                ["slowest"] = milliseconds[^1],
                ["tokens_per_second"] = batch * length / (median / 1000),
            });
        }
        context.Backends.Renew();
    }
}
