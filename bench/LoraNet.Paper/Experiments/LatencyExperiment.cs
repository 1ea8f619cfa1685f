using System.Diagnostics;
using System.Text.Json.Nodes;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Paper.Running;
using LoraNet.Tensors;

namespace LoraNet.Paper.Experiments;

/// <summary>
/// Inference latency (the paper's table 1 and section 4.1): the base model, the adapter beside it, and the adapter merged into it.
/// The three are measured in turn, so that drift of the machine meets all of them alike.
/// </summary>
internal static class LatencyExperiment
{
    private const int Warmup = 3;

    /// <summary>Times a forward pass over a prompt, and a step that decodes one token of each sequence.</summary>
    public static void Run(JobContext context, string name, JsonObject shape, int rank, IReadOnlyList<string> targets, int batch, int length, int trials, ulong seed)
    {
        Backend backend = context.Backends.Current;
        trials = context.Settings.Steps(trials);
        using CausalLM model = Shapes.Create(backend, shape);
        // A trained adapter's B is not zero.
        LoraAdapter adapter = model.AddAdapter(new LoraConfig { Rank = rank, Alpha = rank, Init = LoraInit.Random, TargetModules = ModuleSelector.Of(targets) }, seed: seed);
        using CausalLM merged = model.MergeAndUnload();
        int vocabulary = model.Options.VocabularySize;
        List<int[]> prompts = [.. Shapes.Rows(batch, length, vocabulary, (int)seed).Select(r => r.InputIds)];
        (string Name, CausalLM Model, bool Disabled)[] variants = [("base", model, true), ("unmerged", model, false), ("merged", merged, false)];
        Dictionary<string, (List<double> Prompt, List<double> Token)> times = variants.ToDictionary(v => v.Name, _ => (new List<double>(), new List<double>()));
        for (int trial = 0; trial < trials + Warmup; trial++)
        {
            // Each variant is first as often as last.
            for (int k = 0; k < variants.Length; k++)
            {
                (string variant, CausalLM used, bool disabled) = variants[(k + trial) % variants.Length];
                (double prompt, double token) = Measure(used, disabled, prompts);
                if (trial < Warmup) continue;
                times[variant].Prompt.Add(prompt);
                times[variant].Token.Add(token);
            }
        }
        foreach ((string variant, (List<double> prompt, List<double> token)) in times)
        {
            context.Emit(new JsonObject
            {
                ["experiment"] = "latency",
                ["shape"] = name,
                ["variant"] = variant,
                ["rank"] = rank,
                ["targets"] = string.Join(",", targets),
                ["seed"] = seed,
                ["batch"] = batch,
                ["length"] = length,
                ["trials"] = trials,
                ["added_values"] = variant == "unmerged" ? adapter.ParameterCount : 0,
                ["prompt_ms"] = Median(prompt),
                ["prompt_quartiles"] = new JsonArray(Quantile(prompt, 0.25), Quantile(prompt, 0.75)),
                ["token_ms"] = Median(token),
                ["token_quartiles"] = new JsonArray(Quantile(token, 0.25), Quantile(token, 0.75)),
            });
        }
    }

    private static (double Prompt, double Token) Measure(CausalLM model, bool disabled, List<int[]> prompts)
    {
        using IDisposable? scope = disabled ? model.DisableAdapter() : null;
        using Arena arena = new(model.Backend);
        using KeyValueCache cache = model.CreateCache(prompts.Count, prompts[0].Length + 10);
        List<(int, int[])> pending = [.. prompts.Select((p, i) => (i, p))];
        double prompt = Pass();
        List<double> tokens = [];
        for (int i = 0; i < 8; i++)
        {
            pending = [.. prompts.Select((p, s) => (s, new[] { p[i] }))];
            tokens.Add(Pass());
        }
        return (prompt, Median(tokens));

        double Pass()
        {
            model.Backend.Synchronize();
            long start = Stopwatch.GetTimestamp();
            Tensor logits = model.Decode(arena, cache, pending);
            model.Backend.Synchronize();
            double milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            Arena.Release(logits);
            return milliseconds;
        }
    }

    private static double Median(List<double> values) => Quantile(values, 0.5);

    private static double Quantile(List<double> values, double share)
    {
        List<double> sorted = [.. values.Order()];
        double at = share * (sorted.Count - 1);
        int low = (int)at;
        return low + 1 < sorted.Count ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[low];
    }
}
