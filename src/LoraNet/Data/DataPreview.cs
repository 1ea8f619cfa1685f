using System.Text;
using System.Text.Json.Nodes;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data;

/// <summary>The first samples as the model will see them, with what is trained marked.</summary>
/// <param name="Samples">The samples.</param>
/// <param name="Report">The report of the whole data set.</param>
public sealed record DataPreview(IReadOnlyList<PreviewSample> Samples, DataReport Report)
{
    /// <summary>Decodes the first rows of a data set.</summary>
    /// <param name="data">The data.</param>
    /// <param name="tokenizer">Decodes; null shows ids.</param>
    /// <param name="count">How many samples, at most.</param>
    public static DataPreview Create(DataSet data, ITokenizer? tokenizer, int count = 3)
    {
        ArgumentNullException.ThrowIfNull(data);
        List<PreviewSample> samples = [];
        for (int i = 0; i < Math.Min(count, data.Rows.Count); i++)
        {
            TokenRow row = data.Rows[i];
            samples.Add(new PreviewSample(data.PlaceOf(i), data.FormOf(i), row.InputIds.Length, row.TrainedTokens, data.FullLengthOf(i), Parts(row, tokenizer)));
        }
        return new DataPreview(samples, data.Report);
    }

    /// <summary>The preview for machines: samples with their parts, and the report.</summary>
    public JsonObject ToJson() => new()
    {
        ["samples"] = new JsonArray([.. Samples.Select(s => (JsonNode)new JsonObject
        {
            ["place"] = s.Place,
            ["form"] = s.Form?.ToString(),
            ["tokens"] = s.Tokens,
            ["trained_tokens"] = s.TrainedTokens,
            ["full_length"] = s.FullLength,
            ["parts"] = new JsonArray([.. s.Parts.Select(p => (JsonNode)new JsonObject { ["text"] = p.Text, ["trained"] = p.Trained })]),
        })]),
        ["report"] = Report.ToJson(),
    };

    // Decoded as one stream, so that spaces between the parts are those of the whole. Padding is left out.
    private static List<PreviewPart> Parts(TokenRow row, ITokenizer? tokenizer)
    {
        List<PreviewPart> parts = [];
        var text = new StringBuilder();
        IncrementalDecoder? decoder = tokenizer?.CreateDecoder(skipSpecialTokens: false);
        bool current = false;
        for (int i = 0; i < row.InputIds.Length; i++)
        {
            if (row.AttentionMask is { } mask && mask[i] == 0) continue;
            bool trained = i > 0 && row.Labels[i] != TokenRow.Ignored && (row.AttentionMask is null || row.AttentionMask[i - 1] != 0);
            if (trained != current) Close();
            current = trained;
            if (decoder is null) text.Append(text.Length > 0 ? " " : "").Append(row.InputIds[i]);
            else text.Append(decoder.Append(row.InputIds[i]));
        }
        if (decoder is not null) text.Append(decoder.Flush());
        Close();
        return parts;

        void Close()
        {
            if (text.Length > 0) parts.Add(new PreviewPart(text.ToString(), current));
            text.Clear();
        }
    }
}

/// <summary>One sample.</summary>
/// <param name="Place">File and line.</param>
/// <param name="Form">The row's form.</param>
/// <param name="Tokens">Its tokens.</param>
/// <param name="TrainedTokens">Tokens that the loss counts.</param>
/// <param name="FullLength">Tokens before cutting.</param>
/// <param name="Parts">The text in parts that are trained or not.</param>
public sealed record PreviewSample(string Place, DataForm? Form, int Tokens, int TrainedTokens, int FullLength, IReadOnlyList<PreviewPart> Parts);

/// <summary>A part of a sample.</summary>
/// <param name="Text">Its text.</param>
/// <param name="Trained">Whether the loss counts its tokens.</param>
public sealed record PreviewPart(string Text, bool Trained);
