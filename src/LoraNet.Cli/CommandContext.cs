using LoraNet.Cli.Output;

namespace LoraNet.Cli;

/// <summary>What every command is given: where results and errors go, and its surroundings.</summary>
/// <param name="Out">Standard output.</param>
/// <param name="Error">Standard error.</param>
/// <param name="Host">Environment, cancellation, terminal.</param>
internal sealed record CommandContext(TextWriter Out, TextWriter Error, CommandHost Host)
{
    /// <summary>The terminal as this command uses it.</summary>
    /// <param name="json">Whether <c>--json</c> was given: then people's text goes to standard error.</param>
    public Terminal Terminal(bool json) => new(Out, Error, json, Host.Interactive && !json);
}
