using System.Text.Json.Nodes;
using LoraNet.Data.Reading;

namespace LoraNet.Data.Encoders;

/// <summary>Tells a row's form by its keys, and renames keys that other data sets use for the same thing.</summary>
internal static class FormDetector
{
    private const string Known = "text; prompt and completion; messages; instruction and output (Alpaca); conversations (ShareGPT); input_ids; or, for classifiers, text and label";

    // Names of published data sets for what LoraNet calls otherwise.
    private static readonly (string[] Theirs, string[] Ours)[] _aliases =
    [
        (["instruction", "response"], ["instruction", "output"]),
        (["prompt", "response"], ["prompt", "completion"]),
        (["question", "answer"], ["prompt", "completion"]),
        (["conversation"], ["conversations"]),
        (["sentence1", "sentence2", "label"], ["text", "text_pair", "label"]),
        (["premise", "hypothesis", "label"], ["text", "text_pair", "label"]),
        (["sentence", "label"], ["text", "label"]),
        (["input", "output"], ["prompt", "completion"]),
    ];

    /// <summary>The form, with the row's keys renamed to the ones this form uses.</summary>
    /// <exception cref="LoraNetException">No form fits; the message lists the row's keys.</exception>
    public static DataForm Detect(JsonObject row, RowPlace place, IReadOnlyDictionary<string, string>? columns)
    {
        foreach ((string from, string to) in columns ?? new Dictionary<string, string>())
        {
            if (!row.ContainsKey(from)) continue;
            if (from != to && Fields.Has(row, to)) throw new LoraNetException($"{place}: '{from}' is to be read as '{to}', but the row has a '{to}' too.");
            Rename(row, from, to);
        }
        if (TryDetect(row) is { } form) return form;
        foreach ((string[] theirs, string[] ours) in _aliases)
        {
            if (!theirs.All(k => Fields.Has(row, k))) continue;
            for (int i = 0; i < theirs.Length; i++) Rename(row, theirs[i], ours[i]);
            return TryDetect(row)!.Value;
        }
        string keys = string.Join(", ", row.Select(p => p.Value is null ? p.Key + " (null)" : p.Key));
        if (Fields.Has(row, "chosen") || Fields.Has(row, "rejected"))
            throw new LoraNetException($"{place}: a row of preferences, which LoraNet can't train on; its keys are {keys}.", $"Give one answer for each row. Known forms: {Known}.");
        throw new LoraNetException($"{place}: no known form; the row's keys are {(keys.Length == 0 ? "none" : keys)}.", $"Known forms: {Known}. Rename keys that have other names.");
    }

    private static DataForm? TryDetect(JsonObject row)
    {
        if (Fields.Has(row, "input_ids")) return Fields.Has(row, "label") && !Fields.Has(row, "labels") ? DataForm.ClassificationTokens : DataForm.Tokens;
        if (Fields.Has(row, "messages")) return DataForm.Messages;
        if (Fields.Has(row, "conversations")) return DataForm.ShareGpt;
        if (Fields.Has(row, "prompt") && Fields.Has(row, "completion")) return DataForm.PromptCompletion;
        if (Fields.Has(row, "instruction") && Fields.Has(row, "output")) return DataForm.Alpaca;
        if (Fields.Has(row, "text")) return Fields.Has(row, "label") ? DataForm.Classification : DataForm.Text;
        return null;
    }

    private static void Rename(JsonObject row, string from, string to)
    {
        if (from == to) return;
        JsonNode? value = row[from];
        row.Remove(from);
        row[to] = value;
    }
}
