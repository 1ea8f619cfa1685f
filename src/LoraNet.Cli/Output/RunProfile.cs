using System.Globalization;
using System.Text.Json.Nodes;
using LoraNet.Cli.Devices;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Profiling;

namespace LoraNet.Cli.Output;

/// <summary>
/// <c>--profile</c>: where the time of the training steps went. On a CPU by operation, with its rate beside the machine's own limits; on
/// a GPU by kernel.
/// </summary>
internal sealed class RunProfile
{
    private readonly ProfilingBackend? _host;
    private readonly ICardProfile? _card;

    private RunProfile(ProfilingBackend? host, ICardProfile? card) => (_host, _card) = (host, card);

    /// <summary>A profile of what <paramref name="backend"/> will do, and the backend to use instead of it; null when none is wanted.</summary>
    public static RunProfile? Attach(bool wanted, ref Backend backend)
    {
        if (!wanted) return null;
        if (CardSupport.Current.Profile(backend) is { } card) return new RunProfile(null, card);
        ProfilingBackend host = new(backend);
        backend = host;
        return new RunProfile(host, null);
    }

    /// <summary>Starts measuring; what happened before is forgotten.</summary>
    public void Begin()
    {
        _host?.Reset();
        _card?.Begin();
    }

    /// <summary>Ends the measurement, prints the table and returns it as JSON.</summary>
    /// <param name="terminal">Where to.</param>
    /// <param name="milliseconds">Time of the measured steps; what operations do not explain is shown as the rest.</param>
    public JsonObject End(Terminal terminal, double milliseconds) => _host is not null ? EndHost(_host, terminal, milliseconds) : EndCard(_card!, terminal, milliseconds);

    private static JsonObject EndHost(ProfilingBackend host, Terminal terminal, double milliseconds)
    {
        IReadOnlyList<OperationTime> times = host.Times;
        MachineLimits? limits = (host.Inner as CpuBackend)?.MeasureLimits();
        List<IReadOnlyList<string>> rows = [];
        JsonArray json = [];
        foreach (OperationTime t in times)
        {
            double? part = limits is null ? null : t.PartOfLimit(limits);
            rows.Add([t.Name, Format.Count(t.Calls), Number(t.Milliseconds), Format.Percent(t.Milliseconds / milliseconds),
                t.Flops > 0 ? Number(t.GigaflopsPerSecond) : "", Number(t.GigabytesPerSecond), part is { } p ? Format.Percent(p) : ""]);
            json.Add((JsonNode)new JsonObject
            {
                ["operation"] = t.Name,
                ["calls"] = t.Calls,
                ["milliseconds"] = t.Milliseconds,
                ["share"] = t.Milliseconds / milliseconds,
                ["gigaflops_per_second"] = t.GigaflopsPerSecond,
                ["gigabytes_per_second"] = t.GigabytesPerSecond,
                ["part_of_limit"] = part,
            });
        }
        double rest = milliseconds - times.Sum(static t => t.Milliseconds);
        rows.Add(["outside operations", "", Number(rest), Format.Percent(rest / milliseconds), "", "", ""]);
        terminal.Line();
        terminal.Table(["operation", "calls", "ms", "share", "GF/s", "GB/s", "of limit"], rows);
        if (limits is not null)
            terminal.Line(string.Create(CultureInfo.InvariantCulture, $"Limits sampled now: {limits.GigaflopsPerSecond:0} GF/s of multiply-adds, {limits.GigabytesPerSecond:0} GB/s of copying. More than 100 % of the limit: the data came from caches."));
        return new JsonObject
        {
            ["milliseconds"] = milliseconds,
            ["limit_gigaflops_per_second"] = limits?.GigaflopsPerSecond,
            ["limit_gigabytes_per_second"] = limits?.GigabytesPerSecond,
            ["operations"] = json,
        };
    }

    private static JsonObject EndCard(ICardProfile card, Terminal terminal, double milliseconds)
    {
        List<IReadOnlyList<string>> rows = [];
        JsonArray json = [];
        double sum = 0;
        foreach (CardKernel t in card.End())
        {
            sum += t.Milliseconds;
            rows.Add([t.Name, Format.Count(t.Launches), Number(t.Milliseconds), Format.Percent(t.Milliseconds / milliseconds)]);
            json.Add((JsonNode)new JsonObject { ["operation"] = t.Name, ["calls"] = t.Launches, ["milliseconds"] = t.Milliseconds, ["share"] = t.Milliseconds / milliseconds });
        }
        rows.Add(["between kernels", "", Number(milliseconds - sum), Format.Percent((milliseconds - sum) / milliseconds)]);
        terminal.Line();
        terminal.Table(["kernel", "launches", "ms", "share"], rows);
        return new JsonObject { ["milliseconds"] = milliseconds, ["operations"] = json };
    }

    private static string Number(double value) => value.ToString(value < 10 ? "0.00" : "0.0", CultureInfo.InvariantCulture);
}
