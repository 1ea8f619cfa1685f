using System.Text.Json.Nodes;
using static LoraNet.Paper.Rendering.ResultSet;

namespace LoraNet.Paper.Rendering;

/// <summary>φ of section 7.2 at a few pairs of sizes; the heat maps show the rest.</summary>
internal static class SubspaceTable
{
    /// <summary>The table.</summary>
    public static string Create(ResultSet results)
    {
        Table table = new("A of", "compared", "φ(1, 1)", "φ(1, 8)", "φ(4, 4)", "φ(8, 8)", "φ(8, 64)", "seeds");
        foreach (IGrouping<string, JsonObject> group in results.Of("subspace").GroupBy(r => $"{Text(r, "module")}|{Text(r, "pair")}").OrderBy(g => Text(g.First(), "module"), StringComparer.Ordinal))
        {
            JsonObject row = group.First();
            string pair = Text(row, "pair") switch { "ranks" => "r 8 with r 64", "seeds" => "r 64, two seeds", _ => "two random matrices of rank 64" };
            table.Add([Text(row, "module"), pair, .. new[] { (1, 1), (1, 8), (4, 4), (8, 8), (8, 64) }.Select(at => Numbers.Spread([.. group.Select(r => Phi(r, at.Item1, at.Item2))], "0.00")), $"{group.Count()}"]);
        }
        return table.ToString();
    }

    /// <summary>φ for the first i and first j directions; NaN when it was not kept.</summary>
    public static double Phi(JsonObject row, int i, int j)
    {
        int y = Index(row["i"]!.AsArray(), i), x = Index(row["j"]!.AsArray(), j);
        return y < 0 || x < 0 ? double.NaN : row["phi"]!.AsArray()[y]!.AsArray()[x]!.GetValue<double>();
    }

    private static int Index(JsonArray sizes, int size)
    {
        for (int k = 0; k < sizes.Count; k++) if (sizes[k]!.GetValue<int>() == size) return k;
        return -1;
    }
}
