using System.Text.Json.Nodes;
using LoraNet.ChatTemplates.Jinja;

namespace LoraNet.ChatTemplates;

/// <summary>Which text of a conversation the loss counts.</summary>
public enum TrainOn
{
    /// <summary>Every assistant turn with its end-of-turn text. The default for chats.</summary>
    Assistant,

    /// <summary>The last assistant turn only.</summary>
    Last,

    /// <summary>The whole text.</summary>
    All,
}

/// <summary>A rendered conversation and the parts of it to train on.</summary>
/// <param name="Text">The rendered text.</param>
/// <param name="TrainedSpans">[start, end) positions in <paramref name="Text"/> in UTF-16 units: ascending, not empty, not touching.</param>
public sealed record MaskedChat(string Text, IReadOnlyList<(int Start, int End)> TrainedSpans);

/// <summary>
/// Finds the assistant's text in a rendered conversation. The whole conversation is rendered once; where the template
/// has <c>{% generation %}</c> blocks they say what to train. Otherwise each turn's place is found by rendering prefixes:
/// the turn is what the messages up to and including it add to the messages before it with the generation prompt, which
/// includes the end-of-turn text. That is accepted only where both renderings are prefixes of the whole; else the turn's
/// edges are located by marks put into the messages (see <see cref="TurnLocator"/>), and every step is checked against
/// the whole text. A turn that can't be placed without guessing is an error, never a silently wrong mask.
/// </summary>
public static class ChatMasking
{
    /// <summary>Renders a conversation and finds the spans to train.</summary>
    /// <param name="template">The template.</param>
    /// <param name="messages">The list of messages.</param>
    /// <param name="tools">Tool descriptions, or null.</param>
    /// <param name="trainOn">What to train on.</param>
    /// <param name="bosToken">The text of the beginning-of-sequence token, or null.</param>
    /// <param name="eosToken">The text of the end-of-sequence token, or null.</param>
    /// <param name="variables">More variables for the template.</param>
    /// <param name="options">Limits and clock, or null for the defaults.</param>
    /// <param name="untrained">Indices of assistant messages that are not trained whatever <paramref name="trainOn"/> says, or null for none.</param>
    /// <returns>The text and its trained spans; no spans when the conversation has no assistant turn.</returns>
    /// <exception cref="LoraNetException">The template fails, or a turn can't be placed; the message names the turn.</exception>
    public static MaskedChat Apply(
        ChatTemplate template,
        JsonNode messages,
        JsonNode? tools = null,
        TrainOn trainOn = TrainOn.Assistant,
        string? bosToken = null,
        string? eosToken = null,
        IReadOnlyDictionary<string, JsonNode?>? variables = null,
        ChatRenderOptions? options = null,
        IReadOnlySet<int>? untrained = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(messages);
        options ??= ChatRenderOptions.Default;

        // One moment for all renderings: a date in the prompt must not change between them.
        DateTime now = options.Clock();
        var input = new ChatInput
        {
            Messages = JsonValues.Convert(messages),
            Tools = JsonValues.Convert(tools),
            BosToken = bosToken,
            EosToken = eosToken,
            Variables = [.. (variables ?? new Dictionary<string, JsonNode?>()).Select(v => (v.Key, JsonValues.Convert(v.Value)))],
            Options = options with { Clock = () => now },
        };
        if (input.Messages is not PyList list)
            throw new LoraNetException("A conversation's messages must be a list.", "Give a JSON array of objects with role and content.");

        ChatRendering whole = template.Render(input);
        List<int> turns = [.. Enumerable.Range(0, list.Count).Where(i => RoleOf(list[i]) == "assistant")];
        List<int> skipped = untrained is null ? [] : [.. turns.Where(untrained.Contains)];
        var locator = new TurnLocator(template, input, list, whole.Text);
        if (trainOn == TrainOn.All) return new MaskedChat(whole.Text, Without([.. skipped.Select(locator.Locate)], whole.Text.Length));
        List<int> wanted = trainOn == TrainOn.Last && turns.Count > 1 ? [turns[^1]] : [.. turns];
        if (skipped.Count > 0) wanted.RemoveAll(skipped.Contains);
        if (wanted.Count == 0) return new MaskedChat(whole.Text, []);

        if (whole.GenerationSpans.Count > 0 && whole.GenerationSpansComplete)
        {
            // With a block for each turn, in order, each turn has its own; which of several belong to a turn is otherwise not known.
            List<(int Start, int End)>? spans = skipped.Count == 0 ? FromBlocks(template, input, list, whole, trainOn, turns[^1])
                : whole.GenerationSpans.Count == turns.Count ? [.. wanted.Select(t => whole.GenerationSpans[turns.IndexOf(t)])] : null;
            if (spans is not null) return new MaskedChat(whole.Text, Merge(spans));
        }
        return new MaskedChat(whole.Text, Merge([.. wanted.Select(locator.Locate)]));
    }

    internal static string? RoleOf(object? message) => message is PyDict dict && dict.TryGet("role", out object? role) ? Py.AsText(role) : null;

    // The spans of generation blocks; for the last turn, those that the messages before it do not write. Null when that can't be told.
    private static List<(int Start, int End)>? FromBlocks(ChatTemplate template, ChatInput input, PyList list, ChatRendering whole, TrainOn trainOn, int last)
    {
        List<(int Start, int End)> all = [.. whole.GenerationSpans.OrderBy(s => s.Start)];
        if (trainOn == TrainOn.Assistant) return all;
        try
        {
            ChatRendering before = template.Render(input with { Messages = new PyList(list.Items[..last]) });
            return before.GenerationSpans.Count < all.Count ? all[before.GenerationSpans.Count..] : null;
        }
        catch (LoraNetException)
        {
            // Without the last turn the template may refuse; the locator then says what it can.
            return null;
        }
    }

    // Everything but these spans.
    private static List<(int Start, int End)> Without(List<(int Start, int End)> left, int length)
    {
        List<(int Start, int End)> spans = [];
        int at = 0;
        foreach ((int start, int end) in Merge(left))
        {
            spans.Add((at, start));
            at = end;
        }
        spans.Add((at, length));
        return Merge(spans);
    }

    // Sorted, without empty spans, touching or overlapping ones joined.
    private static List<(int Start, int End)> Merge(List<(int Start, int End)> spans)
    {
        var merged = new List<(int Start, int End)>();
        foreach ((int start, int end) in spans.Where(s => s.End > s.Start).OrderBy(s => s.Start))
        {
            if (merged.Count > 0 && start <= merged[^1].End) merged[^1] = (merged[^1].Start, Math.Max(end, merged[^1].End));
            else merged.Add((start, end));
        }

        return merged;
    }
}
