using System.Globalization;
using System.Net;
using System.Text;

namespace LoraNet.Reports;

/// <summary>One curve of a chart.</summary>
/// <param name="Name">Name in the legend.</param>
/// <param name="Points">x and y in order of x; points that are not finite are left out.</param>
public sealed record SvgSeries(string Name, IReadOnlyList<(double X, double Y)> Points)
{
    /// <summary>CSS class that gives the colour: c0 to c3.</summary>
    public int Colour { get; init; }

    /// <summary>Whether each point is marked with a dot.</summary>
    public bool Dots { get; init; }

    /// <summary>Whether it is drawn pale, behind its smoothed version.</summary>
    public bool Pale { get; init; }
}

/// <summary>
/// A line chart as an SVG element, written by hand: a few hundred lines instead of a plotting library with native parts, so that
/// reports work in native-AOT builds and open anywhere. Colours come from the page's style sheet.
/// </summary>
public sealed class SvgChart
{
    private const double Left = 62, Right = 12, Top = 10, Bottom = 34;
    private const int MaxPoints = 600;

    /// <summary>What the chart shows, for screen readers.</summary>
    public required string Title { get; init; }

    /// <summary>Label under the horizontal axis.</summary>
    public string XLabel { get; init; } = "step";

    /// <summary>Curves, drawn in order.</summary>
    public required IReadOnlyList<SvgSeries> Series { get; init; }

    /// <summary>Width in units of the drawing.</summary>
    public double Width { get; init; } = 640;

    /// <summary>Height in units of the drawing.</summary>
    public double Height { get; init; } = 240;

    /// <summary>Whether the vertical axis starts at 0.</summary>
    public bool FromZero { get; init; }

    /// <summary>The SVG element, or null when there is no finite point.</summary>
    public string? Render()
    {
        List<(SvgSeries Series, List<(double X, double Y)> Points)> curves =
            [.. Series.Select(s => (s, Thin([.. s.Points.Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y))]))).Where(c => c.Item2.Count > 0)];
        if (curves.Count == 0) return null;
        double minX = curves.Min(c => c.Points[0].X), maxX = curves.Max(c => c.Points[^1].X);
        double minY = curves.Min(c => c.Points.Min(p => p.Y)), maxY = curves.Max(c => c.Points.Max(p => p.Y));
        if (FromZero) minY = Math.Min(0, minY);
        if (maxX <= minX) (minX, maxX) = (minX - 1, maxX + 1);
        if (maxY - minY <= 1e-12 * Math.Max(1, Math.Abs(maxY)))
        {
            double pad = maxY == 0 ? 1 : Math.Abs(maxY) * 0.1;
            (minY, maxY) = (FromZero ? Math.Min(0, minY) : minY - pad, maxY + pad);
        }
        List<double> yTicks = Ticks(minY, maxY, 5), xTicks = Ticks(minX, maxX, 8);
        (minY, maxY) = (Math.Min(minY, yTicks[0]), Math.Max(maxY, yTicks[^1]));

        StringBuilder svg = new();
        svg.Append(Invariant($"<svg viewBox=\"0 0 {Width:0} {Height:0}\" role=\"img\" aria-label=\"{WebUtility.HtmlEncode(Title)}\" xmlns=\"http://www.w3.org/2000/svg\">"));
        double yStep = yTicks.Count > 1 ? yTicks[1] - yTicks[0] : 1, xStep = xTicks.Count > 1 ? xTicks[1] - xTicks[0] : 1;
        foreach (double tick in yTicks)
        {
            svg.Append(Invariant($"<line class=\"grid\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Y(tick):0.#}\" y2=\"{Y(tick):0.#}\"/>"));
            svg.Append(Invariant($"<text class=\"tick\" text-anchor=\"end\" x=\"{Left - 7}\" y=\"{Y(tick) + 3.5:0.#}\">{Label(tick, yStep, yTicks[^1])}</text>"));
        }
        foreach (double tick in xTicks.Where(t => t >= minX && t <= maxX))
            svg.Append(Invariant($"<text class=\"tick\" text-anchor=\"middle\" x=\"{X(tick):0.#}\" y=\"{Height - Bottom + 16}\">{Label(tick, xStep, xTicks[^1])}</text>"));
        svg.Append(Invariant($"<line class=\"axis\" x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{Height - Bottom}\" y2=\"{Height - Bottom}\"/>"));
        svg.Append(Invariant($"<text class=\"tick\" text-anchor=\"middle\" x=\"{(Left + Width - Right) / 2}\" y=\"{Height - 3}\">{WebUtility.HtmlEncode(XLabel)}</text>"));
        foreach ((SvgSeries series, List<(double X, double Y)> points) in curves)
        {
            string css = $"c{series.Colour}{(series.Pale ? " pale" : "")}";
            if (points.Count > 1)
                svg.Append($"<polyline class=\"line {css}\" points=\"").AppendJoin(' ', points.Select(p => Invariant($"{X(p.X):0.#},{Y(p.Y):0.#}"))).Append("\"/>");
            if (!series.Dots && points.Count > 1) continue;
            foreach ((double x, double y) in points)
                svg.Append(Invariant($"<circle class=\"dot {css}\" cx=\"{X(x):0.#}\" cy=\"{Y(y):0.#}\" r=\"3\"><title>{WebUtility.HtmlEncode(series.Name)}, {WebUtility.HtmlEncode(XLabel)} {x:0.##}: {y:G6}</title></circle>"));
        }
        return svg.Append("</svg>").ToString();

        double X(double x) => Left + (x - minX) / (maxX - minX) * (Width - Left - Right);
        double Y(double y) => Height - Bottom - (y - minY) / (maxY - minY) * (Height - Top - Bottom);
    }

    /// <summary>Exponentially smoothed values, corrected for the start as Adam's moments are: mₜ = βmₜ₋₁ + (1−β)yₜ, shown as mₜ/(1−βᵗ).</summary>
    public static IReadOnlyList<(double X, double Y)> Smooth(IReadOnlyList<(double X, double Y)> points, double beta)
    {
        List<(double, double)> result = [];
        double mean = 0, weight = 1;
        foreach ((double x, double y) in points)
        {
            if (!double.IsFinite(y)) continue;
            mean = beta * mean + (1 - beta) * y;
            weight *= beta;
            result.Add((x, mean / (1 - weight)));
        }
        return result;
    }

    // Keeps the smallest and the largest of each stretch, so that peaks survive.
    private static List<(double X, double Y)> Thin(List<(double X, double Y)> points)
    {
        if (points.Count <= MaxPoints) return points;
        List<(double X, double Y)> result = [points[0]];
        double stretch = points.Count / (MaxPoints / 2.0);
        for (double start = 0; start < points.Count; start += stretch)
        {
            int from = (int)start, to = Math.Min(points.Count, (int)(start + stretch));
            if (to <= from) continue;
            int low = from, high = from;
            for (int i = from; i < to; i++)
            {
                if (points[i].Y < points[low].Y) low = i;
                if (points[i].Y > points[high].Y) high = i;
            }
            result.Add(points[Math.Min(low, high)]);
            if (low != high) result.Add(points[Math.Max(low, high)]);
        }
        if (result[^1].X < points[^1].X) result.Add(points[^1]);
        return result;
    }

    // Multiples of 1, 2 or 5 times a power of ten.
    private static List<double> Ticks(double min, double max, int about)
    {
        double raw = (max - min) / about, power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        double step = (raw / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 } * power;
        List<double> ticks = [];
        for (double i = Math.Floor(min / step + 1e-9); i <= Math.Ceiling(max / step - 1e-9); i++) ticks.Add(i * step);
        return ticks;
    }

    private static string Label(double value, double step, double largest)
    {
        if (Math.Abs(value) < step * 1e-6) return "0";
        // One notation for the whole axis.
        if (Math.Max(Math.Abs(largest), step) is >= 1e6 or <= 0.01) return value.ToString("0.##e0", CultureInfo.InvariantCulture);
        int decimals = Math.Clamp((int)Math.Ceiling(-Math.Log10(step) - 1e-9), 0, 8);
        return value.ToString("N" + decimals, CultureInfo.InvariantCulture);
    }

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
