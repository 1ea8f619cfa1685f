using System.CommandLine;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Generation;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet generate</c>: continues prompts, streaming one to the terminal.</summary>
internal static class GenerateCommand
{
    private static readonly IReadOnlyList<Setting> _settings = [.. TrainSettings.Some("model", "adapter"), .. GenerationSettings.Sampling, .. BackendFactory.Settings];

    public static Command Create(CommandContext context)
    {
        Command command = new("generate", "Continue a prompt. Several --prompt are continued as a batch.");
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<string[]> prompts = new("--prompt", "-p") { Description = "Text to continue; may be given several times.", HelpName = "TEXT" };
        Option<string> ids = new("--input-ids") { Description = "Token ids to continue instead of text: 1,2,3. Needs no tokenizer.", HelpName = "IDS" };
        Option<string[]> stops = new("--stop") { Description = "End at this text; may be given several times.", HelpName = "TEXT" };
        Option<bool> json = AllCommands.JsonOption();
        foreach (Option option in new Option[] { prompts, ids, stops, json }) command.Add(option);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(parse.GetValue(json)), context.Host,
            parse.GetValue(prompts) ?? [], parse.GetValue(ids), parse.GetValue(stops) ?? [])));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string[] prompts, string? ids, string[] stops)
    {
        string folder = values.Required("model");
        if (prompts.Length == 0 && ids is null) throw new LoraNetException("--prompt is missing.", "Give a text to continue, or ids with --input-ids.");
        if (prompts.Length > 0 && ids is not null) throw new LoraNetException("--prompt and --input-ids exclude each other.", "Give one of them.");
        if (stops.Contains("")) throw new LoraNetException("--stop is empty.", "Give a text to stop at.");
        using Backend backend = BackendFactory.Create(values, host);
        using CausalLM model = ModelFolder.Load(folder, backend);
        Tokenizer? tokenizer = ModelFolder.Tokenizer(folder);
        if (tokenizer is null && (prompts.Length > 0 || stops.Length > 0))
            throw new LoraNetException($"The model folder {folder} has no tokenizer, so text cannot be read.", "Give ids with --input-ids, or add tokenizer.json.");
        if (values.Text("adapter") is { } adapter) AdapterFile.Load(adapter, model, trainable: false, warn: terminal.Warn);
        GenerationOptions options = GenerationSettings.Read(values, model, tokenizer);
        int[][] inputs = ids is not null ? [GenerationSettings.ParseIds(ids, model.Options.VocabularySize)] : [.. prompts.Select(p => Encode(tokenizer!, p))];

        bool streams = inputs.Length == 1 && !terminal.Json;
        TextStream[] texts = [.. inputs.Select(_ => new TextStream(tokenizer, stops, streams ? Show : null))];
        if (!terminal.Json) for (int i = 0; i < inputs.Length; i++) texts[i].Prime(inputs[i]);
        if (streams && prompts.Length == 1) Show(prompts[0]);
        using Generator generator = new(model);
        IReadOnlyList<int[]> result = generator.Generate(inputs, options, (sequence, id) => texts[sequence].Append(id), host.Stop);
        foreach (TextStream text in texts) text.Finish();
        if (streams) terminal.Results.WriteLine(tokenizer is null ? string.Join(',', result[0]) : "");
        else for (int i = 0; i < result.Count; i++) terminal.Line(prompts.Length > i ? prompts[i] + texts[i].Text : string.Join(',', result[i]));

        JsonObject[] outputs = [.. result.Select((r, i) => new JsonObject { ["ids"] = new JsonArray([.. r.Select(id => (JsonNode)id)]), ["text"] = texts[i].Text })];
        terminal.Result(outputs.Length == 1 ? outputs[0] : new JsonObject { ["outputs"] = new JsonArray([.. outputs]) });
        return host.Stop.IsCancellationRequested ? ExitCodes.Interrupted : ExitCodes.Fine;

        void Show(string text)
        {
            terminal.Results.Write(text);
            terminal.Results.Flush();
        }
    }

    /// <summary>Encodes a prompt as the model saw text in training, but without an end token.</summary>
    public static int[] Encode(Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.Encode(text);
        while (ids.Length > 0 && tokenizer.EndIds.Contains(ids[^1]) && ids[^1] != tokenizer.BosId) ids = ids[..^1];
        if (ids.Length == 0 && tokenizer.BosId is { } bos) ids = [bos];
        return ids;
    }
}
