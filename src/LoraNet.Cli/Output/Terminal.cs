using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace LoraNet.Cli.Output;

/// <summary>
/// What a command prints. People's text goes to standard output, or with <c>--json</c> to standard error, where standard output
/// carries exactly one JSON object. Without a terminal, and with NO_COLOR, everything is plain lines.
/// </summary>
internal sealed class Terminal
{
    private static readonly JsonSerializerOptions _compact = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private readonly TextWriter _out, _error;
    private readonly IAnsiConsole? _rich;
    private bool _statusShown;

    public Terminal(TextWriter stdout, TextWriter stderr, bool json, bool rich)
    {
        (_out, _error, Json) = (json ? stderr : stdout, stderr, json);
        Results = stdout;
        if (rich) _rich = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(stdout) });
    }

    /// <summary>Whether the result is wanted as JSON.</summary>
    public bool Json { get; }

    /// <summary>Where results go that are the command's product, such as generated text.</summary>
    public TextWriter Results { get; }

    /// <summary>Whether a person is watching a real terminal.</summary>
    public bool Rich => _rich is not null;

    /// <summary>A line for people.</summary>
    public void Line(string text = "")
    {
        ClearStatus();
        _out.WriteLine(text);
        _out.Flush();
    }

    /// <summary>A heading for people.</summary>
    public void Heading(string text)
    {
        ClearStatus();
        if (_rich is null) _out.WriteLine(text);
        else _rich.Write(new Rule($"[bold]{Markup.Escape(text)}[/]").LeftJustified().RuleStyle("grey"));
    }

    /// <summary>A warning; always on standard error.</summary>
    public void Warn(string text)
    {
        ClearStatus();
        _error.WriteLine($"warning: {text}");
    }

    /// <summary>The one JSON object of <c>--json</c>; nothing otherwise.</summary>
    public void Result(JsonObject result)
    {
        if (!Json) return;
        Results.WriteLine(result.ToJsonString(_compact));
        Results.Flush();
    }

    /// <summary>A table: with borders for people at a terminal, else aligned columns. Numbers are aligned to the right.</summary>
    public void Table(IReadOnlyList<string> headers, IReadOnlyList<IReadOnlyList<string>> rows)
    {
        ClearStatus();
        if (_rich is not null)
        {
            Table table = new Table().Border(TableBorder.Rounded).BorderColor(Color.Grey);
            for (int c = 0; c < headers.Count; c++)
            {
                TableColumn column = new(Markup.Escape(headers[c]));
                if (IsNumeric(rows, c)) column.RightAligned();
                table.AddColumn(column);
            }
            foreach (IReadOnlyList<string> row in rows) table.AddRow([.. row.Select(Markup.Escape)]);
            _rich.Write(table);
            return;
        }
        int[] widths = [.. headers.Select((h, c) => Math.Max(h.Length, rows.Count == 0 ? 0 : rows.Max(r => r[c].Length)))];
        bool[] right = [.. headers.Select((_, c) => IsNumeric(rows, c))];
        if (headers.Any(h => h.Length > 0)) _out.WriteLine(Format(headers));
        foreach (IReadOnlyList<string> row in rows) _out.WriteLine(Format(row));
        _out.Flush();

        string Format(IReadOnlyList<string> cells) =>
            string.Join("  ", cells.Select((cell, c) => right[c] ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c]))).TrimEnd();
    }

    /// <summary>A line that is redrawn in place at a real terminal; not shown otherwise.</summary>
    public void Status(string text)
    {
        if (_rich is null) return;
        int width = Math.Max(20, _rich.Profile.Width - 1);
        _out.Write('\r');
        _out.Write(text.Length > width ? text[..width] : text.PadRight(width));
        _out.Flush();
        _statusShown = true;
    }

    /// <summary>Removes the redrawn line.</summary>
    public void ClearStatus()
    {
        if (!_statusShown) return;
        _statusShown = false;
        _out.Write('\r');
        _out.Write(new string(' ', Math.Max(20, _rich!.Profile.Width - 1)));
        _out.Write('\r');
    }

    private static bool IsNumeric(IReadOnlyList<IReadOnlyList<string>> rows, int column) =>
        rows.Count > 0 && rows.All(r => r[column].Length == 0 || char.IsDigit(r[column][0]) || (r[column].Length > 1 && r[column][0] is '-' or '+' or '<' && char.IsDigit(r[column][1])));
}
