namespace LoraNet.Cli.Settings;

/// <summary>What a setting's value looks like.</summary>
internal enum SettingKind
{
    /// <summary>Any text.</summary>
    Text,
    /// <summary>A whole number.</summary>
    Integer,
    /// <summary>A number.</summary>
    Number,
    /// <summary>true or false; as a flag the value may be left out.</summary>
    Switch,
    /// <summary>One of a few words.</summary>
    Choice,
    /// <summary>Texts separated by commas.</summary>
    List,
    /// <summary>A JSON object.</summary>
    Json,
}

/// <summary>
/// One thing that can be set: as the flag <c>--name</c>, as <c>LORANET_NAME</c> in the environment and as <c>name</c> in a recipe.
/// </summary>
/// <param name="Name">Its name in kebab-case.</param>
/// <param name="Kind">What its value looks like.</param>
/// <param name="Section">The recipe section it is written under.</param>
/// <param name="Description">One sentence for --help and for the recipe schema.</param>
internal sealed record Setting(string Name, SettingKind Kind, string Section, string Description)
{
    /// <summary>The words of a <see cref="SettingKind.Choice"/>.</summary>
    public IReadOnlyList<string> Choices { get; init; } = [];

    /// <summary>Other spellings that recipes may use, from other trainers.</summary>
    public IReadOnlyList<string> RecipeAliases { get; init; } = [];

    /// <summary>A short flag such as <c>-o</c>, or null.</summary>
    public string? Short { get; init; }

    /// <summary>Its value when nothing sets it, for --help and the schema; null when there is none.</summary>
    public string? Default { get; init; }

    /// <summary>The environment variable.</summary>
    public string Variable => "LORANET_" + Name.Replace('-', '_').ToUpperInvariant();

    /// <summary>The flag.</summary>
    public string Flag => "--" + Name;
}
