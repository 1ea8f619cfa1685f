using System.Text.Json.Nodes;
using LoraNet.Paper.Running;

namespace LoraNet.Paper.Experiments;

/// <summary>Every run, the most important first.</summary>
internal static class AllJobs
{
    private static readonly ulong[] _seeds = [1, 2, 3];
    private static readonly string[] _tasks = ["mrpc", "sst2", "cola", "stsb", "rte"];
    private static readonly string[] _allLinear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    private static readonly int[] _ranks = [1, 2, 4, 8, 16, 32, 64];

    /// <summary>The jobs of a run.</summary>
    /// <param name="settings">On a GPU the models of the timings are larger; the small scale is <see cref="SmallJobs"/>.</param>
    public static List<Job> Create(RunSettings settings) => settings.Small ? SmallJobs.Create() : Create(settings.Cuda);

    private static List<Job> Create(bool cuda)
    {
        List<Job> jobs = [];
        // Others start from its result.
        jobs.Add(new Job("e2e-domain", c => DomainModel.Run(c)) { Alone = true });
        AddTimings(jobs, cuda);
        jobs.Add(new Job("checkpoint", CheckpointExperiment.Run));
        AddE2e(jobs);
        AddGlue(jobs);
        AddEncoderSweep(jobs);
        AddSubspace(jobs);
        AddE2eSweep(jobs);
        AddSecondRates(jobs);
        AddE2eSecondRates(jobs);
        return jobs;
    }

    private static void AddTimings(List<Job> jobs, bool cuda)
    {
        string name = cuda ? "GPT-2 medium" : "GPT-2 of 9M";
        JsonObject shape = cuda ? Shapes.Gpt2Medium : Shapes.Gpt2Small;
        foreach (Method method in new[] { Method.Lora(4, "c_attn"), Method.Full })
            foreach ((int batch, int length) in cuda ? new[] { (8, 512), (1, 512) } : [(2, 128)])
                Time($"speed-gpt2-{batch}x{length}-{method.Name}", c => SpeedExperiment.Run(c, name, shape, method, batch, length, cuda ? 15 : 10, _seeds));
        if (cuda)
        {
            foreach (Method method in new[] { Method.Lora(8, "q_proj", "v_proj"), Method.Full })
                Time($"speed-llama1b-{method.Name}", c => SpeedExperiment.Run(c, "Llama-3.2-1B", Shapes.Llama1B, method, 4, 1024, 10, _seeds));
        }
        foreach (ulong seed in _seeds)
            foreach ((int batch, int length) in cuda ? new[] { (1, 128), (16, 256), (32, 512) } : [(1, 64), (4, 64)])
                Time($"latency-{batch}x{length}-s{seed}", c => LatencyExperiment.Run(c, name, shape, 4, ["c_attn"], batch, length, cuda ? 20 : 15, seed));

        void Time(string id, Action<JobContext> run) => jobs.Add(new Job(id, run) { Alone = true });
    }

    private static void AddGlue(List<Job> jobs)
    {
        foreach (string task in _tasks)
            foreach (ulong seed in _seeds)
                foreach (Method method in new[] { Method.Lora(8, "query", "value") with { Dropout = 0.05 }, Method.Full, Method.Probe })
                    Add(jobs, $"glue-{task}-{method.Name}-s{seed}", "glue", Glue(task, method, seed));
    }

    // The same comparison at another learning rate each, so that neither method is judged by an unlucky choice.
    private static void AddSecondRates(List<Job> jobs)
    {
        foreach (string task in _tasks)
        {
            foreach (ulong seed in _seeds)
            {
                foreach (Method method in new[] { Method.Lora(8, "query", "value") with { Dropout = 0.05 }, Method.Full })
                {
                    GlueSettings glue = Glue(task, method, seed);
                    Add(jobs, $"glue2-{task}-{method.Name}-s{seed}", "glue", glue with { LearningRate = glue.LearningRate / 2 });
                }
            }
        }
    }

    private static GlueSettings Glue(string task, Method method, ulong seed)
    {
        (double epochs, int batch) = task switch { "sst2" => (2.0, 64), "rte" => (15, 32), "cola" => (8, 32), _ => (10, 32) };
        double rate = method.Name switch { "full" => 1e-4, "probe" => 2e-3, _ => 1e-3 };
        return new GlueSettings(task, method, seed) { LearningRate = rate, Epochs = epochs, BatchSize = batch };
    }

    private static void Add(List<Job> jobs, string id, string experiment, GlueSettings glue) => jobs.Add(new Job(id, c => GlueExperiment.Run(c, experiment, glue)));

    private static void AddE2e(List<Job> jobs)
    {
        foreach (bool domain in new[] { true, false })
        {
            string start = domain ? "domain" : "stories";
            jobs.Add(new Job($"e2e-{start}-base", c => E2eExperiment.Run(c, "e2e", new E2eSettings(new Method("base"), 0) { Domain = domain })));
            foreach (ulong seed in _seeds)
                foreach (Method method in new[] { Method.Lora(8, "q_proj", "v_proj"), Method.Lora(8, _allLinear), Method.Full })
                    AddE2e(jobs, $"e2e-{start}-{method.Name}{(method.Targets.Count > 2 ? "-all" : "")}-s{seed}", "e2e", E2e(method, seed) with { Domain = domain });
        }
    }

    private static void AddE2eSecondRates(List<Job> jobs)
    {
        foreach (ulong seed in _seeds)
        {
            foreach (Method method in new[] { Method.Lora(8, "q_proj", "v_proj"), Method.Lora(8, _allLinear), Method.Full })
            {
                E2eSettings e2e = E2e(method, seed);
                AddE2e(jobs, $"e2e2-{method.Name}{(method.Targets.Count > 2 ? "-all" : "")}-s{seed}", "e2e", e2e with { Domain = true, LearningRate = e2e.LearningRate * 3 });
            }
        }
    }

    private static void AddE2eSweep(List<Job> jobs)
    {
        foreach (ulong seed in _seeds)
            foreach (int rank in _ranks)
                foreach ((string name, string[] targets) in new[] { ("qv", new[] { "q_proj", "v_proj" }), ("all", _allLinear), ("qkvo", ["q_proj", "k_proj", "v_proj", "o_proj"]) })
                    AddE2e(jobs, $"e2e-rank-{name}-r{rank}-s{seed}", "e2e-rank", E2e(Method.Lora(rank, targets), seed) with { Domain = true, Epochs = 12 });
    }

    private static E2eSettings E2e(Method method, ulong seed) => new(method, seed) { LearningRate = method.Name == "full" ? 1e-3 : 5e-3 };

    private static void AddE2e(List<Job> jobs, string id, string experiment, E2eSettings e2e) => jobs.Add(new Job(id, c => E2eExperiment.Run(c, experiment, e2e)));

    private static void AddSubspace(List<Job> jobs)
    {
        foreach (ulong seed in _seeds)
            jobs.Add(new Job($"subspace-s{seed}", c => SubspaceExperiment.Run(c, seed, (rank, start, use) => GlueExperiment.Run(c, "subspace-run", Sweep(Method.Lora(rank, "query", "value"), start), (_, adapter) => use(adapter)))));
    }

    // SST-2 on a quarter of its rows: enough for differences to show, and a hundred runs stay affordable.
    private static GlueSettings Sweep(Method method, ulong seed) => new("sst2", method, seed) { LearningRate = 1e-3, Epochs = 2, BatchSize = 64, Rows = 16_000 };

    private static void AddEncoderSweep(List<Job> jobs)
    {
        foreach (ulong seed in _seeds)
        {
            // The paper's table 5: one budget of values, spent on few matrices of high rank or many of low rank.
            foreach ((string name, int rank, string[] targets) in new[]
            {
                ("q", 8, new[] { "query" }), ("k", 8, ["key"]), ("v", 8, ["value"]), ("o", 8, ["attention.output.dense"]),
                ("qk", 4, ["query", "key"]), ("qv", 4, ["query", "value"]), ("qkvo", 2, ["query", "key", "value", "attention.output.dense"]),
            })
                Add(jobs, $"budget-{name}-s{seed}", "budget", Sweep(Method.Lora(rank, targets), seed));
        }
        foreach (ulong seed in _seeds)
        {
            // The paper's table 6.
            foreach (int rank in _ranks)
                Add(jobs, $"rank-qv-r{rank}-s{seed}", "rank", Sweep(Method.Lora(rank, "query", "value"), seed));
            foreach (int rank in new[] { 1, 4, 8, 64 })
                Add(jobs, $"rank-qkvo-r{rank}-s{seed}", "rank", Sweep(Method.Lora(rank, "query", "key", "value", "attention.output.dense"), seed));
        }
    }
}
