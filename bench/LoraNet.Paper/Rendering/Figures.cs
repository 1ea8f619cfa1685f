using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using static LoraNet.Paper.Rendering.ResultSet;

namespace LoraNet.Paper.Rendering;

/// <summary>SVG figures; black on white, so that they read in light and dark pages.</summary>
internal static class Figures
{
    private const int Cell = 22;

    /// <summary>Writes all that there are results for.</summary>
    public static void Write(ResultSet results, string folder)
    {
        Directory.CreateDirectory(folder);
        List<JsonObject> ranks = [.. results.Of("e2e-rank")];
        if (ranks.Count > 0) File.WriteAllText(Path.Combine(folder, "rank-sweep.svg"), RankSweep(ranks));
        List<JsonObject> phis = [.. results.Of("subspace")];
        if (phis.Count > 0) File.WriteAllText(Path.Combine(folder, "subspace.svg"), HeatMaps(phis));
    }

    // Held-out loss against rank on a logarithmic axis: every seed a dot, the means joined.
    private static string RankSweep(List<JsonObject> rows)
    {
        const int Width = 460, Height = 280, Left = 60, Right = 20, Top = 20, Bottom = 45;
        double low = rows.Min(r => Number(r, "held_loss")), high = rows.Max(r => Number(r, "held_loss")), room = Math.Max(1e-6, (high - low) * 0.1);
        (low, high) = (low - room, high + room);
        double last = Math.Log2(rows.Max(r => Number(r, "rank")));
        StringBuilder svg = Open(Width, Height);
        Line(svg, Left, Height - Bottom, Width - Right, Height - Bottom);
        Line(svg, Left, Top, Left, Height - Bottom);
        for (int k = 0; k <= 4; k++)
        {
            double value = low + (high - low) * k / 4;
            Label(svg, Left - 6, Y(value) + 4, value.ToString("0.00", CultureInfo.InvariantCulture), "end");
        }
        List<(double Rank, double Mean)> means = [.. rows.GroupBy(r => Number(r, "rank")).Select(g => (g.Key, g.Average(r => Number(r, "held_loss")))).OrderBy(m => m.Key)];
        foreach ((double rank, _) in means) Label(svg, X(rank), Height - Bottom + 16, $"{rank}", "middle");
        svg.Append(CultureInfo.InvariantCulture, $"<polyline fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"1.5\" points=\"{string.Join(' ', means.Select(m => string.Create(CultureInfo.InvariantCulture, $"{X(m.Rank):0.0},{Y(m.Mean):0.0}")))}\"/>\n");
        foreach (JsonObject row in rows) svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{X(Number(row, "rank")):0.0}\" cy=\"{Y(Number(row, "held_loss")):0.0}\" r=\"3\" fill=\"#1f6fb4\"/>\n");
        Label(svg, (Left + Width - Right) / 2, Height - 8, "rank r of query and value", "middle");
        Label(svg, Left, Top - 6, "held-out loss, each seed and the mean", "start");
        return svg.Append("</svg>\n").ToString();

        double X(double rank) => Left + 15 + (Width - Left - Right - 30) * (last == 0 ? 0 : Math.Log2(rank) / last);
        double Y(double value) => Height - Bottom - (Height - Bottom - Top) * (value - low) / (high - low);
    }

    // One map a module and comparison, means over the seeds.
    private static string HeatMaps(List<JsonObject> rows)
    {
        List<string> modules = [.. rows.Select(r => Text(r, "module")).Distinct().Order(StringComparer.Ordinal)];
        (string Pair, string Title)[] pairs = [("ranks", "r 8 (down) in r 64 (across)"), ("seeds", "r 64, two seeds")];
        int side = rows.Max(r => r["j"]!.AsArray().Count) * Cell, wide = side + 60, high = side + 60;
        StringBuilder svg = Open(pairs.Length * wide + 10, modules.Count * high + 10);
        for (int m = 0; m < modules.Count; m++)
        {
            for (int p = 0; p < pairs.Length; p++)
            {
                List<JsonObject> group = [.. rows.Where(r => Text(r, "module") == modules[m] && Text(r, "pair") == pairs[p].Pair)];
                if (group.Count > 0) Map(svg, p * wide + 40, m * high + 40, $"{Short(modules[m])}: {pairs[p].Title}", group);
            }
        }
        return svg.Append("</svg>\n").ToString();
    }

    private static void Map(StringBuilder svg, int left, int top, string title, List<JsonObject> group)
    {
        int[] down = Sizes("i"), across = Sizes("j");
        Label(svg, left, top - 22, title, "start");
        for (int x = 0; x < across.Length; x++) Label(svg, left + x * Cell + Cell / 2, top - 5, $"{across[x]}", "middle", 9);
        for (int y = 0; y < down.Length; y++)
        {
            Label(svg, left - 4, top + y * Cell + Cell / 2 + 3, $"{down[y]}", "end", 9);
            for (int x = 0; x < across.Length; x++)
            {
                double phi = Math.Clamp(group.Average(r => SubspaceTable.Phi(r, down[y], across[x])), 0, 1);
                // White to dark blue.
                int red = (int)(255 - 235 * phi), green = (int)(255 - 195 * phi), blue = (int)(255 - 125 * phi);
                svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{left + x * Cell}\" y=\"{top + y * Cell}\" width=\"{Cell}\" height=\"{Cell}\" fill=\"rgb({red},{green},{blue})\"/>");
                svg.Append(CultureInfo.InvariantCulture, $"<text class=\"{(phi > 0.5 ? "l" : "d")}\" x=\"{left + x * Cell + Cell / 2}\" y=\"{top + y * Cell + Cell / 2 + 3}\">{phi:.00}</text>\n");
            }
        }

        int[] Sizes(string key) => [.. group[0][key]!.AsArray().Select(n => n!.GetValue<int>())];
    }

    private static string Short(string module) => string.Join('.', module.Split('.').Where(p => p is not ("model" or "layers" or "self_attn")));

    private static StringBuilder Open(int width, int height) => new(
        $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        + "<style>.l,.d{font-size:8px;text-anchor:middle;fill:#fff}.d{fill:#333}</style>\n");

    private static void Line(StringBuilder svg, double x1, double y1, double x2, double y2) =>
        svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#333\"/>\n");

    private static void Label(StringBuilder svg, double x, double y, string text, string anchor, int size = 12, string colour = "#222") =>
        svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x:0.0}\" y=\"{y:0.0}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>\n");
}
