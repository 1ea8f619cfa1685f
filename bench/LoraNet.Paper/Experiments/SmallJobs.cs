using LoraNet.Paper.Running;

namespace LoraNet.Paper.Experiments;

/// <summary>
/// The runs of <see cref="AllJobs"/> cut down to what two processor cores do in an hour: drawn rows, fewer steps, the small language
/// model for the sweeps, no texts generated. Always three seeds.
/// </summary>
internal static class SmallJobs
{
    private const int SweepSteps = 100, SweepBatch = 8, HeldRows = 128;
    private static readonly ulong[] _seeds = [1, 2, 3];

    /// <summary>The jobs, the most important first.</summary>
    public static List<Job> Create()
    {
        List<Job> jobs = [new Job("e2e-domain", c => DomainModel.Run(c, steps: 150, batch: 16))];
        AddSweep(jobs, "e2e-start", "e2e-start", new Method("base"), 0);
        foreach (ulong seed in _seeds)
            foreach (int rank in new[] { 1, 2, 4, 8, 16, 32, 64 })
                AddSweep(jobs, $"e2e-rank-qv-r{rank}-s{seed}", "e2e-rank", Method.Lora(rank, "q_proj", "v_proj"), seed);
        foreach (ulong seed in _seeds)
        {
            // The paper's table 5: one budget of values, spent on few matrices of high rank or many of low rank. Query and value of rank 4
            // are in the sweep above.
            foreach ((string name, int rank, string[] targets) in new[]
            {
                ("q", 8, new[] { "q_proj" }), ("k", 8, ["k_proj"]), ("v", 8, ["v_proj"]), ("o", 8, ["o_proj"]),
                ("qk", 4, ["q_proj", "k_proj"]), ("qkvo", 2, ["q_proj", "k_proj", "v_proj", "o_proj"]),
            })
                AddSweep(jobs, $"e2e-budget-{name}-s{seed}", "e2e-budget", Method.Lora(rank, targets), seed);
        }
        foreach (ulong seed in _seeds)
        {
            jobs.Add(new Job($"subspace-s{seed}", c => SubspaceExperiment.Run(c, seed, (rank, start, use) =>
                E2eExperiment.Run(c, "subspace-run", Sweep(Method.Lora(rank, "q_proj", "v_proj"), start), (_, adapter) => use(adapter)))));
        }
        AddGlue(jobs, "sst2", rows: 2000, epochs: 1);
        AddGlue(jobs, "cola", rows: 2000, epochs: 2);
        AddGlue(jobs, "mrpc", rows: 1000, epochs: 2);
        AddGlue(jobs, "stsb", rows: 1000, epochs: 2);
        AddGlue(jobs, "rte", rows: 500, epochs: 2);
        return jobs;
    }

    private static Method Lora(int rank) => Method.Lora(rank, "query", "value");

    private static void AddGlue(List<Job> jobs, string task, int rows, double epochs)
    {
        foreach (ulong seed in _seeds)
        {
            foreach (Method method in new[] { Lora(8) with { Dropout = 0.05 }, Method.Full, Method.Probe })
            {
                GlueSettings glue = Glue(task, method, seed, rows, epochs);
                jobs.Add(new Job($"glue-{task}-{method.Name}-s{seed}", c => GlueExperiment.Run(c, "glue", glue)));
            }
        }
    }

    private static GlueSettings Glue(string task, Method method, ulong seed, int rows, double epochs) => new(task, method, seed)
    {
        Rows = rows,
        Epochs = epochs,
        BatchSize = 8,
        LearningRate = method.Name switch { "full" => 5e-5, "probe" => 2e-3, _ => 1e-3 },
    };

    private static void AddSweep(List<Job> jobs, string id, string experiment, Method method, ulong seed)
    {
        E2eSettings e2e = Sweep(method, seed);
        jobs.Add(new Job(id, c => E2eExperiment.Run(c, experiment, e2e)));
    }

    private static E2eSettings Sweep(Method method, ulong seed) =>
        new(method, seed) { Domain = true, LearningRate = 5e-3, BatchSize = SweepBatch, Steps = SweepSteps, Texts = false, HeldRows = HeldRows };
}
