namespace LoraNet.Formats;

/// <summary>Finds the names a user may have meant, for error messages.</summary>
internal static class NearestNames
{
    /// <summary>Up to <paramref name="count"/> candidates with the smallest edit distance, nearest first; far ones are left out.</summary>
    public static IReadOnlyList<string> Find(string name, IEnumerable<string> candidates, int count)
    {
        // Anything that needs more than half its letters changed is no help to the reader.
        int limit = Math.Max(2, name.Length / 2);
        return [.. candidates.Where(c => Math.Abs(c.Length - name.Length) <= limit)
            .Select(c => (Name: c, Distance: Distance(name, c)))
            .Where(p => p.Distance <= limit)
            .OrderBy(static p => p.Distance).ThenBy(static p => p.Name, StringComparer.Ordinal)
            .Take(count).Select(static p => p.Name)];
    }

    // Levenshtein's distance with two rows.
    private static int Distance(string a, string b)
    {
        int[] previous = new int[b.Length + 1], current = new int[b.Length + 1];
        for (int j = 0; j <= b.Length; j++) previous[j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            current[0] = i;
            for (int j = 1; j <= b.Length; j++)
                current[j] = Math.Min(Math.Min(current[j - 1], previous[j]) + 1, previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
            (previous, current) = (current, previous);
        }
        return previous[b.Length];
    }
}
