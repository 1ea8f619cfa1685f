namespace LoraNet.Metrics.Texts;

/// <summary>
/// BLEU (Papineni et al., 2002) of a whole set of texts with any number of references each, as mteval-v13a and e2e-metrics count it:
/// BP · exp(¼ Σₙ ln pₙ) for n = 1..4, with pₙ the share of the candidates' n-grams that a reference has (clipped counts, summed over
/// the set), and BP = min(1, exp(1 − r/c)) for c words written and r the sum of the references' lengths closest to each candidate's
/// (the shorter of two equally close). No smoothing: 0 when some pₙ is 0.
/// </summary>
public static class Bleu
{
    /// <summary>The score, in [0, 1].</summary>
    /// <param name="segments">At least one.</param>
    /// <param name="order">Longest n-gram.</param>
    public static double Compute(IReadOnlyList<TextSegment> segments, int order = 4)
    {
        TextSegment.Check(segments);
        double logs = 0, written = segments.Sum(s => s.Candidate.Count), expected = 0;
        for (int n = 1; n <= order; n++)
        {
            double matched = segments.Sum(s => NGrams.Matches(s, n).Sum(m => m.Count)), total = segments.Sum(s => Math.Max(0, s.Candidate.Count - n + 1));
            if (matched == 0) return 0;
            logs += Math.Log(matched / total) / order;
        }
        foreach (TextSegment segment in segments)
            expected += segment.References.Select(r => r.Count).OrderBy(length => Math.Abs(length - segment.Candidate.Count)).ThenBy(length => length).First();
        return Math.Min(1, Math.Exp(1 - expected / written)) * Math.Exp(logs);
    }
}
