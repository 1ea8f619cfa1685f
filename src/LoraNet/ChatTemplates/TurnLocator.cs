using LoraNet.ChatTemplates.Jinja;

namespace LoraNet.ChatTemplates;

/// <summary>
/// Finds where one assistant turn stands in a rendered conversation, without generation blocks.
/// <para>
/// First by prefixes: with P = render(messages before the turn, generation prompt) and Q = render(messages through the
/// turn), the turn starts at |P| if P is a prefix of Q and of the whole text, and ends at |Q| if Q is one of the whole.
/// </para>
/// <para>
/// Templates that write earlier turns differently once later ones exist (they drop old reasoning) break that. Then a
/// mark, a word that occurs nowhere else, is put at the end of a message's text and the whole conversation is rendered
/// again. If taking the mark out gives back the whole text exactly, the mark shows where that message's text ends. What
/// follows the mark in the shorter renderings P' and Q' (made with the same mark) is the text that closes the message
/// and, for P', opens the turn; both must be found right behind the mark's place in the whole text. Where the opening
/// differs (a prompt that opens a thought the template later drops) the turn starts at its own text, found by a mark
/// before it, or, if it has only tool calls, where a plain text would start in its place.
/// </para>
/// </summary>
internal sealed class TurnLocator(ChatTemplate template, ChatInput input, PyList messages, string whole)
{
    private readonly string _mark = UnusedWord(whole);

    /// <summary>The [start, end) span of the assistant turn that is message <paramref name="turn"/>.</summary>
    public (int Start, int End) Locate(int turn)
    {
        string? prompt = TryRender(messages.Items[..turn], prompt: true, out LoraNetException? refused);
        string? through = TryRender(messages.Items[..(turn + 1)], prompt: false, out LoraNetException? refusedTurn);
        bool startKnown = prompt is not null && whole.StartsWith(prompt, StringComparison.Ordinal)
            && (through is null || through.StartsWith(prompt, StringComparison.Ordinal));
        int start = startKnown ? prompt!.Length : Start(turn, refused);
        int end = through is not null && whole.StartsWith(through, StringComparison.Ordinal) ? through.Length : End(turn, refusedTurn);
        bool byPrefixes = startKnown && through is not null && end == through.Length;
        if (start > end || (!byPrefixes && !OwnTextIsWithin(turn, start, end))) throw Fail(turn, "its text is not between its start and its end", null);
        return (start, end);
    }

    // Behind what closes the message before and opens the turn; else where the turn's own text starts.
    private int Start(int turn, LoraNetException? refused)
    {
        string reason = "no message is before it";
        if (turn > 0 && Edge(messages[turn - 1], turn - 1, prompt: true, ref reason, ref refused) is { } edge) return edge;
        foreach (object? marked in MarkedAtStart(messages[turn]))
        {
            List<object?> all = [.. messages.Items];
            all[turn] = marked;
            string? full = TryRender(all, input.AddGenerationPrompt, out LoraNetException? e);
            refused ??= e;
            if (full is not null && OnlyIndex(full) is var at and >= 0 && full.Remove(at, _mark.Length) == whole) return at;
        }

        if (turn > 0 && AfterPlainOpening(turn) is { } plain) return plain;
        throw Fail(turn, $"the turn's start can't be found: {reason}", refused);
    }

    // For a turn without text of its own (only tool calls): what the template writes, behind the message before, to open
    // a turn of plain text in the same place must stand there in the whole text too.
    private int? AfterPlainOpening(int turn)
    {
        string reason = "";
        LoraNetException? refused = null;
        if (Edge(messages[turn - 1], turn - 1, prompt: false, ref reason, ref refused) is not { } edge) return null;
        var plain = new PyDict();
        plain.Set("role", "assistant");
        plain.Set("content", _mark);
        List<object?> all = [.. messages.Items];
        all[turn] = plain;
        foreach (List<object?> part in new[] { all, all[..(turn + 1)] })
        {
            string? text = TryRender(part, prompt: false, out _);
            if (text is null || OnlyIndex(text) is not (var at and >= 0) || at < edge) continue;
            if (whole.StartsWith(text[..at], StringComparison.Ordinal)) return at;
        }

        return null;
    }

    // A check on edges that were found separately: a mark in the turn's own text must stand between them.
    private bool OwnTextIsWithin(int turn, int start, int end)
    {
        foreach (object? marked in MarkedAtEnd(messages[turn]))
        {
            List<object?> all = [.. messages.Items];
            all[turn] = marked;
            string? full = TryRender(all, input.AddGenerationPrompt, out _);
            if (full is not null && OnlyIndex(full) is var at and >= 0 && full.Remove(at, _mark.Length) == whole) return at >= start && at <= end;
        }

        return false;
    }

    private int End(int turn, LoraNetException? refused)
    {
        string reason = "";
        return Edge(messages[turn], turn, prompt: false, ref reason, ref refused)
            ?? throw Fail(turn, $"the turn's end can't be found: {reason}", refused);
    }

    // The place after the text that closes a message (and, with the prompt, opens the next turn) in the whole text.
    private int? Edge(object? message, int index, bool prompt, ref string reason, ref LoraNetException? refused)
    {
        reason = "the message has no text to put a mark into";
        foreach (object? marked in MarkedAtEnd(message))
        {
            List<object?> all = [.. messages.Items];
            all[index] = marked;
            string? full = TryRender(all, input.AddGenerationPrompt, out LoraNetException? e1);
            string? part = TryRender(all[..(index + 1)], prompt, out LoraNetException? e2);
            if (full is null || part is null)
            {
                refused ??= e1 ?? e2;
                reason = "the template refuses a part of the conversation";
                continue;
            }

            int at = OnlyIndex(full), partAt = OnlyIndex(part);
            if (at < 0 || partAt < 0 || full.Remove(at, _mark.Length) != whole)
            {
                reason = "the template changes or repeats the message's text";
                continue;
            }

            string closing = part[(partAt + _mark.Length)..];
            if (whole.AsSpan(at).StartsWith(closing, StringComparison.Ordinal)) return at + closing.Length;

            // Some templates end every conversation with EOS, which is no part of an earlier turn.
            if (!prompt && input.EosToken is { Length: > 0 } eos && closing.EndsWith(eos, StringComparison.Ordinal))
            {
                closing = closing[..^eos.Length];
                if (whole.AsSpan(at).StartsWith(closing, StringComparison.Ordinal)) return at + closing.Length;
            }

            reason = "what follows the message depends on the later messages";
        }

        return null;
    }

    // Copies of a message with the mark before its text: at the start, or after reasoning that the template may drop.
    private IEnumerable<object?> MarkedAtStart(object? message)
    {
        if (message is not PyDict dict || !dict.TryGet("content", out object? content)) yield break;
        if (content is string text)
        {
            foreach (string marked in WithMarkBefore(text)) yield return With(dict, "content", marked);
        }
        else if (content is PyList { Count: > 0 } parts && parts[0] is PyDict part && part.TryGet("text", out object? t) && t is string first)
        {
            foreach (string marked in WithMarkBefore(first))
                yield return With(dict, "content", new PyList([With(part, "text", marked), .. parts.Items[1..]]));
        }
    }

    private IEnumerable<string> WithMarkBefore(string text)
    {
        const string endOfThought = "</think>";
        int thought = text.LastIndexOf(endOfThought, StringComparison.Ordinal);
        int[] starts = thought < 0 ? [0] : [0, thought + endOfThought.Length];
        foreach (int start in starts)
        {
            // The template may keep the white space there or trim it.
            int trimmed = start;
            while (trimmed < text.Length && PyText.IsSpace(text[trimmed])) trimmed++;
            if (trimmed == text.Length) continue;
            yield return text[..start] + _mark + text[start..];
            if (trimmed > start) yield return text[..trimmed] + _mark + text[trimmed..];
        }
    }

    // Copies of a message with the mark at the end of one of its texts, the likeliest first.
    private IEnumerable<object?> MarkedAtEnd(object? message)
    {
        if (message is not PyDict dict) yield break;
        dict.TryGet("content", out object? content);
        dict.TryGet("tool_calls", out object? calls);

        // A turn's calls are written after its text, so a mark in the last call is nearer to the turn's end.
        if (calls is PyList { Count: > 0 } list && list[list.Count - 1] is PyDict call)
        {
            foreach (string key in new[] { "function", "" })
            {
                PyDict? function = key.Length == 0 ? call : call.TryGet(key, out object? f) ? f as PyDict : null;
                if (function is null || !function.TryGet("name", out object? name) || name is not string text) continue;
                PyDict named = With(function, "name", text + _mark);
                yield return With(dict, "tool_calls", new PyList([.. list.Items[..^1], key.Length == 0 ? named : With(call, key, named)]));
            }
        }

        switch (content)
        {
            case string text:
                yield return With(dict, "content", Mark(text));
                break;
            case PyList parts:
                for (int i = parts.Count - 1; i >= 0; i--)
                {
                    if (parts[i] is not PyDict part || !part.TryGet("text", out object? t) || t is not string words) continue;
                    List<object?> copy = [.. parts.Items];
                    copy[i] = With(part, "text", Mark(words));
                    yield return With(dict, "content", new PyList(copy));
                    yield break;
                }

                break;
        }
    }

    // Before trailing white space, so that templates that trim leave the mark at the edge of what they keep.
    private string Mark(string text)
    {
        int end = PyText.Strip(text, null, left: false, right: true).Length;
        return text[..end] + _mark + text[end..];
    }

    private static PyDict With(PyDict dict, string key, object? value)
    {
        PyDict copy = dict.Copy();
        copy.Set(key, value);
        return copy;
    }

    private int OnlyIndex(string text)
    {
        int at = text.IndexOf(_mark, StringComparison.Ordinal);
        return at >= 0 && text.IndexOf(_mark, at + 1, StringComparison.Ordinal) < 0 ? at : -1;
    }

    private string? TryRender(List<object?> part, bool prompt, out LoraNetException? refused)
    {
        try
        {
            refused = null;
            return template.Render(input with { Messages = new PyList(part), AddGenerationPrompt = prompt }).Text;
        }
        catch (LoraNetException e)
        {
            refused = e;
            return null;
        }
    }

    // A word of letters and digits, which templates pass through and JSON does not escape.
    private static string UnusedWord(string text)
    {
        for (int i = 0; ; i++)
        {
            string word = $"Zq{i}jXw";
            if (!text.Contains(word, StringComparison.Ordinal)) return word;
        }
    }

    private LoraNetException Fail(int turn, string reason, LoraNetException? inner) => new(
        $"The assistant's text of message {turn + 1} of {messages.Count} can't be told apart in the rendered conversation: {reason}." + (inner is null ? "" : $" ({inner.Message})"),
        "Use a template with {% generation %} blocks around the assistant's text, or train on all of the text.",
        inner);
}
