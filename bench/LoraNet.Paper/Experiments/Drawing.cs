using LoraNet.Training;

namespace LoraNet.Paper.Experiments;

/// <summary>Draws rows.</summary>
internal static class Drawing
{
    /// <summary><paramref name="count"/> different rows, the same for the same seed; all of them in their order when there are no more.</summary>
    public static List<T> Draw<T>(List<T> rows, int count, ulong seed) =>
        count >= rows.Count ? rows : [.. new RowOrder(rows.Count, rows.Count, seed, shuffle: true).Rows(0)[..count].ToArray().Select(i => rows[i])];
}
