using System.Diagnostics;

namespace LoraNet.Paper.Running;

/// <summary>
/// Works through the jobs in order. Several threads and several processes can do so at once, on one folder of results: each takes a job by
/// creating its claim, and a job's results appear whole or not at all. Jobs with results are left out, so a run can be continued.
/// </summary>
/// <remarks>Threads share a GPU far better than processes, whose kernels never run at the same time.</remarks>
internal static class Worker
{
    /// <summary>Does what is not done yet.</summary>
    /// <returns>False when a job failed.</returns>
    public static bool Run(IReadOnlyList<Job> jobs, RunSettings settings)
    {
        Stopwatch clock = Stopwatch.StartNew();
        Directory.CreateDirectory(Claims(settings));
        BackendHolder[] backends = [.. Enumerable.Range(0, settings.Threads).Select(_ => new BackendHolder(settings.Cuda))];
        bool failed = false;
        try
        {
            // The first job finds the kernels uncompiled; what it compiles the others find in the driver's cache.
            bool warm = settings.Threads == 1;
            for (int next = 0; next < jobs.Count && !Volatile.Read(ref failed);)
            {
                int first = next++;
                if (!jobs[first].Alone && warm)
                    while (next < jobs.Count && !jobs[next].Alone) next++;
                if (next - first == 1)
                {
                    warm |= Do(jobs[first], backends[0]);
                    continue;
                }
                int taken = first - 1, end = next;
                Thread[] threads = [.. backends.Select(holder => new Thread(() =>
                {
                    for (int i; (i = Interlocked.Increment(ref taken)) < end && !Volatile.Read(ref failed);) Do(jobs[i], holder);
                }))];
                foreach (Thread thread in threads) thread.Start();
                foreach (Thread thread in threads) thread.Join();
            }
        }
        finally
        {
            foreach (BackendHolder holder in backends) holder.Dispose();
        }
        return !failed;

        bool Do(Job job, BackendHolder holder)
        {
            string result = ResultsOf(settings.Results, job.Id);
            if (clock.Elapsed.TotalSeconds > settings.Seconds || File.Exists(result) || !Claim(Path.Combine(Claims(settings), job.Id))) return false;
            double start = clock.Elapsed.TotalSeconds;
            try
            {
                JobContext context = new(settings, holder, job.Id);
                job.Run(context);
                File.WriteAllLines(result + ".part", context.Results.Select(r => r.ToJsonString()));
                File.Move(result + ".part", result, overwrite: true);
                Console.WriteLine(FormattableString.Invariant($"{clock.Elapsed.TotalSeconds:0.0} s: {job.Id} took {clock.Elapsed.TotalSeconds - start:0.0} s"));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // A device may be unusable after an error: another process, started by the caller, does the other jobs.
                Console.WriteLine($"{job.Id}: FAILED: {e}");
                Volatile.Write(ref failed, true);
            }
            // Models are large and their finalizers late.
            GC.Collect();
            return true;
        }
    }

    /// <summary>The results file of a job.</summary>
    public static string ResultsOf(string folder, string id) => Path.Combine(folder, id + ".jsonl");

    private static string Claims(RunSettings settings) => Path.Combine(settings.Results, "claims");

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
