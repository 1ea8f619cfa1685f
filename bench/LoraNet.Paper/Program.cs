using System.Globalization;
using LoraNet;
using LoraNet.Paper.Experiments;
using LoraNet.Paper.Rendering;
using LoraNet.Paper.Running;

// work DATA RESULTS [--device cpu|cuda] [--scale all|small] [--only PREFIX,...] [--alone yes|no] [--seconds N] [--threads N] [--quick yes]
//      does the jobs that have no results yet, in the order of the prefixes; several processes may work on one folder of results
// pack DATA OUT.jsonl.gz RESULTS...      one small file of folders or files of results: generated texts are scored and left out
// render OUT.jsonl.gz DOCS               tables and figures of DOCS/paper.md
// all DATA RESULTS OUT.jsonl.gz DOCS [options of work]     the three in one
// list [--device cpu|cuda] [--scale all|small]
try
{
    switch (args)
    {
        case ["work", string data, string results, .. string[] options]:
            RunSettings settings = Arguments.Read(data, results, options, out Func<IEnumerable<Job>, IEnumerable<Job>> choose);
            return Worker.Run([.. choose(AllJobs.Create(settings))], settings) ? 0 : 1;
        case ["pack", string data, string output, .. { Length: > 0 } sources]:
            Packing.Run(data, output, sources);
            return 0;
        case ["render", string results, string docs]:
            Renderer.Run(results, docs);
            return 0;
        case ["all", string data, string results, string output, string docs, .. string[] options]:
            RunSettings everything = Arguments.Read(data, results, options, out Func<IEnumerable<Job>, IEnumerable<Job>> some);
            bool complete = Worker.Run([.. some(AllJobs.Create(everything))], everything);
            Packing.Run(data, output, [results]);
            Renderer.Run(output, docs);
            return complete ? 0 : 1;
        case ["list", .. string[] options]:
            RunSettings listed = Arguments.Read("", "", options, out Func<IEnumerable<Job>, IEnumerable<Job>> wanted);
            foreach (Job job in wanted(AllJobs.Create(listed))) Console.WriteLine(job.Id);
            return 0;
        default:
            Console.Error.WriteLine("usage: pack DATA OUT.jsonl.gz RESULTS... | render OUT.jsonl.gz DOCS | all DATA RESULTS OUT.jsonl.gz DOCS [options] | work DATA RESULTS [--device cpu|cuda] [--scale all|small] [--only PREFIX,...] [--alone yes|no] [--seconds N] [--threads N] [--quick yes] | list [--device cpu|cuda] [--scale all|small]");
            return 2;
    }
}
catch (LoraNetException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 2;
}

/// <summary>The command line.</summary>
internal static class Arguments
{
    public static RunSettings Read(string data, string results, string[] options, out Func<IEnumerable<Job>, IEnumerable<Job>> choose)
    {
        RunSettings settings = new() { Data = data, Results = results };
        string[]? prefixes = null;
        bool? alone = null;
        for (int i = 0; i < options.Length; i += 2)
        {
            if (i + 1 == options.Length) throw new LoraNetException($"{options[i]} has no value.");
            string value = options[i + 1];
            switch (options[i])
            {
                case "--device": settings = settings with { Cuda = value == "cuda" }; break;
                case "--only": prefixes = value.Split(','); break;
                case "--alone": alone = value == "yes"; break;
                case "--scale": settings = settings with { Small = value == "small" }; break;
                case "--quick": settings = settings with { Quick = value == "yes" }; break;
                case "--threads": settings = settings with { Threads = int.Parse(value, CultureInfo.InvariantCulture) }; break;
                case "--seconds": settings = settings with { Seconds = double.Parse(value, CultureInfo.InvariantCulture) }; break;
                default: throw new LoraNetException($"Unknown option '{options[i]}'.");
            }
        }
        choose = jobs => jobs.Where(j => Place(j) >= 0 && (alone is null || j.Alone == alone)).OrderBy(Place);
        return settings;

        int Place(Job job) => prefixes is null ? 0 : Array.FindIndex(prefixes, p => job.Id.StartsWith(p, StringComparison.Ordinal));
    }
}
