using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using LoraNet.Metrics.Texts;
using LoraNet.Paper.Experiments;

namespace LoraNet.Paper.Rendering;

/// <summary>Makes one small file of results from folders of them: generated texts are scored and left out.</summary>
internal static class Packing
{
    /// <summary>Scores kept for generated texts.</summary>
    public static readonly IReadOnlyList<string> Scores = ["bleu", "nist", "meteor", "rouge_l", "cider"];

    /// <summary>Writes the file, sorted by job.</summary>
    public static void Run(string data, string output, IReadOnlyList<string> sources)
    {
        List<E2eEntry> test = E2eData.Read(Path.Combine(data, "e2e", "test.txt"));
        List<JsonObject> rows = [.. sources.SelectMany(s => ResultSet.Read(s).Rows).Where(r => r["quick"] is null)];
        foreach (JsonObject row in rows)
        {
            if (row["texts"] is not JsonArray texts) continue;
            row.Remove("texts");
            Score(row, texts, test);
        }
        using FileStream file = File.Create(output);
        using GZipStream zip = new(file, CompressionLevel.SmallestSize);
        using StreamWriter writer = new(zip, new UTF8Encoding(false)) { NewLine = "\n" };
        foreach (JsonObject row in rows.OrderBy(r => ResultSet.Text(r, "job"), StringComparer.Ordinal)) writer.WriteLine(row.ToJsonString());
    }

    private static void Score(JsonObject row, JsonArray texts, List<E2eEntry> test)
    {
        if (texts.Count != test.Count) throw new LoraNetException($"The job {ResultSet.Text(row, "job")} has {texts.Count} texts for {test.Count} meanings.");
        List<TextSegment> segments = [.. test.Select((entry, i) => new TextSegment(MtevalTokenizer.Tokenize(texts[i]!.ToString()), [.. entry.References.Select(MtevalTokenizer.Tokenize)]))];
        row["texts_scored"] = segments.Count;
        row["bleu"] = Bleu.Compute(segments);
        row["nist"] = Nist.Compute(segments);
        row["meteor"] = Meteor.Compute(segments);
        row["rouge_l"] = RougeL.Compute(segments);
        row["cider"] = Cider.Compute(segments);
        row["sample"] = texts[0]!.ToString();
    }
}
