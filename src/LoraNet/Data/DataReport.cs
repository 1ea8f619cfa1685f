using System.Globalization;
using System.Text.Json.Nodes;

namespace LoraNet.Data;

/// <summary>What was found in a data set, shown before training: wrong tokens or masks train silently wrong.</summary>
public sealed record DataReport
{
    /// <summary>Rows, those left out not counted.</summary>
    public int Rows { get; init; }

    /// <summary>Rows cut to the longest length.</summary>
    public int Truncated { get; init; }

    /// <summary>Tokens that cutting took away.</summary>
    public long TokensCut { get; init; }

    /// <summary>Tokens of all rows.</summary>
    public long Tokens { get; init; }

    /// <summary>Trained tokens of all rows.</summary>
    public long TrainedTokens { get; init; }

    /// <summary>Length of the longest row.</summary>
    public int Longest { get; init; }

    /// <summary>How many rows have each form.</summary>
    public IReadOnlyDictionary<DataForm, int> Forms { get; init; } = new Dictionary<DataForm, int>();

    /// <summary>Rows without a trained token: left out, or kept if the options say so.</summary>
    public int Untrained { get; init; }

    /// <summary>Where the first rows without a trained token stand, at most ten.</summary>
    public IReadOnlyList<string> UntrainedPlaces { get; init; } = [];

    /// <summary>Rows of which an answer has no text.</summary>
    public int EmptyAnswers { get; init; }

    /// <summary>Rows that equal an earlier one, token for token.</summary>
    public int Duplicates { get; init; }

    /// <summary>Tokens that stand for text the vocabulary does not have.</summary>
    public long UnknownTokens { get; init; }

    /// <summary>Rows that began with two start tokens. In rows made from text one of them was removed.</summary>
    public int DoubledBos { get; init; }

    /// <summary>Where the first rows with two start tokens stand, at most ten.</summary>
    public IReadOnlyList<string> DoubledBosPlaces { get; init; } = [];

    /// <summary>Rows with an end token among their last three trained tokens (layouts may train a line break behind it): without them a model does not learn to stop.</summary>
    public int EndInEos { get; init; }

    /// <summary>Rows by length: ascending ranges of equal width, without gaps.</summary>
    public IReadOnlyList<LengthBucket> Lengths { get; init; } = [];

    /// <summary>Whether the tokens came from the cache.</summary>
    public bool FromCache { get; init; }

    /// <summary>Share of unknown tokens, in [0, 1].</summary>
    public double UnknownShare => Tokens == 0 ? 0 : UnknownTokens / (double)Tokens;

    /// <summary>Share of rows that end in a trained end token, in [0, 1].</summary>
    public double EosShare => Rows == 0 ? 0 : EndInEos / (double)Rows;

    /// <summary>What deserves attention, one sentence each; empty when all is well.</summary>
    public IReadOnlyList<string> Warnings
    {
        get
        {
            List<string> found = [];
            if (Truncated > 0) found.Add(Text($"{Truncated} of {Rows} rows were cut to the longest length, {TokensCut} tokens in all; --max-length sets it."));
            if (Untrained > 0) found.Add(Text($"{Untrained} rows have no trained token ({string.Join("; ", UntrainedPlaces.Take(3))}{(Untrained > 3 ? "; …" : "")})."));
            if (EmptyAnswers > 0) found.Add(Text($"{EmptyAnswers} rows have an empty answer."));
            if (Duplicates > 0) found.Add(Text($"{Duplicates} rows equal an earlier one."));
            if (UnknownTokens > 0) found.Add(Text($"{UnknownTokens} tokens ({100 * UnknownShare:0.##} %) stand for text the vocabulary does not have."));
            if (DoubledBos > 0) found.Add(Text($"{DoubledBos} rows began with two start tokens ({string.Join("; ", DoubledBosPlaces.Take(3))}{(DoubledBos > 3 ? "; …" : "")})."));
            // Windows of a long text end nowhere, and given tokens are the user's own affair.
            int answers = Rows - Forms.GetValueOrDefault(DataForm.Tokens) - Forms.GetValueOrDefault(DataForm.Text);
            if (EndInEos < answers / 2.0) found.Add(Text($"Only {100 * EosShare:0.#} % of the rows end in a trained end token: the model may not learn to stop."));
            if (Forms.Count > 1) found.Add(Text($"The data has rows of several forms: {string.Join(", ", Forms.Select(f => $"{f.Key} {f.Value}"))}."));
            return found;
        }
    }

    /// <summary>The report for machines.</summary>
    public JsonObject ToJson() => new()
    {
        ["rows"] = Rows,
        ["tokens"] = Tokens,
        ["trained_tokens"] = TrainedTokens,
        ["longest"] = Longest,
        ["truncated"] = Truncated,
        ["tokens_cut"] = TokensCut,
        ["forms"] = new JsonObject(Forms.Select(f => KeyValuePair.Create(f.Key.ToString(), (JsonNode?)f.Value))),
        ["untrained"] = Untrained,
        ["untrained_places"] = Strings(UntrainedPlaces),
        ["empty_answers"] = EmptyAnswers,
        ["duplicates"] = Duplicates,
        ["unknown_tokens"] = UnknownTokens,
        ["unknown_share"] = UnknownShare,
        ["doubled_bos"] = DoubledBos,
        ["doubled_bos_places"] = Strings(DoubledBosPlaces),
        ["end_in_eos"] = EndInEos,
        ["eos_share"] = EosShare,
        ["lengths"] = new JsonArray([.. Lengths.Select(b => (JsonNode)new JsonObject { ["from"] = b.From, ["to"] = b.To, ["rows"] = b.Rows })]),
        ["from_cache"] = FromCache,
        ["warnings"] = Strings(Warnings),
    };

    private static JsonArray Strings(IEnumerable<string> texts) => new([.. texts.Select(t => (JsonNode)JsonValue.Create(t))]);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Rows with a length in a range.</summary>
/// <param name="From">Shortest length.</param>
/// <param name="To">Longest length, inclusive.</param>
/// <param name="Rows">How many rows.</param>
public sealed record LengthBucket(int From, int To, int Rows);
