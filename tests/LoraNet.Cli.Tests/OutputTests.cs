using System.Text.Json;
using LoraNet.Formats;

namespace LoraNet.Cli.Tests;

/// <summary>What commands print and write.</summary>
public sealed class OutputTests
{
    [Fact]
    public void TrainWritesEveryFileOfTheContract()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out");
        CliResult result = Cli.Run(TinyRun.Train(TinyRun.Rows(scratch, 20), output, "--val-split", "0.25", "--eval-steps", "5", "--save-steps", "6", "--save-total-limit", "1", "--json")).Ok();
        foreach (string file in new[] { "adapter_config.json", "adapter_model.safetensors", "metrics.jsonl", "trainer_state.json", "recipe.resolved.yaml", "report.html" })
            Assert.True(File.Exists(Path.Combine(output, file)), file);
        Assert.Equal(["checkpoint-12"], Directory.EnumerateDirectories(output).Select(d => Path.GetFileName(d)));
        JsonElement json = result.Json;
        Assert.Equal(12, json.GetProperty("steps").GetInt32());
        Assert.True(json.GetProperty("merged_logit_difference").GetDouble() < 1e-4);
        Assert.Contains("no tokenizer", result.Error, StringComparison.Ordinal);

        JsonElement state = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "trainer_state.json"))).RootElement;
        Assert.Equal(12, state.GetProperty("global_step").GetInt32());
        JsonElement[] log = [.. state.GetProperty("log_history").EnumerateArray()];
        Assert.Equal(12, log.Count(e => e.TryGetProperty("loss", out _) && e.TryGetProperty("grad_norm", out _) && e.TryGetProperty("learning_rate", out _)));
        Assert.Equal(3, log.Count(e => e.TryGetProperty("eval_loss", out _)));
        Assert.True(log[^1].TryGetProperty("train_runtime", out _));
    }

    [Fact]
    public void TheReportIsSelfContained()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out");
        Cli.Run(TinyRun.Train(TinyRun.Rows(scratch, 20), output, "--val-split", "0.25", "--eval-steps", "5")).Ok();
        string html = File.ReadAllText(Path.Combine(output, "report.html"));
        Assert.DoesNotContain("src=", html, StringComparison.Ordinal);
        Assert.DoesNotContain("href=", html, StringComparison.Ordinal);
        Assert.DoesNotContain("url(", html, StringComparison.Ordinal);
        Assert.Equal(5, html.Split("<svg ").Length - 1);
        Assert.Equal(html.Split("<svg ").Length, html.Split("</svg>").Length);
        Assert.DoesNotContain("NaN", html, StringComparison.Ordinal);
    }

    [Fact]
    public void SchedulesAndTokensAreThoseOfTheContract()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out");
        Cli.Run(TinyRun.Train(TinyRun.Rows(scratch, 20), output, "--warmup-steps", "4", "--lr-scheduler", "linear")).Ok();
        JsonElement[] rows = [.. File.ReadAllLines(Path.Combine(output, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];
        // A warm-up starts at 0, as Hugging Face's schedulers do.
        Assert.Equal(0, rows[0].GetProperty("learning_rate").GetDouble());
        Assert.Equal(5e-3 / 4, rows[1].GetProperty("learning_rate").GetDouble(), 12);
        Assert.Equal(5e-3, rows[4].GetProperty("learning_rate").GetDouble(), 12);
        // 4 rows of 9 tokens, the first of each predicted by nothing.
        Assert.All(rows, r => Assert.Equal(32, r.GetProperty("tokens").GetInt32()));
    }

    [Fact]
    public void PackedSamplesDoNotSeeEachOther()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20);
        // One step over all rows, so that packing can change nothing but how they lie in memory.
        double alone = FirstLoss(scratch.Path("alone"), "--batch-size", "20"), packed = FirstLoss(scratch.Path("packed"), "--batch-size", "20", "--packing", "true", "--max-length", "30");
        Assert.Equal(alone, packed, 1e-5);
        Assert.Contains("packed into 7 rows", Cli.Run(Run(scratch.Path("two"), "--packing", "--max-length", "30")).Ok().Out, StringComparison.Ordinal);

        string[] Run(string output, params string[] more) => ["train", "--model", TinyRun.Model, "--data", rows, "-o", output, "--rank", "4", "--max-steps", "1", .. more];
        double FirstLoss(string output, params string[] more) => Cli.Run([.. Run(output, more), "--json"]).Ok().Json.GetProperty("loss_first").GetDouble();
    }

    [Fact]
    public void PreviewMarksWhatIsTrained()
    {
        using Scratch scratch = new();
        string data = scratch.Write("rows.jsonl", "{\"input_ids\":[5,6,7,8],\"labels\":[-100,-100,7,8]}\n");
        CliResult result = Cli.Run("data", "preview", "--model", TinyRun.Model, "--data", data).Ok();
        Assert.Contains("5 6⟦7 8⟧", result.Out.Replace("6 ⟦", "6⟦", StringComparison.Ordinal), StringComparison.Ordinal);
        JsonElement json = Cli.Run("data", "preview", "--model", TinyRun.Model, "--data", data, "--json").Ok().Json;
        Assert.Equal(2, json.GetProperty("report").GetProperty("trained_tokens").GetInt32());
    }

    [Fact]
    public void CombinedAdaptersAreTheirWeightedSum()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 20), one = scratch.Path("one"), two = scratch.Path("two");
        Cli.Run(TinyRun.Train(rows, one)).Ok();
        Cli.Run(TinyRun.Train(rows, two, "--seed", "7")).Ok();
        // Half of each of two equal adapters is that adapter; an adapter and its negative are nothing.
        string same = Combine("same", one, one, "0.5,0.5"), none = Combine("none", two, two, "1,-1");
        Assert.Equal(Loss(one), Loss(same), 1e-5);
        Assert.Equal(Loss(null), Loss(none), 1e-5);
        CliResult cat = Cli.Run("adapter", "combine", "--model", TinyRun.Model, "-a", one, "-a", two, "--weights", "0.7,0.4", "--type", "cat", "-o", scratch.Path("cat"), "--json").Ok();
        Assert.Equal(8, cat.Json.GetProperty("largest_rank").GetInt32());
        Assert.Equal(Loss(Combine("linear", one, two, "0.7,0.4")), Loss(scratch.Path("cat")), 1e-5);

        string Combine(string name, string a, string b, string weights)
        {
            Cli.Run("adapter", "combine", "--model", TinyRun.Model, "--adapter", a, "--adapter", b, "--weights", weights, "-o", scratch.Path(name)).Ok();
            return scratch.Path(name);
        }

        double Loss(string? adapter) => Cli.Run(["eval", "--model", TinyRun.Model, "--data", rows, "--json", .. adapter is null ? Array.Empty<string>() : ["--adapter", adapter]]).Ok().Json.GetProperty("loss").GetDouble();
    }

    [Fact]
    public void FullTrainingWritesAPlainModel()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out"), rows = TinyRun.Rows(scratch, 20);
        CliResult train = Cli.Run("train", "--model", TinyRun.Model, "--data", rows, "--eval-data", rows, "-o", output, "--full", "--learning-rate", "1e-3", "--max-steps", "6", "--json").Ok();
        Assert.False(File.Exists(Path.Combine(output, "adapter_model.safetensors")));
        CliResult eval = Cli.Run("eval", "--model", output, "--data", rows, "--json").Ok();
        Assert.Equal(train.Json.GetProperty("eval_loss").GetDouble(), eval.Json.GetProperty("loss").GetDouble(), 1e-5);
        Assert.True(train.Json.GetProperty("eval_loss").GetDouble() < train.Json.GetProperty("eval_loss_before").GetDouble());
    }

    [Fact]
    public void MergedEvaluatesAsTheAdapterDoes()
    {
        using Scratch scratch = new();
        string output = scratch.Path("out"), rows = TinyRun.Rows(scratch, 20), merged = scratch.Path("merged");
        Cli.Run(TinyRun.Train(rows, output)).Ok();
        double adapter = Loss("--model", TinyRun.Model, "--adapter", output), plain = Loss("--model", TinyRun.Model);
        Cli.Run("merge", "--model", TinyRun.Model, "--adapter", output, "-o", merged).Ok();
        Assert.Equal(adapter, Loss("--model", merged), 1e-5);
        Assert.NotEqual(plain, adapter, 1e-2);
        Cli.Run("merge", "--model", TinyRun.Model, "--adapter", output, "-o", scratch.Path("bf16"), "--dtype", "bf16").Ok();
        using SafetensorsFile file = SafetensorsFile.Open(scratch.Path("bf16", "model.safetensors"));
        Assert.All(file.Tensors.Values, t => Assert.Equal(Tensors.DType.BF16, t.DType));

        double Loss(params string[] args) => Cli.Run(["eval", "--data", rows, "--json", .. args]).Ok().Json.GetProperty("loss").GetDouble();
    }

    [Fact]
    public void GenerateGivesOnlyNewIdsTheSameAloneAndInFull()
    {
        int[] all = Ids("6"), first = Ids("3");
        Assert.Equal(6, all.Length);
        Assert.Equal(all[..3], first);

        static int[] Ids(string count) =>
            [.. Cli.Run("generate", "--model", TinyRun.Model, "--input-ids", "1,2,3", "--max-new-tokens", count, "--temperature", "0", "--json").Ok().Json.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())];
    }

    [Fact]
    public void PlanGivesTheCardsExample()
    {
        using Scratch scratch = new();
        string config = scratch.Write("config.json", """
            {"model_type":"llama","hidden_size":4096,"intermediate_size":11008,"num_hidden_layers":32,"num_attention_heads":32,"vocab_size":32000,"max_position_embeddings":4096,"torch_dtype":"float16"}
            """);
        JsonElement json = Cli.Run("plan", "--config", config, "--rank", "16", "--target-modules", "q_proj,k_proj,v_proj,o_proj", "--json").Ok().Json;
        Assert.Equal(16_777_216, json.GetProperty("trainable_parameters").GetInt64());
        Assert.Equal(6_738_415_616, json.GetProperty("parameters").GetInt64());
        Assert.Equal(128, json.GetProperty("targets").GetArrayLength());
        Assert.Equal(6_738_415_616 * 2, json.GetProperty("memory").GetProperty("weights").GetInt64());
    }

    [Theory]
    [InlineData("t4", 8, 16, 4)]
    [InlineData("l4", 16, 32, 4)]
    [InlineData("a100", 32, 64, 7)]
    [InlineData("h100", 64, 128, 7)]
    public void PresetsAreTheCards(string preset, int rank, int alpha, int modulesPerLayer)
    {
        JsonElement json = Cli.Run("plan", "--config", TinyRun.Model, "--preset", preset, "--json").Ok().Json;
        Assert.Equal(rank, json.GetProperty("rank").GetInt32());
        Assert.Equal(alpha, json.GetProperty("alpha").GetDouble());
        Assert.Equal(2 * modulesPerLayer, json.GetProperty("targets").GetArrayLength());
    }

    [Fact]
    public void PlanCountsWhatTrainTrains()
    {
        using Scratch scratch = new();
        string[] flags = ["--rank", "3", "--use-dora", "--target-modules", "q_proj,down_proj", "--modules-to-save", "lm_head"];
        long planned = Cli.Run(["plan", "--model", TinyRun.Model, "--json", .. flags]).Ok().Json.GetProperty("trainable_parameters").GetInt64();
        CliResult train = Cli.Run(["train", "--model", TinyRun.Model, "--data", TinyRun.Rows(scratch, 8), "-o", scratch.Path("out"), "--max-steps", "1", "--json", .. flags]).Ok();
        Assert.Equal(train.Json.GetProperty("trainable_parameters").GetInt64(), planned);
    }

    [Fact]
    public void BenchTrainPrintsTheContractsKeys()
    {
        JsonElement json = Cli.Run("bench", "train", "--config", TinyRun.Model, "--rank", "4", "--target-modules", "q_proj,v_proj", "--batch-size", "2", "--sequence-length", "16", "--steps", "2", "--masked", "0.6", "--device", "cpu", "--json").Ok().Json;
        foreach (string key in new[] { "tokens_per_second", "milliseconds_per_step", "peak_memory_bytes", "trainable_parameters", "parameters", "loss_first", "loss_last", "time_to_first_step_ms" })
            Assert.True(json.GetProperty(key).GetDouble() > 0, key);
        Assert.Equal(JsonValueKind.String, json.GetProperty("device").ValueKind);
    }

    [Fact]
    public void TheProfileExplainsTheMeasuredSteps()
    {
        using Scratch scratch = new();
        CliResult bench = Cli.Run("bench", "train", "--config", TinyRun.Model, "--rank", "4", "--target-modules", "q_proj", "--batch-size", "1", "--sequence-length", "16", "--steps", "3", "--device", "cpu", "--profile", "--json").Ok();
        CheckProfile(bench.Json.GetProperty("profile"), calls: 3);
        CliResult train = Cli.Run([.. TinyRun.Train(TinyRun.Rows(scratch, 8), scratch.Path("out"), "--device", "cpu", "--profile", "--json")]).Ok();
        CheckProfile(train.Json.GetProperty("profile"), calls: 12);
        Assert.False(Cli.Run([.. TinyRun.Train(TinyRun.Rows(scratch, 8), scratch.Path("plain"), "--device", "cpu", "--json")]).Ok().Json.TryGetProperty("profile", out _));

        static void CheckProfile(JsonElement profile, int calls)
        {
            List<JsonElement> operations = [.. profile.GetProperty("operations").EnumerateArray()];
            Assert.Equal(calls, operations.Single(o => o.GetProperty("operation").GetString() == "AdamW").GetProperty("calls").GetInt64());
            Assert.Contains(operations, o => o.GetProperty("operation").GetString()!.StartsWith("linear backward ", StringComparison.Ordinal) && o.GetProperty("gigaflops_per_second").GetDouble() > 0);
            Assert.True(operations.Sum(o => o.GetProperty("milliseconds").GetDouble()) <= profile.GetProperty("milliseconds").GetDouble());
            Assert.True(profile.GetProperty("limit_gigaflops_per_second").GetDouble() > 0);
        }
    }

    [Fact]
    public void InspectAndDoctorPrintOneObject()
    {
        JsonElement inspect = Cli.Run("adapter", "inspect", TinyRun.Adapter, "--json").Ok().Json;
        Assert.True(inspect.GetProperty("parameters").GetInt64() > 0);
        Assert.True(inspect.GetProperty("rank").GetInt32() > 0);
        JsonElement doctor = Cli.Run("doctor", "--json").Ok().Json;
        Assert.Equal(Environment.ProcessorCount, doctor.GetProperty("processors").GetInt32());
        Assert.Matches("^[0-9]+\\.[0-9]+", Cli.Run("--version").Ok().Out);
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("train", "--help")]
    [InlineData("bench", "train", "--help")]
    public void HelpIsFine(params string[] args) => Assert.Contains("--help", Cli.Run(args).Ok().Out, StringComparison.Ordinal);
}
