namespace LoraNet.Metrics.Texts;

/// <summary>Counts of runs of n words.</summary>
internal static class NGrams
{
    /// <summary>How often each run of <paramref name="length"/> words occurs; runs are joined by spaces, which words do not contain.</summary>
    public static Dictionary<string, int> Count(IReadOnlyList<string> words, int length)
    {
        Dictionary<string, int> counts = [];
        for (int i = 0; i + length <= words.Count; i++)
        {
            string key = string.Join(' ', words.Skip(i).Take(length));
            counts[key] = counts.GetValueOrDefault(key) + 1;
        }
        return counts;
    }

    /// <summary>The candidate's runs that its references have, each at most as often as the one reference that has it most often.</summary>
    public static IEnumerable<(string Run, int Count)> Matches(TextSegment segment, int length)
    {
        Dictionary<string, int> most = [];
        foreach (IReadOnlyList<string> reference in segment.References)
            foreach ((string run, int count) in Count(reference, length)) most[run] = Math.Max(count, most.GetValueOrDefault(run));
        foreach ((string run, int count) in Count(segment.Candidate, length))
            if (most.TryGetValue(run, out int limit)) yield return (run, Math.Min(count, limit));
    }
}
