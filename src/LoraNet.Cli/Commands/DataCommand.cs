using System.CommandLine;
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
        [.. TrainSettings.Some("model", "data"), .. DataReading.Settings, new("samples", SettingKind.Integer, "data", "Samples to show.") { Default = "3" }];

    public static Command Create(CommandContext context)
    {
        Command data = new("data", "Look into training data.");
        Command preview = new("preview", "Show the first samples with trained tokens marked, and the lengths of all.");
        SettingOptions.AddTo(preview, _settings, recipe: true);
        Option<bool> json = AllCommands.JsonOption();
        preview.Add(json);
        preview.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host.Stop)));
        data.Add(preview);
        return data;
    }

    private static int Run(SettingValues values, Terminal terminal, CancellationToken stop)
    {
        string folder = values.Required("model"), path = values.Required("data");
        if (!Directory.Exists(folder)) throw new LoraNetException($"The model folder {folder} does not exist.", "Give a folder with config.json and a tokenizer.");
        ModelConfig config = ModelConfig.Load(folder);
        Tokenizer? tokenizer = ModelFolder.Tokenizer(folder);
        DataSet data = DataSet.Load(path, tokenizer, DataReading.Options(values, config) with { UntrainedRows = UntrainedRows.Keep }, stop);
        DataPreview preview = DataPreview.Create(data, tokenizer, Math.Max(0, values.Integer("samples") ?? 3));
        foreach (PreviewSample sample in preview.Samples)
        {
            terminal.Line($"{sample.Place}: {sample.Form}, {sample.Tokens} tokens, {sample.TrainedTokens} trained (between {Open} and {Close}){(sample.FullLength > sample.Tokens ? $", cut from {sample.FullLength}" : "")}");
            terminal.Line(string.Concat(sample.Parts.Select(p => p.Trained ? Open + p.Text + Close : p.Text)));
            terminal.Line();
        }
        DataReport report = data.Report;
        int most = Math.Max(1, report.Lengths.Count == 0 ? 1 : report.Lengths.Max(b => b.Rows));
        terminal.Table(["tokens", "rows", ""], [.. report.Lengths.Select(b => (IReadOnlyList<string>)[b.From == b.To ? $"{b.From}" : $"{b.From}-{b.To}", Format.Count(b.Rows), new string('#', (int)Math.Ceiling(40.0 * b.Rows / most))])]);
        terminal.Line($"{Format.Count(report.Rows)} rows, {Format.Count(report.Tokens)} tokens, {Format.Count(report.TrainedTokens)} trained; longest {report.Longest}; {report.Truncated} cut.");
        terminal.Line($"{Format.Percent(report.EosShare)} of the samples end in a trained end-of-sequence token.");
        foreach (string warning in report.Warnings) terminal.Warn(warning);
        terminal.Result(preview.ToJson());
        return ExitCodes.Fine;
    }
}
