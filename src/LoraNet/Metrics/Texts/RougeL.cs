namespace LoraNet.Metrics.Texts;

/// <summary>
/// ROUGE-L (Lin, 2004) as the COCO caption scripts count it: with the longest common subsequence of a candidate and each reference,
/// F = (1 + β²)·P·R / (R + β²·P), β = 1.2, P and R the best precision and the best recall over the references; the mean over the texts.
/// </summary>
public static class RougeL
{
    private const double SquaredBeta = 1.2 * 1.2;

    /// <summary>The mean score, in [0, 1].</summary>
    public static double Compute(IReadOnlyList<TextSegment> segments)
    {
        TextSegment.Check(segments);
        return segments.Average(Compute);
    }

    private static double Compute(TextSegment segment)
    {
        double precision = 0, recall = 0;
        foreach (IReadOnlyList<string> reference in segment.References)
        {
            double common = CommonLength(segment.Candidate, reference);
            if (common == 0) continue;
            precision = Math.Max(precision, common / segment.Candidate.Count);
            recall = Math.Max(recall, common / reference.Count);
        }
        return precision == 0 ? 0 : (1 + SquaredBeta) * precision * recall / (recall + SquaredBeta * precision);
    }

    private static int CommonLength(IReadOnlyList<string> a, IReadOnlyList<string> b)
    {
        int[] lengths = new int[b.Count + 1];
        foreach (string word in a)
        {
            int diagonal = 0;
            for (int j = 1; j <= b.Count; j++)
            {
                int above = lengths[j];
                lengths[j] = word == b[j - 1] ? diagonal + 1 : Math.Max(above, lengths[j - 1]);
                diagonal = above;
            }
        }
        return lengths[b.Count];
    }
}
