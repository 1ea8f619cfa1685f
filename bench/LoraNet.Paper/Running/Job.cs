using System.Globalization;
using System.Text.Json.Nodes;

namespace LoraNet.Paper.Running;

/// <summary>One run of an experiment: small enough to be one process's work, and independent of all others.</summary>
/// <param name="Id">Name of its results file, such as <c>glue-rte-lora-s1</c>.</param>
/// <param name="Run">Does the work and emits its results.</param>
internal sealed record Job(string Id, Action<JobContext> Run)
{
    /// <summary>True for measurements of time, which must have the machine to themselves.</summary>
    public bool Alone { get; init; }
}

/// <summary>What a job is given.</summary>
internal sealed class JobContext(RunSettings settings, BackendHolder backends, string id)
{
    private readonly List<JsonObject> _results = [];

    /// <summary>Settings of the whole run.</summary>
    public RunSettings Settings => settings;

    /// <summary>The device.</summary>
    public BackendHolder Backends => backends;

    /// <summary>Results so far.</summary>
    public IReadOnlyList<JsonObject> Results => _results;

    /// <summary>Adds a result; its job and device are noted with it.</summary>
    public void Emit(JsonObject result)
    {
        JsonObject whole = new() { ["job"] = id, ["device"] = backends.Current.Name, ["date"] = DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture) };
        if (settings.Quick) whole["quick"] = true;
        foreach ((string key, JsonNode? value) in result.ToArray())
        {
            result.Remove(key);
            whole[key] = value;
        }
        _results.Add(whole);
    }
}
