using LoraNet.ChatTemplates;
using LoraNet.Data.Reading;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data.Encoders;

/// <summary>
/// Conversations to tokens: laid out once by the chat template, encoded once without the tokens that the tokenizer would add (the
/// template writes its own, as in Hugging Face's apply_chat_template), and labelled by where each token stands in the text.
/// </summary>
internal sealed class ChatEncoder
{
    private readonly ITokenizer _tokenizer;
    private readonly DataOptions _options;
    private readonly ChatTemplate? _template;
    private readonly ChatTemplate? _toolTemplate;
    private readonly string? _bos;
    private readonly string? _eos;

    private ChatEncoder(ITokenizer tokenizer, DataOptions options, ChatTemplate? template, ChatTemplate? toolTemplate)
    {
        (_tokenizer, _options, _template, _toolTemplate) = (tokenizer, options, template, toolTemplate);
        _bos = tokenizer.BosId is { } b ? tokenizer.TokenOf(b) : null;
        _eos = tokenizer.EosId is { } e ? tokenizer.TokenOf(e) : null;
    }

    /// <summary>Whether there is a template.</summary>
    public bool HasTemplate => _template is not null;

    /// <summary>The template's text.</summary>
    public string? TemplateSource => _template?.Source;

    /// <summary>Takes the template that the options name, else the tokenizer's own, else none.</summary>
    /// <exception cref="LoraNetException">The template can't be found or parsed.</exception>
    public static ChatEncoder Create(ITokenizer tokenizer, DataOptions options)
    {
        if (options.ChatTemplate is { } named) return new ChatEncoder(tokenizer, options, ChatTemplate.Named(named), null);
        if (tokenizer is not Tokenizer t) return new ChatEncoder(tokenizer, options, null, null);
        ChatTemplate? own = t.ChatTemplate is { } source ? ChatTemplate.Parse(source) : null;
        ChatTemplate? tools = t.ChatTemplates.GetValueOrDefault("tool_use") is { } toolSource ? ChatTemplate.Parse(toolSource) : null;
        return new ChatEncoder(tokenizer, options, own, tools);
    }

    /// <summary>Encodes a conversation.</summary>
    /// <returns>Ids, labels, and whether one of two start tokens was removed.</returns>
    /// <exception cref="LoraNetException">No template, the template refuses, or a token crosses the edge of an answer.</exception>
    public (int[] Ids, int[] Labels, bool DoubledBos) Encode(Conversation.Turns turns, RowPlace place, TrainOn trainOn)
    {
        ChatTemplate template = (turns.Tools is not null ? _toolTemplate : null) ?? _template
            ?? throw new LoraNetException($"{place}: a conversation needs a chat template, and the model has none.", $"Name one with --chat-template: {string.Join(", ", BuiltInChatTemplates.Names)}, or a Jinja file.");
        MaskedChat chat;
        try
        {
            chat = ChatMasking.Apply(template, turns.Messages, turns.Tools, trainOn, _bos, _eos, _options.TemplateVariables, _options.TemplateOptions, turns.Untrained);
        }
        catch (LoraNetException e)
        {
            throw new LoraNetException($"{place}: {e.Message}", null, e);
        }
        (int[] ids, bool[] trained) = _options.SplitStraddlingTokens ? EncodeSplit(chat) : EncodeWhole(chat, place);
        // Templates write the start token themselves; some do it although their tokenizer's text has one already.
        bool doubled = _tokenizer.BosId is { } bos && bos != _tokenizer.EosId && ids.Length > 1 && ids[0] == bos && ids[1] == bos;
        if (doubled) (ids, trained) = (ids[1..], trained[1..]);
        int[] labels = new int[ids.Length];
        for (int i = 0; i < ids.Length; i++) labels[i] = trained[i] ? ids[i] : TokenRow.Ignored;
        return (ids, labels, doubled);
    }

    private (int[] Ids, bool[] Trained) EncodeWhole(MaskedChat chat, RowPlace place)
    {
        int[] ids = _tokenizer is Tokenizer t ? t.EncodeWithWholeSpans(chat.Text, out TokenSpan[] spans) : _tokenizer.Encode(chat.Text, out spans, addSpecialTokens: false);
        bool[] trained = new bool[ids.Length];
        for (int s = 0; s < chat.TrainedSpans.Count; s++)
        {
            (int start, int end) = chat.TrainedSpans[s];
            int first = TokenAt(chat, ids, spans, start, s, place);
            trained.AsSpan(first, Math.Max(0, TokenAt(chat, ids, spans, end, s, place) - first)).Fill(true);
        }
        return (ids, trained);
    }

    // The number of tokens before a place in the text. A token that holds characters of both sides is an error: the model could
    // never be prompted with the one and write the other. Where the ranges leave the place open (a tokenizer that drops white
    // space), the text before it must encode to exactly the tokens before it.
    private int TokenAt(MaskedChat chat, int[] ids, TokenSpan[] spans, int edge, int turn, RowPlace place)
    {
        if (edge == 0) return 0;
        if (edge == chat.Text.Length) return ids.Length;
        int next = LowerBound(spans, edge);
        int before = next - 1;
        bool crosses = before >= 0 && spans[before].End > edge;
        bool touches = before >= 0 && spans[before].End == edge && next < spans.Length && spans[next].Start == edge && spans[next].Length > 0;
        if (touches) return next;
        if (!crosses)
        {
            int[] prefix = _tokenizer.Encode(chat.Text[..edge], addSpecialTokens: false);
            if (prefix.Length <= ids.Length && ids.AsSpan(0, prefix.Length).SequenceEqual(prefix)) return prefix.Length;
        }
        string token = before >= 0 ? chat.Text[spans[before].Start..spans[before].End] : "";
        throw new LoraNetException(
            $"{place}, answer {turn + 1}: the token {Quote(token)} stands across the edge of the trained text: {Quote(chat.Text[Math.Max(0, edge - 30)..edge])} | {Quote(chat.Text[edge..Math.Min(chat.Text.Length, edge + 30)])}.",
            "Give prompt and completion instead of messages, choose a chat template with special tokens around turns, or let LoraNet encode both sides separately (split straddling tokens).");
    }

    // The first token that starts at or behind a place. Tokens are in the order of the text.
    private static int LowerBound(TokenSpan[] spans, int place)
    {
        int low = 0, high = spans.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (spans[middle].Start < place) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    private (int[] Ids, bool[] Trained) EncodeSplit(MaskedChat chat)
    {
        List<int> ids = [];
        List<bool> trained = [];
        int at = 0;
        foreach ((int start, int end) in chat.TrainedSpans)
        {
            Add(at, start, false);
            Add(start, end, true);
            at = end;
        }
        Add(at, chat.Text.Length, false);
        return ([.. ids], [.. trained]);

        void Add(int start, int end, bool train)
        {
            if (start == end) return;
            ids.AddRange(_tokenizer.Encode(chat.Text[start..end], addSpecialTokens: false));
            while (trained.Count < ids.Count) trained.Add(train);
        }
    }

    private static string Quote(string text) => $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal)}\"";
}
