using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;
using LoraNet.Data.Reading;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data.Encoders;

/// <summary>Turns rows as read into token rows, each by its form. Safe to use from several threads.</summary>
internal sealed class RowEncoder
{
    private readonly ITokenizer? _tokenizer;
    private readonly DataOptions _options;
    private readonly ChatEncoder? _chat;
    private readonly HashSet<int> _endIds;
    private readonly int _unknownId;

    public RowEncoder(ITokenizer? tokenizer, DataOptions options)
    {
        (_tokenizer, _options) = (tokenizer, options);
        _chat = tokenizer is null ? null : ChatEncoder.Create(tokenizer, options);
        _endIds = tokenizer switch
        {
            Tokenizer t => [.. t.EndIds],
            { EosId: { } eos } => [eos],
            _ => [],
        };
        _unknownId = tokenizer is null ? -1 : tokenizer.IdOf("<unk>") ?? tokenizer.IdOf("[UNK]") ?? -1;
    }

    /// <summary>The chat template in use, as text, or null.</summary>
    public string? TemplateSource => _chat?.TemplateSource;

    /// <summary>Encodes a row; a part of a document gives as many rows as it has windows.</summary>
    /// <exception cref="LoraNetException">The row is malformed; the message names file and line.</exception>
    public IReadOnlyList<EncodedRow> Encode(SourceRow source)
    {
        if (source.Part is { } part) return Windows(source, part);
        JsonObject row = source.Fields;
        RowPlace place = source.Place;
        string? adapter = _options.AdapterColumn is { } column && Fields.Has(row, column) ? Fields.Text(row, column, place) : null;
        EncodedRow encoded = Encode(row, place);
        return [adapter is null ? encoded : encoded with { Row = encoded.Row with { Adapter = adapter } }];
    }

    private EncodedRow Encode(JsonObject row, RowPlace place)
    {
        DataForm form = FormDetector.Detect(row, place, _options.Columns);
        return form switch
        {
            DataForm.Tokens => Tokens(row, place),
            DataForm.Text => Segments(form, place, [new Segment(Fields.Text(row, "text", place), Trained: true)], false),
            DataForm.PromptCompletion => PromptCompletion(row, place),
            DataForm.Alpaca => Alpaca(row, place),
            DataForm.Messages => Chat(form, place, Conversation.FromMessages(row, place), _options.TrainOn),
            DataForm.ShareGpt => Chat(form, place, Conversation.FromShareGpt(row, place), _options.TrainOn),
            _ => throw new LoraNetException($"{place}: a row with a label is for a classifier, and this is a language model.", "Remove the label to train on the text, or train a model with a classification head."),
        };
    }

    private ITokenizer Required(RowPlace place) =>
        _tokenizer ?? throw new LoraNetException($"{place}: text needs a tokenizer, and the model folder has none.", "Add tokenizer.json, or give pre-tokenised rows with input_ids.");

    private EncodedRow PromptCompletion(JsonObject row, RowPlace place)
    {
        if (row["prompt"] is JsonArray && row["completion"] is JsonArray)
            return Chat(DataForm.PromptCompletion, place, Conversation.FromPromptAndCompletion(row, place), _options.TrainOn == TrainOn.All ? TrainOn.All : TrainOn.Last);
        string prompt = Fields.Text(row, "prompt", place), completion = Fields.Text(row, "completion", place);
        return Segments(DataForm.PromptCompletion, place, [new Segment(prompt, false), new Segment(completion, true)], string.IsNullOrWhiteSpace(completion));
    }

    private EncodedRow Alpaca(JsonObject row, RowPlace place)
    {
        Required(place);
        if (_chat!.HasTemplate) return Chat(DataForm.Alpaca, place, Conversation.FromAlpaca(row, place), _options.TrainOn);
        IReadOnlyList<Segment> segments = AlpacaText.Segments(row, place, _options.TrainOn);
        return Segments(DataForm.Alpaca, place, segments, segments.Any(s => s.Answer && string.IsNullOrWhiteSpace(s.Text)));
    }

    private EncodedRow Chat(DataForm form, RowPlace place, Conversation.Turns turns, TrainOn trainOn)
    {
        Required(place);
        (int[] ids, int[] labels, bool doubled) = _chat!.Encode(turns, place, trainOn);
        RowFlags flags = (turns.EmptyAnswer ? RowFlags.EmptyAnswer : 0) | (doubled ? RowFlags.DoubledBos : 0);
        return Finish(form, place, ids, labels, null, flags);
    }

    private EncodedRow Tokens(JsonObject row, RowPlace place)
    {
        int[] ids = Fields.Integers(row, "input_ids", place);
        int[] labels = Fields.Has(row, "labels") ? Fields.Integers(row, "labels", place) : ids;
        int[]? mask = Fields.Has(row, "attention_mask") ? Fields.Integers(row, "attention_mask", place) : null;
        if (labels.Length != ids.Length || (mask is not null && mask.Length != ids.Length))
            throw new LoraNetException($"{place}: input_ids has {ids.Length} entries, labels {labels.Length}, attention_mask {mask?.Length ?? ids.Length}; they must agree.");
        if (ids.AsSpan().IndexOfAnyInRange(int.MinValue, -1) is >= 0 and int at) throw new LoraNetException($"{place}: input_ids[{at}] is {ids[at]}; ids are not negative.");
        bool doubled = _tokenizer?.BosId is { } bos && ids.Length > 1 && ids[0] == bos && ids[1] == bos && (mask is null || mask[0] != 0);
        return Finish(DataForm.Tokens, place, ids, labels, mask, doubled ? RowFlags.DoubledBos : 0);
    }

    // Each segment is tokenised on its own, so that a boundary is the same whatever follows it, as when the model is prompted.
    private EncodedRow Segments(DataForm form, RowPlace place, IReadOnlyList<Segment> segments, bool emptyAnswer)
    {
        ITokenizer tokenizer = Required(place);
        List<int> ids = [], labels = [];
        bool all = _options.TrainOn == TrainOn.All;
        for (int i = 0; i < segments.Count; i++)
        {
            Segment segment = segments[i];
            ReadOnlySpan<int> piece = tokenizer.Encode(segment.Text, addSpecialTokens: i == 0);
            if (tokenizer.EosId is { } eos)
            {
                // A prompt does not end the text, whatever the tokenizer adds; an answer does, once.
                if (piece.Length > 0 && piece[^1] == eos && (i == 0 || segment.Ends)) piece = piece[..^1];
                ids.AddRange(piece);
                if (segment.Ends) ids.Add(eos);
            }
            else
            {
                ids.AddRange(piece);
            }
            while (labels.Count < ids.Count) labels.Add(segment.Trained || all ? ids[labels.Count] : TokenRow.Ignored);
        }
        bool doubled = tokenizer.BosId is { } bos && bos != tokenizer.EosId && ids.Count > 1 && ids[0] == bos && ids[1] == bos;
        if (doubled)
        {
            ids.RemoveAt(0);
            labels.RemoveAt(0);
        }
        return Finish(form, place, [.. ids], [.. labels], null, (emptyAnswer ? RowFlags.EmptyAnswer : 0) | (doubled ? RowFlags.DoubledBos : 0));
    }

    private EncodedRow Finish(DataForm form, RowPlace place, int[] ids, int[] labels, int[]? mask, RowFlags flags)
    {
        int full = ids.Length;
        if (full > _options.MaxLength)
            (ids, labels, mask) = (ids[.._options.MaxLength], labels[.._options.MaxLength], mask?[.._options.MaxLength]);
        // Wholly trained rows keep one array for both: half the memory of a corpus of plain text.
        if (ids.AsSpan().SequenceEqual(labels)) labels = ids;
        var row = new TokenRow(ids, labels, mask);
        if (EndsInEos(labels)) flags |= RowFlags.EndsInEos;
        int unknown = 0;
        if (_unknownId >= 0)
            foreach (int id in ids) unknown += id == _unknownId ? 1 : 0;
        return new EncodedRow(row, new RowFacts(place, form, flags, full, unknown));
    }

    // Layouts may train a line break behind the end token, so that the last three trained tokens are looked at.
    private bool EndsInEos(int[] labels)
    {
        int seen = 0;
        for (int i = labels.Length - 1; i > 0 && seen < 3; i--)
        {
            if (labels[i] == TokenRow.Ignored) continue;
            if (_endIds.Contains(labels[i])) return true;
            seen++;
        }
        return false;
    }

    private List<EncodedRow> Windows(SourceRow source, DocumentPart part)
    {
        ITokenizer tokenizer = Required(source.Place);
        string text = Fields.Text(source.Fields, "text", source.Place);
        List<int> ids = [.. tokenizer.Encode(text, addSpecialTokens: part.First)];
        if (tokenizer.EosId is { } eos)
        {
            if (ids.Count > 0 && ids[^1] == eos && !part.Last) ids.RemoveAt(ids.Count - 1);
            if (part.Last && (ids.Count == 0 || ids[^1] != eos)) ids.Add(eos);
        }
        List<EncodedRow> rows = [];
        for (int at = 0; at < ids.Count; at += _options.MaxLength)
        {
            int[] window = [.. ids.Skip(at).Take(_options.MaxLength)];
            // A single token at the end has nothing that predicts it within its window: it joins no row of its own.
            if (window.Length < 2 && rows.Count > 0) break;
            rows.Add(Finish(DataForm.Text, source.Place, window, window, null, 0));
        }
        return rows;
    }
}

/// <summary>A piece of text that is tokenised on its own.</summary>
/// <param name="Text">The text.</param>
/// <param name="Trained">Whether the loss counts it.</param>
internal sealed record Segment(string Text, bool Trained)
{
    /// <summary>Whether it is an answer, trained or not.</summary>
    public bool Answer { get; init; } = Trained;

    /// <summary>Whether the end token follows.</summary>
    public bool Ends => Answer;
}
