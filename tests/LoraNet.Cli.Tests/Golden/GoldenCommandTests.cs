using System.Globalization;
using System.Text.Json;
using LoraNet.Formats;
using LoraNet.Testing;
using Xunit.Abstractions;

namespace LoraNet.Cli.Tests.Golden;

/// <summary>
/// The golden cases of transformers + PEFT through the command alone: rows as JSONL, <c>train</c>, <c>eval --logits</c>, <c>merge</c>,
/// and every number of the files compared with what PEFT gave.
/// </summary>
public sealed class GoldenCommandTests(ITestOutputHelper output)
{
    private static readonly string[] _shared =
    [
        "llama-tied-attn", "llama-untied-mlp-rslora-llama3rope", "llama-dora", "llama-patterns-bias", "llama-embed-lmhead",
        "llama-modules-to-save", "llama-all-linear-leftpad", "mistral", "qwen2", "qwen3", "smollm3", "olmo2",
        "gemma", "gemma2", "gemma3", "phi3", "gpt2", "mixtral", "roberta-classifier",
    ];

    public static TheoryData<string, string> SharedCases()
    {
        TheoryData<string, string> data = [];
        foreach (string name in _shared) data.Add(name, "cpu");
        data.Add("llama-tied-attn", "reference");
        return data;
    }

    public static TheoryData<string, string> FixtureCases()
    {
        TheoryData<string, string> data = [];
        foreach (string folder in Directory.EnumerateDirectories(Path.Combine(TestData.Fixtures, "golden")).Order(StringComparer.Ordinal)) data.Add(Path.GetFileName(folder), "cpu");
        data.Add("llama-tied", "reference");
        return data;
    }

    [Theory]
    [MemberData(nameof(FixtureCases))]
    public void FixtureThroughTheCommand(string name, string backend) => Check(Path.Combine(TestData.Fixtures, "golden", name), backend);

    [SharedTheory]
    [MemberData(nameof(SharedCases))]
    public void SharedCaseThroughTheCommand(string name, string backend) => Check(TestData.SharedPath("reference", name), backend);

    private void Check(string folder, string backend)
    {
        using Scratch scratch = new();
        using SafetensorsFile expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
        JsonElement json = document.RootElement;
        Dictionary<string, string> environment = new() { ["LORANET_BACKEND"] = backend };
        int steps = json.GetProperty("steps").GetInt32();
        string all = scratch.Write("train.jsonl", string.Concat(Enumerable.Range(0, steps).Select(s => Rows(expected, s))));
        string first = scratch.Write("eval.jsonl", Rows(expected, 0));
        int batch = expected.Tensors["step0.input_ids"].Shape[0];
        Table table = new();

        string run = scratch.Path("out");
        string[] update = json.TryGetProperty("lora_fa", out JsonElement fa) && fa.GetBoolean() ? ["--lora-fa"] : [];
        if (json.TryGetProperty("eps", out JsonElement eps)) update = [.. update, "--adam-eps", eps.GetDouble().ToString("R", CultureInfo.InvariantCulture)];
        CliResult train = Cli.RunEnv(environment, ["train", "--model", folder, "--data", all, "--eval-data", first, "--adapter", Path.Combine(folder, "adapter_init"), "-o", run,
            "--no-shuffle", "--learning-rate", Text(json, "lr"), "--weight-decay", Text(json, "weight_decay"), "--lr-scheduler", "constant", "--max-grad-norm", "0",
            "--batch-size", batch.ToString(CultureInfo.InvariantCulture), "--max-steps", steps.ToString(CultureInfo.InvariantCulture), "--dropout", "0", "--json", .. update]).Ok();
        // PEFT counts before LoRA-FA's optimizer freezes A.
        if (!update.Contains("--lora-fa")) Assert.Equal(json.GetProperty("trainable_parameters").GetInt64(), train.Json.GetProperty("trainable_parameters").GetInt64());
        CompareMetrics(run, json, table);
        CompareAdapter(run, folder, table);

        string trained = Path.Combine(folder, "adapter_trained");
        CompareEval("base", []);
        CompareEval("init", ["--adapter", Path.Combine(folder, "adapter_init")]);
        CompareEval("trained", ["--adapter", trained]);
        if (Directory.Exists(Path.Combine(folder, "second"))) CompareEval("second", ["--adapter", Path.Combine(folder, "second")]);

        string merged = scratch.Path("merged");
        CliResult merge = Cli.RunEnv(environment, "merge", "--model", folder, "--adapter", trained, "-o", merged, "--json").Ok();
        table.Add("merge's own check", merge.Json.GetProperty("max_logit_difference").GetDouble(), 1e-4);
        // llama-tied-attn's merged values were made with another B; its merge is checked against the trained adapter.
        bool own = !expected.Tensors.ContainsKey("mixed.logits");
        CompareEvalOf(merged, own ? "merged" : "trained", []);
        if (own) CompareChecksums(merged, json, table);
        output.WriteLine(table.ToString());
        table.AssertAll();

        void CompareEval(string what, string[] more) => CompareEvalOf(folder, what, more);

        void CompareEvalOf(string model, string what, string[] more)
        {
            string logits = scratch.Path(what + ".safetensors");
            CliResult eval = Cli.RunEnv(environment, ["eval", "--model", model, "--data", first, "--logits", logits, "--json", .. more]).Ok();
            if (expected.Tensors.TryGetValue(what + ".loss", out Tensors.HostTensor? loss))
                table.Add($"{what} loss", Math.Abs(eval.Json.GetProperty("loss").GetDouble() - loss.ToArray()[0]), 1e-4);
            using SafetensorsFile file = SafetensorsFile.Open(logits);
            float[] actual = file.Tensors["logits"].ToArray(), wanted = expected.Tensors[what + ".logits"].ToArray(), mask = expected.Tensors["step0.attention_mask"].ToArray();
            Assert.Equal(expected.Tensors[what + ".logits"].Shape.ToArray(), file.Tensors["logits"].Shape.ToArray());
            // A classifier has logits for each row, not for each token.
            int vocabulary = expected.Tensors[what + ".logits"].Shape[^1];
            bool everyToken = expected.Tensors[what + ".logits"].Shape.Length == 3;
            double max = 0;
            for (int i = 0; i < wanted.Length; i++)
                if (!everyToken || mask[i / vocabulary] != 0) max = Math.Max(max, Math.Abs(actual[i] - (double)wanted[i]) / Math.Max(1, Math.Abs(wanted[i])));
            table.Add($"{what} logits", max, 1e-4);
        }
    }

    private static void CompareMetrics(string run, JsonElement json, Table table)
    {
        List<JsonElement> rows = [.. File.ReadAllLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];
        List<JsonElement> steps = [.. rows.Where(r => r.TryGetProperty("loss", out _))];
        Assert.Equal(json.GetProperty("train_losses").GetArrayLength(), steps.Count);
        Assert.Single(rows, r => r.TryGetProperty("eval_loss", out _));
        for (int i = 0; i < steps.Count; i++)
        {
            double loss = json.GetProperty("train_losses")[i].GetDouble(), norm = json.GetProperty("train_grad_norms")[i].GetDouble();
            Assert.Equal(i + 1, steps[i].GetProperty("step").GetInt32());
            Assert.Equal(json.GetProperty("lr").GetDouble(), steps[i].GetProperty("learning_rate").GetDouble());
            table.Add($"step {i + 1} loss", Math.Abs(steps[i].GetProperty("loss").GetDouble() - loss) / loss, 1e-5);
            table.Add($"step {i + 1} grad_norm", Math.Abs(steps[i].GetProperty("grad_norm").GetDouble() - norm) / norm, 1e-4);
            Assert.True(steps[i].GetProperty("tokens").GetInt32() > 0);
            Assert.True(steps[i].GetProperty("tokens_per_second").GetDouble() > 0);
        }
    }

    private static void CompareAdapter(string run, string folder, Table table)
    {
        using SafetensorsFile ours = SafetensorsFile.Open(Path.Combine(run, "adapter_model.safetensors"));
        using SafetensorsFile peft = SafetensorsFile.Open(Path.Combine(folder, "adapter_trained", "adapter_model.safetensors"));
        // PEFT added copies of base weights (save_embedding_layers="auto"); we leave them out.
        Assert.Equal(peft.Tensors.Keys.Where(k => !k.EndsWith(".base_layer.weight", StringComparison.Ordinal)).Order(StringComparer.Ordinal), ours.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach ((string name, Tensors.HostTensor tensor) in ours.Tensors)
        {
            float[] a = tensor.ToArray(), b = peft.Tensors[name].ToArray();
            Assert.Equal(peft.Tensors[name].Shape.ToArray(), tensor.Shape.ToArray());
            double difference = 0, norm = 0;
            for (int i = 0; i < a.Length; i++)
            {
                difference += (a[i] - (double)b[i]) * (a[i] - (double)b[i]);
                norm += (double)b[i] * b[i];
            }
            table.Add($"adapter {name}", Math.Sqrt(difference / Math.Max(norm, 1e-30)), 5e-4);
        }
    }

    private static void CompareChecksums(string merged, JsonElement json, Table table)
    {
        using ModelWeights weights = ModelWeights.Open(merged);
        foreach (JsonProperty entry in json.GetProperty("merged_checksum").EnumerateObject())
        {
            // A tied head is stored once.
            if (!weights.TryGet(entry.Name, out Tensors.HostTensor? tensor)) continue;
            double sum = 0, squares = 0, size = 0;
            foreach (float v in tensor.ToArray())
            {
                sum += v;
                squares += (double)v * v;
                size += Math.Abs(v);
            }
            table.Add($"merged {entry.Name} sum", Math.Abs(sum - entry.Value[0].GetDouble()) / size, 1e-5);
            table.Add($"merged {entry.Name} squares", Math.Abs(squares - entry.Value[1].GetDouble()) / squares, 1e-5);
        }
    }

    private static string Rows(SafetensorsFile expected, int step)
    {
        Tensors.HostTensor ids = expected.Tensors[$"step{step}.input_ids"];
        float[] i = ids.ToArray(), m = expected.Tensors[$"step{step}.attention_mask"].ToArray(), l = expected.Tensors[$"step{step}.labels"].ToArray();
        int length = ids.Shape[1];
        bool perRow = l.Length < i.Length;
        return string.Concat(Enumerable.Range(0, ids.Shape[0]).Select(r =>
            $"{{\"input_ids\":[{Row(i, r)}],\"attention_mask\":[{Row(m, r)}],{(perRow ? $"\"label\":{(int)l[r]}" : $"\"labels\":[{Row(l, r)}]")}}}\n"));

        string Row(float[] values, int r) => string.Join(',', values.Skip(r * length).Take(length).Select(v => ((int)v).ToString(CultureInfo.InvariantCulture)));
    }

    private static string Text(JsonElement json, string name) => json.GetProperty(name).GetRawText();

    /// <summary>Differences, each with its limit.</summary>
    private sealed class Table
    {
        private readonly List<(string What, double Value, double Limit)> _rows = [];

        public void Add(string what, double value, double limit) => _rows.Add((what, value, limit));

        public void AssertAll()
        {
            string[] failed = [.. _rows.Where(r => !(r.Value <= r.Limit)).Select(r => $"{r.What}: {r.Value:e2} > {r.Limit:e0}")];
            Assert.True(failed.Length == 0, string.Join(Environment.NewLine, failed));
        }

        public override string ToString() => string.Join(Environment.NewLine, _rows.Select(r => $"{r.Value,10:e2}  (limit {r.Limit:e0})  {r.What}"));
    }
}
