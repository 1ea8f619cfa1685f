using System.Diagnostics;

namespace LoraNet.Paper.Running;

/// <summary>
/// Works through the jobs in order. Several processes can do so at once, on one folder of results: each takes a job by creating
/// its claim, and a job's results appear whole or not at all. Jobs with results are left out, so a run can be continued.
/// </summary>
internal static class Worker
{
    /// <summary>Does what is not done yet.</summary>
    /// <returns>False when a job failed.</returns>
    public static bool Run(IReadOnlyList<Job> jobs, RunSettings settings)
    {
        Stopwatch clock = Stopwatch.StartNew();
        string claims = Path.Combine(settings.Results, "claims");
        Directory.CreateDirectory(claims);
        using BackendHolder backends = new(settings.Cuda);
        foreach (Job job in jobs)
        {
            if (clock.Elapsed.TotalSeconds > settings.Seconds) break;
            string result = ResultsOf(settings.Results, job.Id);
            if (File.Exists(result) || !Claim(Path.Combine(claims, job.Id))) continue;
            double start = clock.Elapsed.TotalSeconds;
            try
            {
                JobContext context = new(settings, backends, job.Id);
                job.Run(context);
                File.WriteAllLines(result + ".part", context.Results.Select(r => r.ToJsonString()));
                File.Move(result + ".part", result, overwrite: true);
                Console.WriteLine(FormattableString.Invariant($"{job.Id}: {clock.Elapsed.TotalSeconds - start:0.0} s"));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // A device may be unusable after an error: another process, started by the caller, does the other jobs.
                Console.WriteLine($"{job.Id}: FAILED: {e}");
                return false;
            }
            // Models are large and their finalizers late.
            GC.Collect();
        }
        return true;
    }

    /// <summary>The results file of a job.</summary>
    public static string ResultsOf(string folder, string id) => Path.Combine(folder, id + ".jsonl");

    private static bool Claim(string path)
    {
        try
        {
            using FileStream claim = new(path, FileMode.CreateNew);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
