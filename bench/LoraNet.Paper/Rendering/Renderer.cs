namespace LoraNet.Paper.Rendering;

/// <summary>Puts tables between the markers <c>&lt;!-- results: NAME --&gt;</c> and <c>&lt;!-- end --&gt;</c> of docs/paper.md, and figures beside it.</summary>
internal static class Renderer
{
    private const string End = "<!-- end -->";

    /// <summary>Rewrites the page.</summary>
    /// <param name="results">A file or folder of results whose texts are scored (the pack command).</param>
    /// <param name="docs">The folder with paper.md.</param>
    /// <exception cref="LoraNetException">The page, a marker or its end is missing.</exception>
    public static void Run(string results, string docs)
    {
        string path = Path.Combine(docs, "paper.md");
        if (!File.Exists(path)) throw new LoraNetException($"{path} does not exist.");
        ResultSet set = ResultSet.Read(results);
        string page = File.ReadAllText(path);
        foreach ((string name, string table) in Tables.Create(set))
        {
            string start = $"<!-- results: {name} -->";
            int from = page.IndexOf(start, StringComparison.Ordinal);
            if (from < 0) throw new LoraNetException($"{path} has no marker '{start}'.", $"Add it, and after it '{End}'.");
            from += start.Length;
            int to = page.IndexOf(End, from, StringComparison.Ordinal);
            if (to < 0) throw new LoraNetException($"{path} has no '{End}' after '{start}'.");
            page = $"{page[..from]}\n{table}\n{page[to..]}";
        }
        File.WriteAllText(path, page);
        Figures.Write(set, Path.Combine(docs, "figures"));
    }
}
