using LoraNet.Data.Encoders;
using LoraNet.Data.Reading;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data;

/// <summary>Rows ready for training, and what was found on the way.</summary>
/// <param name="Rows">The rows in file order.</param>
/// <param name="Report">Counts.</param>
public sealed record DataSet(IReadOnlyList<TokenRow> Rows, DataReport Report)
{
    private readonly (IReadOnlyList<TokenRow> Rows, IReadOnlyList<RowFacts> Facts) _facts;

    /// <summary>The held-out rows: of <see cref="DataOptions.ValidationShare"/>, or of a folder's validation files; null if there are none.</summary>
    public DataSet? Validation { get; init; }

    /// <summary>
    /// Reads rows from a file or a folder: .jsonl, .json, .csv, .tsv, .txt or .parquet, in the forms of <see cref="DataForm"/>; each row's
    /// form is told by its keys. A folder's files named train, valid and test are its splits. Text is read row by row and tokenised in
    /// parallel; only tokens are kept.
    /// </summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="tokenizer">Needed for text; may be null for pre-tokenised rows.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Stops reading.</param>
    /// <exception cref="LoraNetException">A row is malformed, or has no trained token; the message names file and line.</exception>
    public static DataSet Load(string path, ITokenizer? tokenizer, DataOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new DataOptions();
        options.Validate();
        IReadOnlyList<string> files = DataFiles.Find(path, options.Split);
        if (files.Count == 0) throw new LoraNetException($"The folder {path} has no files of the {options.Split.ToString().ToLowerInvariant()} split.", "Name them train, valid and test, such as train.jsonl.");
        RowLoader loader = new(tokenizer, options, cancellationToken);
        LoadedRows loaded = loader.Load(files);
        if (loaded.Rows.Count == 0 && loaded.LeftOut.Count == 0) throw new LoraNetException($"The data {(files.Count == 1 ? "file" : "folder")} '{path}' has no rows.", "Each sample is one row; see the data forms in the documentation.");
        if (loaded.Rows.Count == 0) throw new LoraNetException($"No row of '{path}' has a trained token.", "Raise --max-length, or check which text is trained.");

        IReadOnlyList<string> held = options.Split == DataSplit.Train && Directory.Exists(path) ? DataFiles.Find(path, DataSplit.Validation) : [];
        if (held.Count > 0 && options.ValidationShare > 0)
            throw new LoraNetException($"The folder {path} has validation data ({Path.GetFileName(held[0])}), and a share of the training data is to be held out too.", "Leave out --val-split, or name the training file alone.");
        if (held.Count > 0)
        {
            LoadedRows validation = loader.Load(held);
            return Create(loaded) with { Validation = validation.Rows.Count > 0 ? Create(validation) : null };
        }
        if (options.ValidationShare == 0) return Create(loaded);
        bool[] isHeld = ValidationSplit.Choose(loaded.Rows, options, path);
        return Create(loaded.Where(i => !isHeld[i])) with { Validation = Create(loaded.Where(i => isHeld[i]) with { LeftOut = [] }) };
    }

    /// <summary>Where a row stands in its file, such as "data.jsonl, line 3".</summary>
    /// <param name="row">Index into <see cref="Rows"/>.</param>
    public string PlaceOf(int row) => ReferenceEquals(_facts.Rows, Rows) ? _facts.Facts[row].Place.ToString() : $"row {row + 1}";

    /// <summary>The row's form, or null for rows that were not loaded here.</summary>
    /// <param name="row">Index into <see cref="Rows"/>.</param>
    public DataForm? FormOf(int row) => ReferenceEquals(_facts.Rows, Rows) ? _facts.Facts[row].Form : null;

    /// <summary>Length before cutting.</summary>
    /// <param name="row">Index into <see cref="Rows"/>.</param>
    public int FullLengthOf(int row) => ReferenceEquals(_facts.Rows, Rows) ? _facts.Facts[row].FullLength : Rows[row].InputIds.Length;

    private DataSet(LoadedRows loaded) : this(loaded.Rows, ReportBuilder.Build(loaded.Rows, loaded.Facts, loaded.LeftOut) with { FromCache = loaded.FromCache }) => _facts = (loaded.Rows, loaded.Facts);

    private static DataSet Create(LoadedRows loaded) => new(loaded);
}
