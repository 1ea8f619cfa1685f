namespace LoraNet.Metrics.Texts;

/// <summary>
/// NIST (Doddington, 2002): Σₙ (Σ info of matched n-grams) / (n-grams written) for n = 1..5, times the brevity factor
/// exp(β·ln²min(1, L/L̄)), with info(w₁…wₙ) = log₂(count(w₁…wₙ₋₁) / count(w₁…wₙ)) over all references, L words written, L̄ the
/// segments' mean reference lengths summed, and β such that the factor is ½ at L/L̄ = ⅔. Matches are clipped as in <see cref="Bleu"/>.
/// Has no upper bound that is the same for all sets.
/// </summary>
public static class Nist
{
    private const int Order = 5;

    /// <summary>The score; 0 when nothing matches.</summary>
    public static double Compute(IReadOnlyList<TextSegment> segments)
    {
        TextSegment.Check(segments);
        double written = segments.Sum(s => s.Candidate.Count), expected = segments.Sum(s => s.References.Average(r => r.Count));
        if (written == 0 || expected == 0) return 0;
        Dictionary<string, int> shorter = new() { [""] = segments.Sum(s => s.References.Sum(r => r.Count)) };
        double score = 0;
        for (int n = 1; n <= Order; n++)
        {
            Dictionary<string, int> counts = [];
            foreach (IReadOnlyList<string> reference in segments.SelectMany(s => s.References))
                foreach ((string run, int count) in NGrams.Count(reference, n)) counts[run] = counts.GetValueOrDefault(run) + count;
            double total = segments.Sum(s => Math.Max(0, s.Candidate.Count - n + 1));
            if (total == 0) break;
            score += segments.Sum(s => NGrams.Matches(s, n).Sum(m => m.Count * Math.Log2(shorter[Start(m.Run)] / (double)counts[m.Run]))) / total;
            shorter = counts;
        }
        double beta = Math.Log(0.5) / Math.Pow(Math.Log(1.5), 2);
        return score * Math.Exp(beta * Math.Pow(Math.Log(Math.Min(1, written / expected)), 2));
    }

    private static string Start(string run) => run.LastIndexOf(' ') is >= 0 and var at ? run[..at] : "";
}
