using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.Data.Reading;

namespace LoraNet.Data.Encoders;

/// <summary>
/// Brings conversations into the shape that chat templates read: role and content as text, tool calls with their arguments as
/// objects, tools as a list. Nothing is dropped; what a template could only print wrongly is an error.
/// </summary>
internal static class Conversation
{
    /// <summary>A conversation ready for a template.</summary>
    /// <param name="Messages">The messages.</param>
    /// <param name="Tools">Tool descriptions, or null.</param>
    /// <param name="EmptyAnswer">Whether an assistant's turn has neither text nor calls.</param>
    /// <param name="Untrained">Indices of messages that the data marks as not trained.</param>
    public sealed record Turns(JsonArray Messages, JsonNode? Tools, bool EmptyAnswer, IReadOnlySet<int> Untrained);

    // Stands in a message until the conversation is complete and its place in it is known.
    private const string Mark = "\u0001untrained";

    /// <summary>OpenAI's form: <c>messages</c> and <c>tools</c>.</summary>
    public static Turns FromMessages(JsonObject row, RowPlace place) =>
        Build(Normalise(Fields.Structure(row["messages"], "messages", place), "messages", place), Tools(row, place));

    /// <summary>TRL's conversational completions: lists of messages as prompt and completion.</summary>
    public static Turns FromPromptAndCompletion(JsonObject row, RowPlace place)
    {
        JsonArray messages = Normalise(row["prompt"], "prompt", place);
        JsonArray completion = Normalise(row["completion"], "completion", place);
        if (completion.Count != 1 || Role(completion[0]!) != "assistant")
            throw new LoraNetException($"{place}: a completion given as messages must be one message of the assistant.", "Put conversations of several turns into 'messages'.");
        messages.Add(completion[0]!.DeepClone());
        return Build(messages, Tools(row, place));
    }

    /// <summary>ShareGPT's form: <c>conversations</c> of from and value, <c>system</c> and <c>tools</c>.</summary>
    public static Turns FromShareGpt(JsonObject row, RowPlace place)
    {
        if (Fields.Structure(row["conversations"], "conversations", place) is not JsonArray turns) throw new LoraNetException($"{place}: 'conversations' must be a list.");
        // Some sets keep OpenAI's messages under this name.
        if (turns.Count > 0 && turns[0] is JsonObject first && first.ContainsKey("role")) return Build(AddSystem(Normalise(turns, "conversations", place), row, place), Tools(row, place));
        var messages = new JsonArray();
        for (int i = 0; i < turns.Count; i++)
        {
            if (turns[i] is not JsonObject turn) throw new LoraNetException($"{place}, conversations[{i}] must be an object with from and value.");
            string from = Fields.Text(turn, "from", place), value = Fields.Text(turn, "value", place);
            JsonObject message = from switch
            {
                "human" or "user" => Message("user", value),
                "gpt" or "assistant" or "model" or "chatgpt" or "bot" => Message("assistant", value),
                "system" => Message("system", value),
                "observation" or "tool" or "function_response" => Message("tool", value),
                "function_call" => Calls(value, $"{place}, conversations[{i}]"),
                _ => throw new LoraNetException($"{place}, conversations[{i}]: 'from' is '{from}'.", "Known speakers: human, gpt, system, observation, function_call."),
            };
            if (IsUntrained(turn, $"{place}, conversations[{i}]")) message[Mark] = true;
            messages.Add((JsonNode)message);
        }
        return Build(AddSystem(messages, row, place), Tools(row, place));
    }

    /// <summary>Alpaca's form as a conversation: the instruction and, below it, the input are the user's turn.</summary>
    public static Turns FromAlpaca(JsonObject row, RowPlace place)
    {
        var messages = new JsonArray();
        foreach ((string question, string answer) in History(row, place))
        {
            messages.Add((JsonNode)Message("user", question));
            messages.Add((JsonNode)Message("assistant", answer));
        }
        string instruction = Fields.Text(row, "instruction", place), input = AlpacaInput(row, place);
        messages.Add((JsonNode)Message("user", input.Length == 0 ? instruction : instruction.Length == 0 ? input : $"{instruction}\n{input}"));
        messages.Add((JsonNode)Message("assistant", Fields.Text(row, "output", place)));
        return Build(AddSystem(messages, row, place), Tools(row, place));
    }

    /// <summary>Alpaca's input; Dolly calls it context.</summary>
    public static string AlpacaInput(JsonObject row, RowPlace place) => Fields.OptionalText(row, Fields.Has(row, "input") ? "input" : "context", place);

    /// <summary>Alpaca's earlier turns: pairs of question and answer.</summary>
    public static List<(string Question, string Answer)> History(JsonObject row, RowPlace place)
    {
        List<(string, string)> pairs = [];
        if (!Fields.Has(row, "history")) return pairs;
        if (Fields.Structure(row["history"], "history", place) is not { } node) return pairs;
        if (node is not JsonArray history) throw new LoraNetException($"{place}: 'history' must be a list of pairs.");
        foreach (JsonNode? pair in history)
        {
            if (pair is not JsonArray { Count: 2 } two || two.Any(t => t?.GetValueKind() != JsonValueKind.String)) throw new LoraNetException($"{place}: 'history' must be a list of pairs of question and answer.");
            pairs.Add((two[0]!.GetValue<string>(), two[1]!.GetValue<string>()));
        }
        return pairs;
    }

    private static Turns Build(JsonArray messages, JsonNode? tools)
    {
        bool empty = false;
        HashSet<int> untrained = [];
        for (int i = 0; i < messages.Count; i++)
        {
            var message = (JsonObject)messages[i]!;
            empty |= Role(message) == "assistant" && string.IsNullOrWhiteSpace(message["content"]?.GetValue<string>()) && message["tool_calls"] is null;
            if (message.Remove(Mark)) untrained.Add(i);
        }
        return new Turns(messages, tools, empty, untrained);
    }

    private static JsonArray Normalise(JsonNode? node, string key, RowPlace place)
    {
        if (node is not JsonArray list) throw new LoraNetException($"{place}: '{key}' must be a list of messages, but is {Fields.Describe(node)}.");
        if (list.Count == 0) throw new LoraNetException($"{place}: '{key}' is empty.", "A conversation needs at least one message.");
        var messages = new JsonArray();
        for (int i = 0; i < list.Count; i++) messages.Add((JsonNode)NormaliseMessage(list[i], $"{place}, {key}[{i}]", place));
        return messages;
    }

    private static JsonObject NormaliseMessage(JsonNode? node, string where, RowPlace place)
    {
        if (node is not JsonObject source) throw new LoraNetException($"{where} must be an object with role and content, but is {Fields.Describe(node)}.");
        var message = new JsonObject();
        if (IsUntrained(source, where)) message[Mark] = true;
        foreach ((string key, JsonNode? value) in source)
        {
            // Tables give every message every column; a key without a value means it was not there.
            if (value is not null && key is not ("weight" or "train")) message[key] = value.DeepClone();
        }
        if (message["role"]?.GetValueKind() != JsonValueKind.String) throw new LoraNetException($"{where} has no role.", "Roles are system, user, assistant and tool.");
        if (message["content"] is JsonArray parts) message["content"] = Join(parts, where);
        if (message["content"] is { } content && content.GetValueKind() != JsonValueKind.String)
            throw new LoraNetException($"{where}: content must be a string or a list of text parts, but is {Fields.Describe(content)}.");
        if (message["tool_calls"] is JsonArray { Count: 0 }) message.Remove("tool_calls");
        if (message["tool_calls"] is { } calls) message["tool_calls"] = ToolCalls(Fields.Structure(calls, "tool_calls", place), where);
        if (!message.ContainsKey("content"))
        {
            if (message["tool_calls"] is null && message["function_call"] is null && Role(message) != "tool") throw new LoraNetException($"{where} has no content.", "Give content as a string.");
            // Templates test and print this key; an absent one would read as undefined.
            message["content"] = source.ContainsKey("content") ? null : "";
        }
        return message;
    }

    private static string Join(JsonArray parts, string where)
    {
        var text = new StringBuilder();
        foreach (JsonNode? part in parts)
        {
            if (part?.GetValueKind() == JsonValueKind.String) text.Append(part.GetValue<string>());
            else if (part is JsonObject o && o["text"]?.GetValueKind() == JsonValueKind.String && (o["type"] is null || (o["type"]!.GetValueKind() == JsonValueKind.String && o["type"]!.GetValue<string>() == "text"))) text.Append(o["text"]!.GetValue<string>());
            else throw new LoraNetException($"{where}: content has a part that is no text: {Fields.Describe(part)}.", "LoraNet trains on text only.");
        }
        return text.ToString();
    }

    private static JsonArray ToolCalls(JsonNode? node, string where)
    {
        if (node is not JsonArray calls) throw new LoraNetException($"{where}: tool_calls must be a list.");
        var result = new JsonArray();
        foreach (JsonNode? item in calls)
        {
            if (item is not JsonObject call) throw new LoraNetException($"{where}: a tool call must be an object, but is {Fields.Describe(item)}.");
            var copy = (JsonObject)call.DeepClone();
            JsonObject function = copy["function"] as JsonObject ?? copy;
            // The API's form has the arguments as text; templates print them with tojson, which would quote them once more.
            if (function["arguments"]?.GetValueKind() == JsonValueKind.String && Fields.TryParse(function["arguments"]!.GetValue<string>()) is JsonObject arguments) function["arguments"] = arguments;
            result.Add((JsonNode)copy);
        }
        return result;
    }

    private static JsonObject Calls(string value, string where)
    {
        JsonNode? parsed = Fields.TryParse(value);
        JsonArray calls = parsed switch
        {
            JsonArray a => a,
            JsonObject o => new JsonArray((JsonNode)o),
            _ => throw new LoraNetException($"{where}: a function call must be JSON with name and arguments."),
        };
        var wrapped = new JsonArray();
        foreach (JsonNode? item in calls)
        {
            if (item is not JsonObject call) throw new LoraNetException($"{where}: a function call must be JSON with name and arguments.");
            var copy = (JsonObject)call.DeepClone();
            if (copy["arguments"]?.GetValueKind() == JsonValueKind.String && Fields.TryParse(copy["arguments"]!.GetValue<string>()) is JsonObject arguments) copy["arguments"] = arguments;
            wrapped.Add((JsonNode)new JsonObject { ["type"] = "function", ["function"] = copy });
        }
        return new JsonObject { ["role"] = "assistant", ["content"] = "", ["tool_calls"] = wrapped };
    }

    private static JsonArray AddSystem(JsonArray messages, JsonObject row, RowPlace place)
    {
        string system = Fields.OptionalText(row, "system", place);
        if (system.Length > 0 && !messages.Any(m => Role(m!) == "system")) messages.Insert(0, (JsonNode)Message("system", system));
        return messages;
    }

    private static JsonNode? Tools(JsonObject row, RowPlace place) => Fields.Structure(row["tools"], "tools", place) switch
    {
        null or JsonArray { Count: 0 } => null,
        JsonArray a => a,
        var other => throw new LoraNetException($"{place}: 'tools' must be a list, but is {Fields.Describe(other)}."),
    };

    // OpenAI's weight, 0 or 1, and axolotl's train.
    private static bool IsUntrained(JsonObject message, string where)
    {
        if (message["train"] is { } train)
        {
            return train.GetValueKind() switch
            {
                JsonValueKind.True => false,
                JsonValueKind.False => true,
                _ => throw new LoraNetException($"{where}: train must be true or false, but is {Fields.Describe(train)}."),
            };
        }
        if (message["weight"] is not { } weight) return false;
        double value = weight.GetValueKind() == JsonValueKind.Number && double.TryParse(weight.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture, out double v) ? v : double.NaN;
        return value is 0 or 1 ? value == 0 : throw new LoraNetException($"{where}: weight must be 0 or 1, but is {Fields.Describe(weight)}.");
    }

    private static string? Role(JsonNode message) => message["role"] is { } role && role.GetValueKind() == JsonValueKind.String ? role.GetValue<string>() : null;

    private static JsonObject Message(string role, string content) => new() { ["role"] = role, ["content"] = content };
}
