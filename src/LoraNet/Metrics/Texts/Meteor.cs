namespace LoraNet.Metrics.Texts;

/// <summary>
/// METEOR (Banerjee and Lavie, 2005; parameters of Lavie and Agarwal, 2007) with its first two stages of matching: equal words, then
/// equal Porter stems. F = P·R / (α·P + (1 − α)·R), times 1 − γ·(chunks/matches)^β, with α = 0.9, β = 3, γ = 0.5; chunks are runs of
/// matches that are adjacent in both texts. A text's score is that of its best reference; the set's is the mean. The stages of WordNet
/// synonyms and paraphrases are not there, so scores are lower than those of METEOR 1.5, which also weighs words and aggregates otherwise.
/// Words are matched from the last to the first, each with the last free equal word, as NLTK does; a search for the fewest chunks would
/// score the same or higher.
/// </summary>
public static class Meteor
{
    private const double Alpha = 0.9, Beta = 3, Gamma = 0.5;

    /// <summary>The mean score, in [0, 1). Equal texts of m words score 1 − ½/m³.</summary>
    public static double Compute(IReadOnlyList<TextSegment> segments)
    {
        TextSegment.Check(segments);
        return segments.Average(s => s.References.Max(r => Compute(s.Candidate, r)));
    }

    private static double Compute(IReadOnlyList<string> candidate, IReadOnlyList<string> reference)
    {
        int[] partner = new int[candidate.Count];
        Array.Fill(partner, -1);
        bool[] used = new bool[reference.Count];
        Match(candidate, reference, partner, used);
        Match([.. candidate.Select(PorterStemmer.Stem)], [.. reference.Select(PorterStemmer.Stem)], partner, used);
        double matches = partner.Count(p => p >= 0);
        if (matches == 0) return 0;
        double precision = matches / candidate.Count, recall = matches / reference.Count;
        int chunks = 0, last = -2, place = -2;
        for (int i = 0; i < partner.Length; i++)
        {
            if (partner[i] < 0) continue;
            if (i != last + 1 || partner[i] != place + 1) chunks++;
            (last, place) = (i, partner[i]);
        }
        return precision * recall / (Alpha * precision + (1 - Alpha) * recall) * (1 - Gamma * Math.Pow(chunks / matches, Beta));
    }

    private static void Match(IReadOnlyList<string> candidate, IReadOnlyList<string> reference, int[] partner, bool[] used)
    {
        for (int i = candidate.Count - 1; i >= 0; i--)
        {
            if (partner[i] >= 0) continue;
            for (int j = reference.Count - 1; j >= 0; j--)
            {
                if (used[j] || candidate[i] != reference[j]) continue;
                (partner[i], used[j]) = (j, true);
                break;
            }
        }
    }
}
