namespace LoraNet.Metrics.Texts;

/// <summary>One text to score and what people wrote for the same input, all as words (see <see cref="MtevalTokenizer"/>).</summary>
/// <param name="Candidate">The text's words; none when nothing was written.</param>
/// <param name="References">One or more references' words.</param>
public sealed record TextSegment(IReadOnlyList<string> Candidate, IReadOnlyList<IReadOnlyList<string>> References)
{
    internal static void Check(IReadOnlyList<TextSegment> segments)
    {
        if (segments.Count == 0) throw new ArgumentException("There are no texts to score.");
        if (segments.Any(s => s.References.Count == 0)) throw new ArgumentException("A text has no reference.");
    }
}
