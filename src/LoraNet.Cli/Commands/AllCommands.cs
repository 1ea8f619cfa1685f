using System.CommandLine;

namespace LoraNet.Cli.Commands;

/// <summary>The commands in the order of --help.</summary>
internal static class AllCommands
{
    /// <summary>Creates them.</summary>
    public static IEnumerable<Command> Create(CommandContext context) =>
    [
        DemoCommand.Create(context),
        TrainCommand.Create(context),
        EvalCommand.Create(context),
        GenerateCommand.Create(context),
        ChatCommand.Create(context),
        MergeCommand.Create(context),
        AdapterCommand.Create(context),
        PlanCommand.Create(context),
        TokenizeCommand.Create(context),
        DataCommand.Create(context),
        BenchCommand.Create(context),
        DoctorCommand.Create(context),
        Schema(context),
    ];

    private static Command Schema(CommandContext context)
    {
        Command command = new("schema", "Print the JSON schema of recipes, for editors.");
        command.SetAction((_, _) =>
        {
            context.Out.Write(Settings.RecipeSchema.Write());
            return Task.FromResult(ExitCodes.Fine);
        });
        return command;
    }

    /// <summary>The flag that every command has.</summary>
    public static Option<bool> JsonOption() => new("--json") { Description = "Print the result as one JSON object on standard output; progress goes to standard error." };
}
