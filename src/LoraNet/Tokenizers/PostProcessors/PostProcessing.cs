namespace LoraNet.Tokenizers;

/// <summary>A part of a template: ids to insert, or the tokens of the first (0) or second (1) text.</summary>
internal readonly record struct TemplatePart(int[]? Ids, int Sequence, int TypeId);

/// <summary>
/// What is put around the tokens of one text or a pair: every post-processor of tokenizer.json comes down to this.
/// </summary>
/// <param name="Single">The layout of one text.</param>
/// <param name="Pair">The layout of two texts.</param>
/// <param name="TrimOffsets">Whether a token's range leaves out the white space at its ends.</param>
/// <param name="AddPrefixSpace">Whether the first token's leading space was added and so is not in the text.</param>
internal sealed record PostProcessing(IReadOnlyList<TemplatePart> Single, IReadOnlyList<TemplatePart> Pair, bool TrimOffsets = false, bool AddPrefixSpace = false)
{
    public static PostProcessing None { get; } = new([new(null, 0, 0)], [new(null, 0, 0), new(null, 1, 1)]);

    /// <summary>The layout [start] A [end] and, for a pair, [start] A [end] [start] B [end], as Llama's tokenizer builds it.</summary>
    public static PostProcessing StartEnd(int? start, int? end)
    {
        var single = new List<TemplatePart>();
        var pair = new List<TemplatePart>();
        Add(single, 0);
        Add(pair, 0);
        Add(pair, 1);
        return new PostProcessing(single, pair);

        void Add(List<TemplatePart> parts, int sequence)
        {
            if (start is int s) parts.Add(new TemplatePart([s], -1, sequence));
            parts.Add(new TemplatePart(null, sequence, sequence));
            if (end is int e) parts.Add(new TemplatePart([e], -1, sequence));
        }
    }

    /// <summary>The number of ids that the layout of one text (or of two) adds.</summary>
    public int AddedCount(bool pair) => (pair ? Pair : Single).Sum(p => p.Ids?.Length ?? 0);
}
