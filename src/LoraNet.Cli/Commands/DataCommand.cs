using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using LoraNet.Cli.Output;
using LoraNet.Cli.Settings;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet data preview</c>: the first samples decoded with their trained tokens marked, and the lengths.</summary>
internal static class DataCommand
{
    private const string Open = "⟦", Close = "⟧";

    private static readonly IReadOnlyList<Setting> _settings =
        [.. TrainSettings.Some("model", "data", "max-length", "train-on"), new("samples", SettingKind.Integer, "data", "Samples to show.") { Default = "3" }];

    public static Command Create(CommandContext context)
    {
        Command data = new("data", "Look into training data.");
        Command preview = new("preview", "Show the first samples with trained tokens marked, and the lengths of all.");
        SettingOptions.AddTo(preview, _settings, recipe: true);
        Option<bool> json = AllCommands.JsonOption();
        preview.Add(json);
        preview.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)))));
        data.Add(preview);
        return data;
    }

    private static int Run(SettingValues values, Terminal terminal)
    {
        string folder = values.Required("model"), path = values.Required("data");
        if (!Directory.Exists(folder)) throw new LoraNetException($"The model folder {folder} does not exist.", "Give a folder with config.json and a tokenizer.");
        if (values.Text("train-on") is "last" or "all") throw values.Error("train-on", $"--train-on {values.Text("train-on")} is not supported yet.", "Use rows with labels of their own.");
        ModelConfig config = ModelConfig.Load(folder);
        Tokenizer? tokenizer = ModelFolder.Tokenizer(folder);
        DataSet data = DataSet.Load(path, tokenizer, new DataOptions { MaxLength = values.Integer("max-length") ?? Math.Min(2048, config.MaxPositionEmbeddings), UntrainedRows = UntrainedRows.Keep });
        HashSet<int> ends = [.. config.EosTokenIds, .. tokenizer?.EndIds ?? []];
        int ending = data.Rows.Count(r => r.InputIds.Length > 0 && ends.Contains(r.InputIds[^1]) && r.Labels[^1] != TokenRow.Ignored), untrained = data.Rows.Count(r => r.TrainedTokens == 0);
        int shown = Math.Clamp(values.Integer("samples") ?? 3, 0, data.Rows.Count);
        JsonArray samples = [];
        for (int i = 0; i < shown; i++)
        {
            TokenRow row = data.Rows[i];
            string text = Marked(row, tokenizer);
            terminal.Line($"sample {i + 1}: {row.InputIds.Length} tokens, {row.TrainedTokens} trained (between {Open} and {Close})");
            terminal.Line(text);
            terminal.Line();
            samples.Add(new JsonObject { ["tokens"] = row.InputIds.Length, ["trained_tokens"] = row.TrainedTokens, ["marked"] = text });
        }
        List<(int From, int To, int Count)> histogram = Histogram(data.Rows);
        int most = histogram.Max(h => h.Count);
        terminal.Table(["tokens", "rows", ""], [.. histogram.Select(h => (IReadOnlyList<string>)[h.From == h.To ? $"{h.From}" : $"{h.From}-{h.To}", Format.Count(h.Count), new string('#', (int)Math.Ceiling(40.0 * h.Count / most))])]);
        terminal.Line($"{Format.Count(data.Rows.Count)} rows, {Format.Count(data.Report.Tokens)} tokens, {Format.Count(data.Report.TrainedTokens)} trained; longest {data.Report.Longest}; {data.Report.Truncated} cut.");
        terminal.Line($"{Format.Percent(ending / (double)data.Rows.Count)} of the samples end in a trained end-of-sequence token.");
        if (untrained > 0) terminal.Warn($"{untrained} rows have no trained token; training refuses them.");
        terminal.Result(new JsonObject
        {
            ["rows"] = data.Rows.Count,
            ["tokens"] = data.Report.Tokens,
            ["trained_tokens"] = data.Report.TrainedTokens,
            ["longest"] = data.Report.Longest,
            ["truncated"] = data.Report.Truncated,
            ["rows_without_trained_tokens"] = untrained,
            ["share_ending_in_trained_eos"] = ending / (double)data.Rows.Count,
            ["histogram"] = new JsonArray([.. histogram.Select(h => new JsonObject { ["from"] = h.From, ["to"] = h.To, ["rows"] = h.Count })]),
            ["samples"] = samples,
        });
        return ExitCodes.Fine;
    }

    private static string Marked(TokenRow row, Tokenizer? tokenizer)
    {
        StringBuilder text = new();
        for (int start = 0; start < row.InputIds.Length;)
        {
            bool trained = row.Labels[start] != TokenRow.Ignored;
            int end = start;
            while (end < row.InputIds.Length && row.Labels[end] != TokenRow.Ignored == trained) end++;
            string part = tokenizer is null ? string.Join(' ', row.InputIds[start..end]) : tokenizer.Decode(row.InputIds.AsSpan(start, end - start), skipSpecialTokens: false);
            text.Append(trained ? Open + part + Close : part);
            start = end;
        }
        return text.ToString();
    }

    private static List<(int From, int To, int Count)> Histogram(IReadOnlyList<TokenRow> rows)
    {
        int longest = rows.Max(r => r.InputIds.Length), shortest = rows.Min(r => r.InputIds.Length), width = Math.Max(1, (int)Math.Ceiling((longest - shortest + 1) / 10.0));
        List<(int, int, int)> result = [];
        for (int from = shortest; from <= longest; from += width)
            result.Add((from, Math.Min(longest, from + width - 1), rows.Count(r => r.InputIds.Length >= from && r.InputIds.Length < from + width)));
        return result;
    }
}
