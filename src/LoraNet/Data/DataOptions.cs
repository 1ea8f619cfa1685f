using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;

namespace LoraNet.Data;

/// <summary>How a data file becomes rows.</summary>
public sealed record DataOptions
{
    /// <summary>Longest row in tokens; longer ones are cut at the end and counted.</summary>
    public int MaxLength { get; init; } = 1024;

    /// <summary>Which text is trained: the answers, the last answer of a conversation, or everything. Plain text is always trained whole.</summary>
    public TrainOn TrainOn { get; init; } = TrainOn.Assistant;

    /// <summary>
    /// The layout of conversations: the name of a built-in template (see <see cref="BuiltInChatTemplates.Names"/>), a file with a Jinja template,
    /// or the template itself; null for the tokenizer's own.
    /// </summary>
    public string? ChatTemplate { get; init; }

    /// <summary>More variables for the chat template, such as <c>enable_thinking</c>.</summary>
    public IReadOnlyDictionary<string, JsonNode?>? TemplateVariables { get; init; }

    /// <summary>Limits and clock of the chat template; null for the defaults.</summary>
    public ChatRenderOptions? TemplateOptions { get; init; }

    /// <summary>
    /// What happens when one token holds both trained and untrained characters of a conversation: false makes it an error; true encodes
    /// the text before and after the boundary separately, as happens when a model is prompted with the first part.
    /// </summary>
    public bool SplitStraddlingTokens { get; init; }

    /// <summary>What is one row of a .txt file.</summary>
    public TextUnit TextUnit { get; init; } = TextUnit.Line;

    /// <summary>Other names for keys: from the name in the file to the name LoraNet knows, such as <c>"score" → "label"</c>.</summary>
    public IReadOnlyDictionary<string, string>? Columns { get; init; }

    /// <summary>Which files of a folder are read; without effect for a single file.</summary>
    public DataSplit Split { get; init; } = DataSplit.Train;

    /// <summary>Share of the rows held out as <see cref="DataSet.Validation"/>, in [0, 1).</summary>
    public double ValidationShare { get; init; }

    /// <summary>Chooses which rows are held out. The same seed and contents give the same rows, in whatever order the file has them.</summary>
    public ulong ValidationSeed { get; init; } = 42;

    /// <summary>Keep rows with the same prompt on one side of the split, so that held-out prompts are new to the model. Equal rows always stay together.</summary>
    public bool KeepPromptsTogether { get; init; }

    /// <summary>What to do with rows that have no trained token after cutting.</summary>
    public UntrainedRows UntrainedRows { get; init; } = UntrainedRows.Error;

    /// <summary>Stop after so many rows; null reads all. For previews of large files.</summary>
    public int? MaxRows { get; init; }

    /// <summary>A folder for tokenised data; null for no cache. See <see cref="TokenCache"/>.</summary>
    public string? CacheDirectory { get; init; }

    /// <summary>Names of the classes in the order of their ids, for labels given as text; null orders the names found.</summary>
    public IReadOnlyList<string>? LabelNames { get; init; }

    /// <summary>Whether a classifier's labels are numbers to predict: true or false, or null to tell by whether any is not whole.</summary>
    public bool? Regression { get; init; }

    /// <summary>Most threads to encode with; 0 for as many as the machine has processors. Results don't depend on it.</summary>
    public int MaxThreads { get; init; }

    /// <summary>
    /// The key whose text names each row's adapter (<c>__base__</c> for none), for training and evaluating several adapters at once;
    /// rows without it use the active ones. Null: no row has one. Such data is not cached.
    /// </summary>
    public string? AdapterColumn { get; init; }

    internal void Validate()
    {
        if (MaxLength < 2) throw new LoraNetException($"--max-length is {MaxLength}; a row needs at least 2 tokens.", "Give a larger number.");
        if (!(ValidationShare is >= 0 and < 1)) throw new LoraNetException(FormattableString.Invariant($"--val-split is {ValidationShare}; it must be in [0, 1)."));
        if (MaxRows is <= 0) throw new LoraNetException($"The number of rows to read is {MaxRows}; it must be positive.");
    }
}

/// <summary>What is one row of a text file.</summary>
public enum TextUnit
{
    /// <summary>A line; blank ones are skipped.</summary>
    Line,

    /// <summary>Lines up to a blank one.</summary>
    Paragraph,

    /// <summary>The whole file, cut into rows of the longest length without losing text.</summary>
    Document,
}

/// <summary>Which files of a folder: named train.*, valid.* (or validation, val, dev, eval) and test.*, also as numbered shards.</summary>
public enum DataSplit
{
    /// <summary>Files named train; where no file has such a name, all files.</summary>
    Train,

    /// <summary>Files named valid, validation, val, dev or eval.</summary>
    Validation,

    /// <summary>Files named test.</summary>
    Test,
}

/// <summary>What to do with rows that have no trained token.</summary>
public enum UntrainedRows
{
    /// <summary>An error that names the first few.</summary>
    Error,

    /// <summary>They are left out and counted.</summary>
    Skip,

    /// <summary>They stay; for evaluation, where they do no harm.</summary>
    Keep,
}
