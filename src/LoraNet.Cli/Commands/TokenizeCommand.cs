using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Formats;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet tokenize</c>: ids, tokens and the decoded text, of one text or of a file of JSON strings.</summary>
internal static class TokenizeCommand
{
    public static Command Create(CommandContext context)
    {
        Command command = new("tokenize", "Show how a tokenizer cuts text.");
        Option<string> path = new("--tokenizer", "-t", "--model", "-m") { Description = "A tokenizer file or a model folder.", HelpName = "PATH" };
        Option<string> text = new("--text") { Description = "The text.", HelpName = "TEXT" };
        Option<string> file = new("--file") { Description = "A file with a JSON string a line; prints a JSON object a line.", HelpName = "FILE" };
        Option<bool> plain = new("--no-special") { Description = "Add no special tokens around the text." };
        Option<bool> json = AllCommands.JsonOption();
        foreach (Option option in new Option[] { path, text, file, plain, json }) command.Add(option);
        command.SetAction((parse, _) => Task.FromResult(Run(context, parse.GetValue(path), parse.GetValue(text), parse.GetValue(file), !parse.GetValue(plain), parse.GetValue(json))));
        return command;
    }

    private static int Run(CommandContext context, string? path, string? text, string? file, bool special, bool json)
    {
        if (path is null) throw new LoraNetException("--tokenizer is missing.", "Give a tokenizer file or a model folder.");
        if ((text is null) == (file is null)) throw new LoraNetException(text is null ? "--text is missing." : "--text and --file exclude each other.", "Give a text with --text, or a file of JSON strings with --file.");
        Tokenizer tokenizer = Tokenizer.Load(path);
        if (file is not null)
        {
            if (!File.Exists(file)) throw new LoraNetException($"{file} does not exist.");
            int number = 0;
            Output.Terminal lines = context.Terminal(true);
            foreach (string line in File.ReadLines(file))
            {
                number++;
                if (line.Length == 0) continue;
                lines.Result(Describe(tokenizer, ParseString(line, file, number), special));
            }
            return ExitCodes.Fine;
        }
        JsonObject result = Describe(tokenizer, text!, special);
        if (json)
        {
            context.Terminal(true).Result(result);
            return ExitCodes.Fine;
        }
        int[] ids = [.. result["ids"]!.AsArray().Select(n => n!.GetValue<int>())];
        context.Terminal(false).Table(["id", "token"], [.. ids.Select(id => (IReadOnlyList<string>)[id.ToString(System.Globalization.CultureInfo.InvariantCulture), tokenizer.TokenOf(id) ?? ""])]);
        return ExitCodes.Fine;
    }

    private static JsonObject Describe(Tokenizer tokenizer, string text, bool special)
    {
        int[] ids = tokenizer.Encode(text, special);
        return new JsonObject
        {
            ["ids"] = new JsonArray([.. ids.Select(id => (JsonNode)id)]),
            ["tokens"] = new JsonArray([.. ids.Select(id => (JsonNode?)tokenizer.TokenOf(id))]),
            ["decoded"] = tokenizer.Decode(ids),
        };
    }

    private static string ParseString(string line, string file, int number)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            if (document.RootElement.ValueKind == JsonValueKind.String) return document.RootElement.GetString()!;
            throw new LoraNetException($"{file}, line {number}: a JSON string was expected.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new LoraNetException($"{file}, line {number}: not a JSON string: {e.Message}", null, e);
        }
    }
}
