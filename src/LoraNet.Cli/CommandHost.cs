namespace LoraNet.Cli;

/// <summary>What a command sees of the world around it; tests put their own in its place.</summary>
internal sealed record CommandHost
{
    /// <summary>Reads an environment variable; empty counts as unset.</summary>
    public Func<string, string?> Environment { get; init; } = static _ => null;

    /// <summary>Cancelled by Ctrl+C.</summary>
    public CancellationToken Stop { get; init; }

    /// <summary>Whether a person reads standard output, so that colours and redrawn lines are welcome.</summary>
    public bool Interactive { get; init; }

    /// <summary>Standard input, for chat.</summary>
    public TextReader Input { get; init; } = TextReader.Null;

    /// <summary>The process's own surroundings.</summary>
    public static CommandHost ForProcess(CancellationToken stop) => new()
    {
        Environment = static name => System.Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null,
        Stop = stop,
        Interactive = !Console.IsOutputRedirected && System.Environment.GetEnvironmentVariable("NO_COLOR") is not { Length: > 0 } && System.Environment.GetEnvironmentVariable("TERM") != "dumb",
        Input = Console.In,
    };
}
