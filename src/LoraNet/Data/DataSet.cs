using System.Text.Json;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data;

/// <summary>Rows ready for training, and what was found on the way.</summary>
/// <param name="Rows">The rows in file order.</param>
/// <param name="Report">Counts.</param>
public sealed record DataSet(IReadOnlyList<TokenRow> Rows, DataReport Report)
{
    /// <summary>Reads a JSONL file: pre-tokenised rows (<c>input_ids, labels, attention_mask</c>), <c>text</c>, or <c>prompt</c> and <c>completion</c>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tokenizer">Needed for text; may be null for pre-tokenised rows.</param>
    /// <param name="options">Settings.</param>
    /// <exception cref="LoraNetException">A line is malformed; the message names file and line.</exception>
    public static DataSet Load(string path, ITokenizer? tokenizer, DataOptions? options = null)
    {
        options ??= new DataOptions();
        if (!File.Exists(path)) throw new LoraNetException($"The data file '{path}' does not exist.");
        List<TokenRow> rows = [];
        int truncated = 0, number = 0;
        foreach (string line in File.ReadLines(path))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            TokenRow row = ReadLine(line, $"{path}, line {number}", tokenizer);
            if (row.InputIds.Length > options.MaxLength)
            {
                truncated++;
                row = new TokenRow(row.InputIds[..options.MaxLength], row.Labels[..options.MaxLength], row.AttentionMask?[..options.MaxLength]);
            }
            rows.Add(row);
        }
        if (rows.Count == 0) throw new LoraNetException($"The data file '{path}' has no rows.");
        return new DataSet(rows, new DataReport
        {
            Rows = rows.Count,
            Truncated = truncated,
            Tokens = rows.Sum(r => (long)r.InputIds.Length),
            TrainedTokens = rows.Sum(r => (long)r.TrainedTokens),
            Longest = rows.Max(r => r.InputIds.Length),
        });
    }

    private static TokenRow ReadLine(string line, string where, ITokenizer? tokenizer)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object) throw new LoraNetException($"{where}: a row must be a JSON object.");
            if (root.TryGetProperty("input_ids", out JsonElement ids)) return Pretokenized(root, ids, where);
            if (root.TryGetProperty("prompt", out JsonElement prompt) && root.TryGetProperty("completion", out JsonElement completion))
                return PromptCompletion(Text(prompt, "prompt", where), Text(completion, "completion", where), Require(tokenizer, where));
            if (root.TryGetProperty("text", out JsonElement text)) return PlainText(Text(text, "text", where), Require(tokenizer, where));
            throw new LoraNetException($"{where}: no known form; keys are {string.Join(", ", root.EnumerateObject().Select(p => p.Name))}.", "Use input_ids, text, or prompt and completion.");
        }
        catch (JsonException e)
        {
            throw new LoraNetException($"{where}: not valid JSON: {e.Message}", inner: e);
        }
    }

    private static ITokenizer Require(ITokenizer? tokenizer, string where) =>
        tokenizer ?? throw new LoraNetException($"{where}: text needs a tokenizer, and the model folder has none.", "Add tokenizer.json, or give pre-tokenised rows with input_ids.");

    private static TokenRow Pretokenized(JsonElement root, JsonElement ids, string where)
    {
        int[] inputs = Integers(ids, "input_ids", where);
        int[] labels = root.TryGetProperty("labels", out JsonElement l) ? Integers(l, "labels", where) : (int[])inputs.Clone();
        int[]? mask = root.TryGetProperty("attention_mask", out JsonElement m) ? Integers(m, "attention_mask", where) : null;
        if (labels.Length != inputs.Length || (mask is not null && mask.Length != inputs.Length))
            throw new LoraNetException($"{where}: input_ids has {inputs.Length} entries, labels {labels.Length}, attention_mask {mask?.Length ?? inputs.Length}; they must agree.");
        return new TokenRow(inputs, labels, mask);
    }

    private static TokenRow PlainText(string text, ITokenizer tokenizer)
    {
        List<int> ids = [.. tokenizer.Encode(text)];
        if (tokenizer.EosId is { } eos && (ids.Count == 0 || ids[^1] != eos)) ids.Add(eos);
        return new TokenRow([.. ids], [.. ids]);
    }

    private static TokenRow PromptCompletion(string prompt, string completion, ITokenizer tokenizer)
    {
        // Tokenised separately, so that the boundary is the same whatever the completion.
        int[] first = tokenizer.Encode(prompt);
        List<int> second = [.. tokenizer.Encode(completion, addSpecialTokens: false)];
        if (tokenizer.EosId is { } eos)
        {
            if (first.Length > 0 && first[^1] == eos) first = first[..^1];
            if (second.Count == 0 || second[^1] != eos) second.Add(eos);
        }
        return new TokenRow([.. first, .. second], [.. Enumerable.Repeat(TokenRow.Ignored, first.Length), .. second]);
    }

    private static string Text(JsonElement element, string key, string where) =>
        element.ValueKind == JsonValueKind.String ? element.GetString()! : throw new LoraNetException($"{where}: '{key}' must be a string.");

    private static int[] Integers(JsonElement element, string key, string where)
    {
        if (element.ValueKind != JsonValueKind.Array) throw new LoraNetException($"{where}: '{key}' must be an array of integers.");
        int[] values = new int[element.GetArrayLength()];
        int i = 0;
        foreach (JsonElement item in element.EnumerateArray())
            values[i++] = item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int v) ? v : throw new LoraNetException($"{where}: '{key}' must be an array of integers.");
        return values;
    }
}
