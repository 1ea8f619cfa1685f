using System.Text.Json.Nodes;

namespace LoraNet.Data.Reading;

/// <summary>Where a row stands, for messages: "data.jsonl, line 3".</summary>
internal readonly record struct RowPlace(string File, long Number, bool ByRow = false)
{
    public override string ToString() => $"{File}, {(ByRow ? "row" : "line")} {Number}";

    /// <summary>The same without the file.</summary>
    public string Short => $"{(ByRow ? "row" : "line")} {Number}";
}

/// <summary>A row as read: named fields, not yet understood.</summary>
/// <param name="Place">File and line.</param>
/// <param name="Fields">The fields.</param>
/// <param name="Size">Rough size in bytes, to bound how much text is held at once.</param>
internal sealed record SourceRow(RowPlace Place, JsonObject Fields, int Size)
{
    /// <summary>Set for parts of one long text, which are cut into rows rather than off.</summary>
    public DocumentPart? Part { get; init; }
}

/// <summary>A part of a document that is read in blocks: start and end tokens belong to its first and last part only.</summary>
internal sealed record DocumentPart(bool First, bool Last);
