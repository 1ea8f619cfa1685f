using System.CommandLine;
using System.Text.Json.Nodes;
using LoraNet.Adapters;
using LoraNet.ChatTemplates;
using LoraNet.Cli.Output;
using LoraNet.Cli.Runs;
using LoraNet.Cli.Settings;
using LoraNet.Generation;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet chat</c>: a conversation through the model's chat template.</summary>
internal static class ChatCommand
{
    private static readonly IReadOnlyList<Setting> _settings = [.. TrainSettings.Some("model", "adapter", "chat-template"), .. GenerationSettings.Sampling, .. BackendFactory.Settings];

    public static Command Create(CommandContext context)
    {
        Command command = new("chat", "Talk with a model that has a chat template. An empty line or end of input ends the conversation.");
        SettingOptions.AddTo(command, _settings, recipe: false);
        Option<string> system = new("--system") { Description = "The system message.", HelpName = "TEXT" };
        command.Add(system);
        command.SetAction((parse, _) => Task.FromResult(Run(SettingOptions.Read(parse, context.Host, _settings), context.Terminal(false), context.Host, parse.GetValue(system))));
        return command;
    }

    private static int Run(SettingValues values, Terminal terminal, CommandHost host, string? system)
    {
        string folder = values.Required("model");
        using Backend backend = BackendFactory.Create(values, host);
        using CausalLM model = ModelFolder.Load(folder, backend);
        Tokenizer tokenizer = ModelFolder.Tokenizer(folder) ?? throw new LoraNetException($"The model folder {folder} has no tokenizer.", "Add tokenizer.json.");
        ChatTemplate template = Template(values, folder, tokenizer);
        if (values.Text("adapter") is { } adapter) AdapterFile.Load(adapter, model, trainable: false, warn: terminal.Warn);
        GenerationOptions options = GenerationSettings.Read(values, model, tokenizer);
        string? bos = tokenizer.BosId is { } b ? tokenizer.TokenOf(b) : null, eos = tokenizer.EosId is { } e ? tokenizer.TokenOf(e) : null;
        JsonArray messages = [];
        if (system is not null) messages.Add(Message("system", system));
        using Generator generator = new(model);
        while (!host.Stop.IsCancellationRequested)
        {
            terminal.Results.Write("> ");
            terminal.Results.Flush();
            if (host.Input.ReadLine() is not { Length: > 0 } line) break;
            messages.Add(Message("user", line));
            string prompt = template.Render(messages, addGenerationPrompt: true, bosToken: bos, eosToken: eos).Text;
            TextStream text = new(tokenizer, [], part =>
            {
                terminal.Results.Write(part);
                terminal.Results.Flush();
            });
            // The template writes the special tokens itself.
            int[] ids = tokenizer.Encode(prompt, addSpecialTokens: false);
            text.Prime(ids);
            generator.Generate([ids], options, (_, id) => text.Append(id), host.Stop);
            text.Finish();
            terminal.Results.WriteLine();
            messages.Add(Message("assistant", text.Text));
        }
        return host.Stop.IsCancellationRequested ? ExitCodes.Interrupted : ExitCodes.Fine;
    }

    // The strongest first: what was asked for, what the adapter was trained with, the model's own.
    private static ChatTemplate Template(SettingValues values, string folder, Tokenizer tokenizer)
    {
        if (values.Text("chat-template") is { } named) return ChatTemplate.Named(named);
        if ((ModelFolder.TemplateOf(values.Text("adapter"), folder) ?? tokenizer.ChatTemplate) is { } source) return ChatTemplate.Parse(source);
        throw new LoraNetException(
            $"The model in {folder} has no chat template.",
            $"Name one with --chat-template: {string.Join(", ", BuiltInChatTemplates.Names)}, or a Jinja file. 'loranet generate' takes a prompt in any form.");
    }

    private static JsonNode Message(string role, string content) => new JsonObject { ["role"] = role, ["content"] = content };
}
