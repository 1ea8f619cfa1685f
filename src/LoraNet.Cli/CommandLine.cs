using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Reflection;
using LoraNet.Cli.Commands;
using LoraNet.Formats;

namespace LoraNet.Cli;

/// <summary>The command's entry point: builds the commands, parses, runs one, and turns exceptions into exit codes.</summary>
internal static class CommandLine
{
    /// <summary>The version of this build.</summary>
    public static string Version { get; } = typeof(CommandLine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>Runs the command in this process.</summary>
    /// <param name="args">Arguments after the command's name.</param>
    /// <param name="stdout">Results.</param>
    /// <param name="stderr">Errors, and progress when <c>--json</c> is given.</param>
    /// <param name="host">Environment, cancellation and terminal; null for none.</param>
    /// <returns>The exit code.</returns>
    public static int Run(IReadOnlyList<string> args, TextWriter stdout, TextWriter stderr, CommandHost? host = null)
    {
        host ??= new CommandHost();
        RootCommand root = Build(stdout, stderr, host);
        ParseResult result = root.Parse(args, new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null });
        try
        {
            if (result.Action is not System.CommandLine.Help.HelpAction && ParseError(result) is { } error) throw error;
            InvocationConfiguration configuration = new() { Output = stdout, Error = stderr, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
            return Task.Run(() => result.InvokeAsync(configuration)).GetAwaiter().GetResult();
        }
        catch (LoraNetException e)
        {
            stderr.WriteLine($"error: {e.Message}");
            return ExitCodes.UserError;
        }
        catch (OperationCanceledException)
        {
            return ExitCodes.Interrupted;
        }
        catch (Exception e)
        {
            stderr.WriteLine($"error: {e.Message}");
            stderr.WriteLine(host.Environment("LORANET_DEBUG") is null ? "       This is a fault of the program or the machine. Set LORANET_DEBUG=1 to see where it happened." : e.ToString());
            return ExitCodes.Failure;
        }
    }

    /// <summary>All commands.</summary>
    internal static RootCommand Build(TextWriter stdout, TextWriter stderr, CommandHost host)
    {
        RootCommand root = new("LoRA fine-tuning of language models in pure managed .NET.");
        CommandContext context = new(stdout, stderr, host);
        foreach (Command command in AllCommands.Create(context)) root.Add(command);
        foreach (Option option in root.Options)
            if (option is VersionOption version) version.Action = new PrintVersion(stdout);
        root.SetAction(_ => Task.FromException<int>(new LoraNetException("Name a command.", "'loranet --help' lists them; 'loranet demo' shows what it does.")));
        return root;
    }

    private static LoraNetException? ParseError(ParseResult result)
    {
        Command command = result.CommandResult.Command;
        List<string> flags = [.. command.Options.SelectMany(o => o.Aliases.Append(o.Name))];
        // A flag that looks unknown to the parser becomes the value of the flag before it, so values are looked at too.
        foreach (Token token in result.Tokens)
        {
            if (token.Type != TokenType.Argument || !token.Value.StartsWith("--", StringComparison.Ordinal) || FreeText(result, token)) continue;
            return UnknownFlag(command, token.Value, flags);
        }
        foreach (string token in result.UnmatchedTokens)
        {
            if (token.StartsWith('-')) return UnknownFlag(command, token, flags);
            if (command.Subcommands.Count > 0 && command.Arguments.Count == 0)
            {
                IReadOnlyList<string> near = NearestNames.Find(token, command.Subcommands.Select(c => c.Name), 2);
                return new LoraNetException($"'{token}' is not a command of {Path(command)}.", near.Count > 0 ? $"Nearest: {string.Join(", ", near)}." : $"Commands: {string.Join(", ", command.Subcommands.Select(c => c.Name))}.");
            }
            return new LoraNetException(
                $"'{token}' is not expected here.",
                token.Contains(' ', StringComparison.Ordinal) ? $"Put its flag before it. '{Path(command)} --help' lists the flags." : $"Quote a value that contains spaces. '{Path(command)} --help' lists the flags.");
        }
        if (result.Errors.Count == 0) return null;
        return new LoraNetException(result.Errors[0].Message, $"'{Path(command)} --help' lists the flags.");
    }

    private static bool FreeText(ParseResult result, Token token) =>
        result.CommandResult.Command.Options.Any(o => o.Name is "--text" or "--prompt" or "--stop" or "--system" && result.GetResult(o)?.Tokens.Contains(token) == true);

    private static LoraNetException UnknownFlag(Command command, string token, List<string> flags)
    {
        string name = token.Split('=')[0];
        IReadOnlyList<string> near = NearestNames.Find(name, flags, 2);
        return new LoraNetException($"Unknown flag {name} of '{Path(command)}'.", near.Count > 0 ? $"Nearest: {string.Join(", ", near)}." : $"'{Path(command)} --help' lists the flags.");
    }

    private static string Path(Command command)
    {
        List<string> names = [];
        for (Symbol? c = command; c is Command and not RootCommand; c = c.Parents.FirstOrDefault()) names.Insert(0, c.Name);
        return string.Join(' ', names.Prepend("loranet"));
    }

    private sealed class PrintVersion(TextWriter stdout) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            stdout.WriteLine(Version);
            return ExitCodes.Fine;
        }
    }
}
