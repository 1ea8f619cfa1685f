using System.Text.Json.Nodes;
using LoraNet.Paper.Experiments;
using LoraNet.Paper.Running;
using static LoraNet.Paper.Rendering.Numbers;
using static LoraNet.Paper.Rendering.ResultSet;

namespace LoraNet.Paper.Rendering;

/// <summary>The tables of docs/paper.md. Each row says how many seeds it has, on which device, and when.</summary>
internal static class Tables
{
    /// <summary>Tables by the names of their markers.</summary>
    public static Dictionary<string, string> Create(ResultSet results) => new()
    {
        ["arithmetic"] = ArithmeticTable(),
        ["checkpoint"] = Checkpoint(results),
        ["speed"] = Speed(results),
        ["latency"] = Latency(results),
        ["e2e"] = E2e(results),
        ["rank"] = Sweep(results.Of("e2e-start").Concat(results.Of("e2e-rank"))),
        ["budget"] = Sweep(results.Of("e2e-budget").Concat(results.Of("e2e-rank").Where(r => Text(r, "targets") == "q_proj,v_proj" && Number(r, "rank") == 4))),
        ["subspace"] = SubspaceTable.Create(results),
        ["glue"] = Glue(results),
        ["coverage"] = Coverage(results),
    };

    private static string ArithmeticTable()
    {
        Table table = new("model", "values", "r", "trained by LoRA", "one in", "moments, LoRA", "moments, full", "file of 2-byte values, LoRA", "full", "the paper prints");
        foreach (Arithmetic.Case c in Arithmetic.Cases)
        {
            table.Add(c.Model, Whole(c.Parameters), $"{c.Rank}", Whole(c.Trained), Whole(c.Parameters / (double)c.Trained), Bytes(c.OptimizerBytes.Lora), Bytes(c.OptimizerBytes.Full),
                Bytes(c.FileBytes.Lora), Bytes(c.FileBytes.Full), c.Paper ?? "–");
        }
        return table.ToString();
    }

    private static string Checkpoint(ResultSet results)
    {
        Table table = new("model", "r", "trained values", "adapter's file", "model's file", "one in");
        foreach (JsonObject r in results.Of("checkpoint").OrderBy(r => Text(r, "model"), StringComparer.Ordinal).ThenBy(r => Number(r, "rank")))
        {
            table.Add(Text(r, "model"), Text(r, "rank"), Whole(Number(r, "trained")), Bytes(Number(r, "adapter_bytes")), Bytes(Number(r, "model_bytes")),
                Plain(Number(r, "model_bytes") / Number(r, "adapter_bytes"), "#,0"));
        }
        return table.ToString();
    }

    private static string Speed(ResultSet results)
    {
        Table table = new("model", "batch × length", "method", "trained values", "ms a step", "tokens/s", "peak memory", "of it optimizer", "measured");
        foreach (IGrouping<string, JsonObject> group in Groups(results.Of("speed"), "shape", "batch", "length", "method"))
        {
            JsonObject r = group.First();
            string method = Text(r, "method") == "full" ? "full" : $"LoRA r {Text(r, "rank")}, {Text(r, "targets").Replace(",", ", ", StringComparison.Ordinal)}";
            // The optimizer has two moments of 4 bytes a value; an adapter's own count has a tied matrix twice.
            table.Add(Text(r, "shape"), $"{Text(r, "batch")} × {Text(r, "length")}", method, Whole(Number(r, "optimizer_bytes") / 8), Values(group, "milliseconds"), Values(group, "tokens_per_second", "#,0"),
                Bytes(group.Max(x => Number(x, "peak_bytes"))), Bytes(Number(r, "optimizer_bytes")), Where(group));
        }
        return table.ToString();
    }

    private static string Latency(ResultSet results)
    {
        Table table = new("model", "batch × length", "prompt: base", "adapter beside", "merged", "one token: base", "adapter beside", "merged", "measured");
        foreach (IGrouping<string, JsonObject> group in Groups(results.Of("latency"), "shape", "batch", "length"))
        {
            JsonObject r = group.First();
            table.Add([Text(r, "shape"), $"{Text(r, "batch")} × {Text(r, "length")}", .. Cells("prompt_ms"), .. Cells("token_ms"), Where(group.Where(x => Text(x, "variant") == "base"))]);

            IEnumerable<string> Cells(string key)
            {
                double basis = Of("base").Average();
                yield return Spread(Of("base"), "0.00") + " ms";
                foreach (string variant in new[] { "unmerged", "merged" }) yield return $"{Spread(Of(variant), "0.00")} ms ({Plain(100 * (Of(variant).Average() / basis - 1), "+0.0;−0.0;0.0")} %)";

                List<double> Of(string variant) => [.. group.Where(x => Text(x, "variant") == variant).Select(x => Number(x, key))];
            }
        }
        return table.ToString();
    }

    private static string E2e(ResultSet results)
    {
        Table table = new("start", "method", "trained values", "held-out loss", "BLEU", "NIST", "METEOR (exact, stem)", "ROUGE-L", "CIDEr", "seeds and device");
        foreach (IGrouping<string, JsonObject> group in Groups(results.Of("e2e").Where(r => r["bleu"] is not null), "base", "method", "rank", "targets", "learning_rate", "steps"))
        {
            JsonObject r = group.First();
            string method = Text(r, "method") switch { "base" => "not trained", "full" => "full", _ => $"LoRA r {Text(r, "rank")}, {(Text(r, "targets").Split(',').Length == 7 ? "all linear" : Text(r, "targets").Replace(",", ", ", StringComparison.Ordinal))}" };
            table.Add(Text(r, "base"), method, r["optimizer_bytes"] is null ? "–" : Whole(Number(r, "optimizer_bytes") / 8), Values(group, "held_loss", "0.000"),
                Percent(group, "bleu"), Values(group, "nist", "0.00"), Percent(group, "meteor"), Percent(group, "rouge_l"), Values(group, "cider", "0.00"), Where(group));
        }
        return table.ToString();
    }

    private static string Sweep(IEnumerable<JsonObject> rows)
    {
        Table table = new("matrices", "r", "trained values", "held-out loss", "steps × batch", "seeds and device");
        foreach (IGrouping<string, JsonObject> group in Groups(rows.OrderBy(r => Number(r, "rank")).ThenBy(r => Text(r, "targets"), StringComparer.Ordinal), "targets", "rank", "steps", "device"))
        {
            JsonObject r = group.First();
            string loss = Values(group, "held_loss", "0.0000");
            if (Text(r, "method") == "base") table.Add("not trained", "–", "0", loss, "0", Where(group));
            else table.Add(Text(r, "targets").Replace(",", ", ", StringComparison.Ordinal), Text(r, "rank"), Whole(Number(r, "trained")), loss, $"{Text(r, "steps")} × {Text(r, "batch")}", Where(group));
        }
        return table.ToString();
    }

    private static string Glue(ResultSet results)
    {
        Table table = new("task", "method", "trained values", "rows × epochs", "learning rate", "development set", "its rows", "seeds and device");
        foreach (IGrouping<string, JsonObject> group in Groups(results.Of("glue"), "task", "device", "rows", "epochs", "learning_rate", "method"))
        {
            JsonObject r = group.First();
            string scores = string.Join(", ", r["scores"]!.AsObject().Select(s => $"{s.Key} {Spread([.. group.Select(x => 100 * Number(x["scores"]!.AsObject(), s.Key))])}"));
            string method = Text(r, "method") switch { "lora" => $"LoRA r {Text(r, "rank")}, {Text(r, "targets").Replace(",", ", ", StringComparison.Ordinal)}", "probe" => "head alone", var m => m };
            table.Add(Text(r, "task"), method, Whole(Number(r, "trained")), $"{Whole(Number(r, "rows"))} × {Text(r, "epochs")}", Plain(Number(r, "learning_rate"), "0.#e-0"), scores, Text(r, "held_rows"), Where(group));
        }
        return table.ToString();
    }

    // What the whole plan on a GPU has and what was done of it.
    private static string Coverage(ResultSet results)
    {
        HashSet<string> done = [.. results.Rows.Where(r => Text(r, "device").StartsWith("NVIDIA", StringComparison.Ordinal)).Select(r => Text(r, "job"))];
        HashSet<string> small = [.. results.Rows.Where(r => !Text(r, "device").StartsWith("NVIDIA", StringComparison.Ordinal)).Select(r => Text(r, "job"))];
        RunSettings settings = new() { Data = "", Results = "", Cuda = true };
        Table table = new("experiment", "runs planned on a GPU", "done", "planned at the small scale", "done");
        List<Job> planned = AllJobs.Create(settings), cut = AllJobs.Create(settings with { Cuda = false, Small = true });
        foreach (string name in planned.Concat(cut).Select(Experiment).Distinct())
            Add(name, [.. planned.Where(j => Experiment(j) == name)], [.. cut.Where(j => Experiment(j) == name)]);
        Add("all", planned, cut);
        return table.ToString();

        void Add(string name, List<Job> large, List<Job> reduced) =>
            table.Add(name, $"{large.Count}", $"{large.Count(j => done.Contains(j.Id))}", $"{reduced.Count}", $"{reduced.Count(j => small.Contains(j.Id))}");
    }

    // glue-rte-lora-s1 is of the experiment glue-rte; speed-..., latency-..., and the sweeps by their first word or two.
    private static string Experiment(Job job)
    {
        string[] parts = job.Id.Split('-');
        return parts[0] is "glue" or "glue2" or "e2e" && parts.Length > 1 ? $"{parts[0]}-{parts[1]}" : parts[0];
    }

    private static IEnumerable<IGrouping<string, JsonObject>> Groups(IEnumerable<JsonObject> rows, params string[] keys) => rows.GroupBy(r => string.Join('|', keys.Select(k => Text(r, k))));

    private static string Values(IEnumerable<JsonObject> rows, string key, string format = "0.0") => Spread([.. rows.Select(r => Number(r, key))], format);

    private static string Percent(IEnumerable<JsonObject> rows, string key) => Spread([.. rows.Select(r => 100 * Number(r, key))]);

    // Seeds, device and date.
    private static string Where(IEnumerable<JsonObject> rows)
    {
        List<JsonObject> list = [.. rows];
        string device = Text(list[0], "device"), date = string.Join(" and ", list.Select(r => Text(r, "date")).Distinct().Order(StringComparer.Ordinal));
        return $"{list.Count} × {(device.StartsWith("NVIDIA H100", StringComparison.Ordinal) ? "H100" : device.Split(' ')[0])}, {date}";
    }
}
