namespace LoraNet.Metrics.Texts;

/// <summary>
/// CIDEr-D (Vedantam et al., 2015, section 5), which the COCO caption scripts and e2e-metrics report as CIDEr, without stemming:
/// 10/4 · Σₙ (1/m) Σᵣ exp(−(l − lᵣ)²/(2·6²)) · (min(g, gᵣ)·gᵣ) / (‖g‖·‖gᵣ‖) for n = 1..4 and m references r of lengths lᵣ, averaged over the
/// texts. A vector g has count · ln(N / df) for every n-gram, df counting the N texts of which some reference has it. So a set of one
/// text scores 0: nothing in it is rare.
/// </summary>
public static class Cider
{
    private const int Order = 4;
    private const double Sigma = 6;

    /// <summary>The mean score, in [0, 10].</summary>
    public static double Compute(IReadOnlyList<TextSegment> segments)
    {
        TextSegment.Check(segments);
        double score = 0;
        for (int n = 1; n <= Order; n++)
        {
            Dictionary<string, int> texts = [];
            foreach (TextSegment segment in segments)
                foreach (string run in segment.References.SelectMany(r => NGrams.Count(r, n).Keys).Distinct()) texts[run] = texts.GetValueOrDefault(run) + 1;
            foreach (TextSegment segment in segments)
            {
                Dictionary<string, double> vector = Vector(segment.Candidate, n);
                score += segment.References.Average(r => Gauss(segment.Candidate.Count - r.Count) * Similarity(vector, Vector(r, n)));
            }

            Dictionary<string, double> Vector(IReadOnlyList<string> words, int length) =>
                NGrams.Count(words, length).ToDictionary(c => c.Key, c => c.Value * Math.Log(segments.Count / (double)Math.Max(1, texts.GetValueOrDefault(c.Key))));
        }
        return 10 * score / Order / segments.Count;
    }

    private static double Gauss(double difference) => Math.Exp(-difference * difference / (2 * Sigma * Sigma));

    private static double Similarity(Dictionary<string, double> candidate, Dictionary<string, double> reference)
    {
        double dot = 0, norms = Norm(candidate) * Norm(reference);
        foreach ((string run, double weight) in candidate)
            if (reference.TryGetValue(run, out double other)) dot += Math.Min(weight, other) * other;
        return norms == 0 ? 0 : dot / norms;
    }

    private static double Norm(Dictionary<string, double> vector) => Math.Sqrt(vector.Values.Sum(x => x * x));
}
