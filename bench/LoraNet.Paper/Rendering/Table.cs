using System.Text;

namespace LoraNet.Paper.Rendering;

/// <summary>A Markdown table.</summary>
internal sealed class Table(params string[] columns)
{
    private readonly List<string[]> _rows = [];

    /// <summary>Adds a row.</summary>
    public void Add(params string[] cells) => _rows.Add(cells);

    /// <summary>The table, or a sentence that says that there is nothing.</summary>
    public override string ToString()
    {
        if (_rows.Count == 0) return "Not run.";
        StringBuilder text = new();
        text.Append(Line(columns)).Append("\n|").Append(string.Concat(columns.Select(_ => "---|")));
        foreach (string[] row in _rows) text.Append('\n').Append(Line(row));
        return text.ToString();
    }

    private static string Line(string[] cells) => $"| {string.Join(" | ", cells)} |";
}
