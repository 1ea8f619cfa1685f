using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Data.Encoders;
using LoraNet.Data.Reading;
using LoraNet.Tokenizers;

namespace LoraNet.Data;

/// <summary>Rows for a classifier: <c>text, text_pair, label</c> (or sentence, sentence1 and sentence2, premise and hypothesis), or <c>input_ids, label</c>.</summary>
/// <param name="Rows">The rows in file order.</param>
/// <param name="LabelNames">Names of the classes by id, where labels are text; else null.</param>
/// <param name="IsRegression">Whether labels are numbers that are not all whole.</param>
/// <param name="Truncated">Rows that were cut.</param>
public sealed record ClassificationSet(IReadOnlyList<ClassificationRow> Rows, IReadOnlyList<string>? LabelNames, bool IsRegression, int Truncated)
{
    /// <summary>Number of classes; 1 for regression.</summary>
    public int Classes => IsRegression ? 1 : LabelNames?.Count ?? (Rows.Count == 0 ? 0 : (int)Rows.Max(r => r.Label) + 1);

    /// <summary>The held-out rows: of <see cref="DataOptions.ValidationShare"/>, or of a folder's validation files; null if there are none.</summary>
    public ClassificationSet? Validation { get; init; }

    /// <summary>Reads rows from a file or folder. Held-out rows have the classes of the training rows.</summary>
    /// <param name="path">The file or folder.</param>
    /// <param name="tokenizer">Needed for text.</param>
    /// <param name="options">Settings; <see cref="DataOptions.LabelNames"/> gives the classes their order.</param>
    /// <exception cref="LoraNetException">A row is malformed; the message names file and line.</exception>
    public static ClassificationSet Load(string path, ITokenizer? tokenizer, DataOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new DataOptions();
        options.Validate();
        IReadOnlyList<string> files = DataFiles.Find(path, options.Split);
        if (files.Count == 0) throw new LoraNetException($"The folder {path} has no files of the {options.Split.ToString().ToLowerInvariant()} split.", "Name them train, valid and test, such as train.jsonl.");
        ClassificationSet set = Read(files, tokenizer, options);
        if (set.Rows.Count == 0) throw new LoraNetException($"'{path}' has no rows.", "Each sample is one row with text and label.");
        IReadOnlyList<string> held = options.Split == DataSplit.Train && Directory.Exists(path) ? DataFiles.Find(path, DataSplit.Validation) : [];
        if (held.Count > 0 && options.ValidationShare > 0)
            throw new LoraNetException($"The folder {path} has validation data ({Path.GetFileName(held[0])}), and a share of the training data is to be held out too.", "Leave out --val-split, or name the training file alone.");
        if (held.Count > 0)
        {
            ClassificationSet validation = Read(held, tokenizer, options with { LabelNames = set.LabelNames, Regression = set.IsRegression });
            return set with { Validation = validation.Rows.Count > 0 ? validation : null };
        }
        if (options.ValidationShare == 0) return set;
        bool[] isHeld = ValidationSplit.Choose(set.Rows, options, path);
        return set with { Rows = [.. set.Rows.Where((_, i) => !isHeld[i])], Validation = set with { Rows = [.. set.Rows.Where((_, i) => isHeld[i])] } };
    }

    private static ClassificationSet Read(IReadOnlyList<string> files, ITokenizer? tokenizer, DataOptions options)
    {
        List<(ClassificationRow Row, JsonNode Label, RowPlace Place)> read = [];
        int truncated = 0;
        foreach (string file in files)
        {
            try
            {
                foreach (SourceRow source in DataFiles.Read(file, options.TextUnit))
                {
                    (ClassificationRow row, bool cut) = Encode(source, tokenizer, options);
                    truncated += cut ? 1 : 0;
                    read.Add((row, source.Fields["label"]!, source.Place));
                    if (read.Count >= options.MaxRows) break;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Formats.FileErrors.Reading(file, e);
            }
        }
        (double[] labels, IReadOnlyList<string>? names, bool regression) = Labels(read, options);
        return new ClassificationSet([.. read.Select((r, i) => r.Row with { Label = labels[i] })], names, regression, truncated);
    }

    private static (ClassificationRow Row, bool Cut) Encode(SourceRow source, ITokenizer? tokenizer, DataOptions options)
    {
        JsonObject row = source.Fields;
        RowPlace place = source.Place;
        switch (FormDetector.Detect(row, place, options.Columns))
        {
            case DataForm.ClassificationTokens:
                int[] ids = Fields.Integers(row, "input_ids", place);
                int[]? mask = Fields.Has(row, "attention_mask") ? Fields.Integers(row, "attention_mask", place) : null;
                int[]? types = Fields.Has(row, "token_type_ids") ? Fields.Integers(row, "token_type_ids", place) : null;
                if ((mask?.Length ?? ids.Length) != ids.Length || (types?.Length ?? ids.Length) != ids.Length)
                    throw new LoraNetException($"{place}: input_ids has {ids.Length} entries, attention_mask {mask?.Length ?? ids.Length}, token_type_ids {types?.Length ?? ids.Length}; they must agree.");
                if (ids.Length == 0) throw new LoraNetException($"{place}: input_ids is empty.");
                bool cut = ids.Length > options.MaxLength;
                return cut ? (new ClassificationRow(ids[..options.MaxLength], mask?[..options.MaxLength], types?[..options.MaxLength], 0), true) : (new ClassificationRow(ids, mask, types, 0), false);
            case DataForm.Classification:
                if (tokenizer is null) throw new LoraNetException($"{place}: text needs a tokenizer, and the model folder has none.", "Add tokenizer.json, or give pre-tokenised rows with input_ids.");
                string text = Fields.Text(row, "text", place);
                return Fields.Has(row, "text_pair") ? Pair(text, Fields.Text(row, "text_pair", place), tokenizer, options.MaxLength, place) : Single(text, tokenizer, options.MaxLength);
            default:
                throw new LoraNetException($"{place}: the row has no label; its keys are {string.Join(", ", row.Select(p => p.Key))}.", "A classifier needs text (and text_pair) or input_ids, with label.");
        }
    }

    private static (ClassificationRow Row, bool Cut) Single(string text, ITokenizer tokenizer, int longest)
    {
        int[] ids = tokenizer.Encode(text);
        if (ids.Length <= longest) return (new ClassificationRow(ids, null, null, 0), false);
        ids = tokenizer is Tokenizer t ? t.Truncate(ids, new TokenizerTruncation(longest)) : ids[..longest];
        return (new ClassificationRow(ids, null, null, 0), true);
    }

    // The longer text gives way first, token by token, as Hugging Face's "longest first" does.
    private static (ClassificationRow Row, bool Cut) Pair(string first, string second, ITokenizer tokenizer, int longest, RowPlace place)
    {
        if (tokenizer is not Tokenizer t) throw new LoraNetException($"{place}: this tokenizer can't encode pairs of texts.");
        int[] ids = t.EncodePair(first, second, out int[] types);
        if (ids.Length <= longest) return (new ClassificationRow(ids, null, types, 0), false);
        int a = t.EncodeWithWholeSpans(first, out TokenSpan[] firstSpans).Length, b = t.EncodeWithWholeSpans(second, out TokenSpan[] secondSpans).Length;
        int keepA = a, keepB = b;
        while (ids.Length > longest && keepA + keepB > 0)
        {
            int excess = ids.Length - longest;
            for (int i = 0; i < excess && keepA + keepB > 0; i++)
            {
                if (keepA > keepB) keepA--;
                else keepB--;
            }
            ids = t.EncodePair(keepA == 0 ? "" : first[..firstSpans[keepA - 1].End], keepB == 0 ? "" : second[..secondSpans[keepB - 1].End], out types);
        }
        return (new ClassificationRow(ids, null, types, 0), true);
    }

    private static (double[] Labels, IReadOnlyList<string>? Names, bool Regression) Labels(List<(ClassificationRow Row, JsonNode Label, RowPlace Place)> rows, DataOptions options)
    {
        IReadOnlyList<string>? given = options.LabelNames;
        string[] texts = new string[rows.Count];
        bool anyText = given is not null;
        for (int i = 0; i < rows.Count; i++)
        {
            JsonNode label = rows[i].Label;
            texts[i] = label.GetValueKind() switch
            {
                JsonValueKind.String => label.GetValue<string>(),
                JsonValueKind.Number => label.ToJsonString(),
                JsonValueKind.True => "1",
                JsonValueKind.False => "0",
                _ => throw new LoraNetException($"{rows[i].Place}: 'label' must be a class or a number, but is {Fields.Describe(label)}."),
            };
            anyText |= !Number(texts[i], out _);
        }
        if (anyText && options.Regression == true)
        {
            int text = Array.FindIndex(texts, t => !Number(t, out _));
            if (text >= 0) throw new LoraNetException($"{rows[text].Place}: label '{texts[text]}' is no number, which a regression needs.");
            anyText = false;
        }
        if (anyText)
        {
            List<string> names = given is not null ? [.. given] : [.. texts.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
            double[] ids = new double[texts.Length];
            for (int i = 0; i < ids.Length; i++)
            {
                int id = names.IndexOf(texts[i]);
                // Ids are as good as names where the names are known.
                if (id < 0 && given is not null && Number(texts[i], out double number) && number == Math.Floor(number) && number >= 0 && number < names.Count) id = (int)number;
                ids[i] = id >= 0 ? id : throw new LoraNetException($"{rows[i].Place}: label '{texts[i]}' is none of {string.Join(", ", names)}.");
            }
            return (ids, names, false);
        }
        double[] values = [.. texts.Select(t => Number(t, out double v) ? v : 0)];
        if (options.Regression ?? values.Any(v => v != Math.Floor(v))) return (values, null, true);
        int bad = Array.FindIndex(values, v => v != Math.Floor(v) || v is < 0 or >= 1 << 20);
        if (bad >= 0) throw new LoraNetException($"{rows[bad].Place}: label {texts[bad]} can't be a class.", "Classes are counted from 0; numbers to predict must not all be whole.");
        return (values, null, false);
    }

    private static bool Number(string text, out double value) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);
}
