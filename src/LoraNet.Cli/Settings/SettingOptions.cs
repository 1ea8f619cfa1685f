using System.CommandLine;
using System.CommandLine.Parsing;

namespace LoraNet.Cli.Settings;

/// <summary>Settings as flags of a command.</summary>
internal static class SettingOptions
{
    /// <summary>Adds one flag for each setting, and <c>-c</c> for a recipe.</summary>
    public static void AddTo(Command command, IReadOnlyList<Setting> settings, bool recipe)
    {
        foreach (Setting setting in settings) command.Add(Create(setting));
        if (recipe) command.Add(new Option<string>("--config-file", "-c") { Description = "A recipe: a YAML file of these settings.", HelpName = "RECIPE" });
    }

    /// <summary>
    /// The values in force: flags, then the environment, then the recipe (<paramref name="recipe"/>, or the one named by <c>-c</c>).
    /// </summary>
    public static SettingValues Read(ParseResult parse, CommandHost host, IReadOnlyList<Setting> settings, Func<SettingValues, string?>? recipe = null)
    {
        SettingValues values = new(settings);
        foreach (Setting setting in settings)
        {
            if (parse.GetResult(setting.Flag) is not OptionResult { Implicit: false } option) continue;
            string origin = option.IdentifierToken?.Value ?? setting.Flag;
            values.Add(setting.Name, setting.Kind == SettingKind.Switch && option.Tokens.Count == 0 ? "true" : string.Join(',', option.Tokens.Select(t => t.Value)), origin);
        }
        foreach (Setting setting in settings)
            if (host.Environment(setting.Variable) is { } text) values.Add(setting.Name, text, setting.Variable);
        string? path = parse.GetResult("--config-file") is OptionResult { Implicit: false } file ? file.Tokens[0].Value : recipe?.Invoke(values);
        if (path is not null) RecipeReader.Read(path, values);
        return values;
    }

    private static Option Create(Setting setting)
    {
        string[] aliases = setting.Short is null ? [] : [setting.Short];
        string description = setting.Description
            + (setting.Choices.Count > 0 ? $" One of {string.Join(", ", setting.Choices)}." : "")
            + (setting.Default is not null ? $" Default {setting.Default}." : "");
        return setting.Kind switch
        {
            SettingKind.Switch => new Option<bool>(setting.Flag, aliases) { Description = description },
            SettingKind.List => new Option<string[]>(setting.Flag, aliases) { Description = description, HelpName = "A,B", AllowMultipleArgumentsPerToken = true, Arity = ArgumentArity.OneOrMore },
            _ => new Option<string>(setting.Flag, aliases) { Description = description, HelpName = setting.Kind is SettingKind.Integer or SettingKind.Number ? "N" : setting.Kind == SettingKind.Json ? "JSON" : "VALUE" },
        };
    }
}
