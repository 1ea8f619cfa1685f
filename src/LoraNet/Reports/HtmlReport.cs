using System.Net;
using System.Text;
using LoraNet.Formats;

namespace LoraNet.Reports;

/// <summary>Writes a run as one HTML file that needs no network: style and charts are inside.</summary>
public static class HtmlReport
{
    private const double Smoothing = 0.8;

    /// <summary>Writes the file.</summary>
    /// <exception cref="LoraNetException">It cannot be written.</exception>
    public static void Write(string path, RunReport report) => AtomicFile.WriteAllText(path, Render(report));

    /// <summary>The page as text.</summary>
    public static string Render(RunReport report)
    {
        StringBuilder html = new();
        html.Append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        html.Append("<title>").Append(Text(report.Title)).Append("</title><style>").Append(Style).Append("</style></head><body><main>\n");
        html.Append("<header><h1>").Append(Text(report.Title)).Append("</h1><p>").Append(Text(report.Summary)).Append("</p></header>\n");
        html.Append("<section class=\"figures\">");
        foreach ((string name, string value) in report.Figures) html.Append("<div><b>").Append(Text(value)).Append("</b><span>").Append(Text(name)).Append("</span></div>");
        html.Append("</section>\n<section class=\"charts\">");
        foreach ((string title, string legend, SvgChart chart) in Charts(report.History))
            if (chart.Render() is { } svg) html.Append("<figure><figcaption>").Append(Text(title)).Append(legend).Append("</figcaption>").Append(svg).Append("</figure>\n");
        html.Append("</section>\n");
        if (report.Samples.Count > 0) AppendSamples(html, report.Samples);
        html.Append("<section class=\"tables\">");
        foreach (ReportSection section in report.Sections)
        {
            html.Append("<div><h2>").Append(Text(section.Title)).Append("</h2><table>");
            foreach ((string name, string value, string? note) in section.Facts)
            {
                html.Append("<tr><th>").Append(Text(name)).Append("</th><td>").Append(Text(value));
                if (note is not null) html.Append(" <i>").Append(Text(note)).Append("</i>");
                html.Append("</td></tr>");
            }
            html.Append("</table></div>\n");
        }
        html.Append("</section>");
        if (report.Notes.Count > 0)
        {
            html.Append("<h2>Notes</h2><ul>");
            foreach (string note in report.Notes) html.Append("<li>").Append(Text(note)).Append("</li>");
            html.Append("</ul>");
        }
        return html.Append("</main></body></html>\n").ToString();
    }

    private static IEnumerable<(string Title, string Legend, SvgChart Chart)> Charts(RunHistory history)
    {
        List<(double, double)> loss = Points(s => s.Loss);
        List<(double X, double Y)> eval = [.. history.Evaluations.Select(e => ((double)e.Step, e.Loss))];
        bool smooth = loss.Count > 20;
        List<SvgSeries> series = [new("loss", loss) { Pale = smooth }];
        if (smooth) series.Add(new SvgSeries("loss, smoothed", SvgChart.Smooth(loss, Smoothing)));
        if (eval.Count > 0) series.Add(new SvgSeries("held-out loss", eval) { Colour = 1, Dots = true });
        string legend = "<span class=\"key c0\">training</span>" + (eval.Count > 0 ? "<span class=\"key c1\">held-out</span>" : "");
        yield return ("Loss (nats per token)", legend, new SvgChart { Title = "Training and held-out loss by step", Series = series, Width = 1080, Height = 300 });
        if (eval.Count > 1)
            yield return ("Held-out loss", "", new SvgChart { Title = "Held-out loss by step", Series = [new SvgSeries("held-out loss", eval) { Colour = 1, Dots = true }] });
        yield return ("Learning rate", "", new SvgChart { Title = "Learning rate by step", FromZero = true, Series = [new SvgSeries("learning rate", Points(s => s.LearningRate)) { Colour = 2 }] });
        yield return ("Gradient norm before clipping", "", new SvgChart { Title = "Gradient norm by step", FromZero = true, Series = [new SvgSeries("gradient norm", Points(s => s.GradientNorm)) { Colour = 3 }] });
        yield return ("Tokens per second", "", new SvgChart { Title = "Throughput by step", FromZero = true, Series = [new SvgSeries("tokens per second", Points(s => s.TokensPerSecond)) { Colour = 2 }] });

        List<(double, double)> Points(Func<Training.StepResult, double> value) => [.. history.Steps.Select(s => ((double)s.Step, value(s)))];
    }

    private static void AppendSamples(StringBuilder html, IReadOnlyList<ReportSample> samples)
    {
        html.Append("<h2>Samples</h2><section class=\"samples\">");
        foreach (ReportSample sample in samples)
        {
            html.Append("<article><p class=\"prompt\">").Append(Text(sample.Prompt)).Append("</p><dl>");
            Part("before", sample.Before);
            Part("after", sample.After);
            if (sample.Wanted.Length > 0) Part("data", sample.Wanted);
            html.Append("</dl></article>\n");
        }
        html.Append("</section>");

        void Part(string name, string text) => html.Append("<dt>").Append(name).Append("</dt><dd class=\"").Append(name).Append("\">").Append(text.Length == 0 ? "<i>(nothing)</i>" : Text(text)).Append("</dd>");
    }

    // Control characters that HTML does not allow would make validators complain; a model may well produce them.
    private static string Text(string text) => WebUtility.HtmlEncode(string.Concat(text.Select(static c => c is '\n' or '\t' || !char.IsControl(c) ? c : '\uFFFD')));

    private const string Style = """
        :root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#636c76;--line:#d9dee4;--card:#f6f8fa;--c0:#2563eb;--c1:#d9480f;--c2:#0f8a5f;--c3:#8e44ad}
        @media(prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e6e9ee;--dim:#98a2ae;--line:#2c333c;--card:#171c23;--c0:#6ea0ff;--c1:#ff9a57;--c2:#4fd1a1;--c3:#cf9bea}}
        *{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
        main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 4px}h2{font-size:17px;margin:32px 0 10px}header p{margin:0;color:var(--dim)}
        .figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(220px,1fr));gap:12px;margin:24px 0}.figures div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
        .figures b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.figures span{color:var(--dim);font-size:13px}
        .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px}figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:12px 14px;min-width:0}
        .charts figure:first-child{grid-column:1/-1}figcaption{font-weight:600;margin-bottom:6px;display:flex;gap:14px;align-items:baseline;flex-wrap:wrap}.key{font-weight:400;font-size:13px;color:var(--dim)}.key:before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;vertical-align:middle;margin-right:6px;background:currentColor}
        .key.c0:before{background:var(--c0)}.key.c1:before{background:var(--c1)}svg{width:100%;height:auto;display:block}
        .grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--dim);stroke-width:1}.tick{fill:var(--dim);font-size:11px;font-variant-numeric:tabular-nums}
        .line{fill:none;stroke-width:1.8;stroke-linejoin:round}.line.pale{stroke-width:1;opacity:.35}.line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}
        .dot.c0{fill:var(--c0)}.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}.dot.c3{fill:var(--c3)}
        .samples{display:grid;gap:12px}article{border:1px solid var(--line);border-radius:8px;overflow:hidden}.prompt{margin:0;padding:10px 14px;background:var(--card);white-space:pre-wrap;overflow-wrap:anywhere}
        dl{display:grid;grid-template-columns:64px 1fr;margin:0;padding:10px 14px;gap:6px 12px}dt{color:var(--dim);font-size:13px;padding-top:1px}dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}dd.before{color:var(--dim)}dd.after{font-weight:500}
        .tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 32px}table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:400;color:var(--dim);padding:4px 12px 4px 0;vertical-align:top;white-space:nowrap}
        td{padding:4px 0;overflow-wrap:anywhere}tr{border-bottom:1px solid var(--line)}td i{color:var(--dim);font-size:13px}
        @media print{figure,article{break-inside:avoid}}
        """;
}
