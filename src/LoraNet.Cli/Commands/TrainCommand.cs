using System.CommandLine;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet train</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CommandContext context)
    {
        Command command = new("train", "Train an adapter: --model, --data and --output; everything else has a default.");
        SettingOptions.AddTo(command, TrainSettings.All, recipe: true);
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) =>
        {
            SettingValues values = SettingOptions.Read(parse, context.Host, TrainSettings.All, ResolvedRecipe);
            return new TrainJob(values, context.Terminal(parse.GetValue(json)), context.Host).RunAsync();
        });
        return command;
    }

    // A run is resumed with the settings it was started with, so that --output and --resume are enough.
    private static string? ResolvedRecipe(SettingValues values)
    {
        if (!values.Switch("resume") || values.Text("output") is not { } output) return null;
        string path = Path.Combine(output, "recipe.resolved.yaml");
        return File.Exists(path) ? path : null;
    }
}
