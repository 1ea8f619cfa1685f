using System.Text.Json.Nodes;
using LoraNet.Data;
using LoraNet.Data.Packing;
using LoraNet.Models;
using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Data;

/// <summary>Published data sets through published tokenizers: every row is read, and the counts are those of the files.</summary>
public sealed class RealDataTests(Xunit.Abstractions.ITestOutputHelper output)
{
    private static Tokenizer Gpt2() => Tokenizer.Load(TestData.SharedPath("data", "tokenizers", "gpt2"));

    private DataSet Load(string path, Tokenizer tokenizer, DataOptions? options = null)
    {
        DataSet set = DataSet.Load(path, tokenizer, options);
        IReadOnlyList<PackedRow> packs = RowPacker.Pack(set.Rows, (options ?? new DataOptions()).MaxLength);
        output.WriteLine($"{path}: {set.Report.ToJson().ToJsonString()}\npacked: {PackingReport.Of(packs, (options ?? new DataOptions()).MaxLength)}");
        return set;
    }

    [SharedFact]
    public void WikiSql_folder_of_text()
    {
        DataSet set = Load(TestData.SharedPath("data", "wikisql-mlx"), Gpt2());
        Assert.Equal((1000, 100), (set.Rows.Count, set.Validation!.Rows.Count));
        Assert.Equal(1, set.Report.EosShare);
        Assert.Equal(set.Report.Tokens - 1000, set.Report.TrainedTokens);
        Assert.Equal(100, DataSet.Load(TestData.SharedPath("data", "wikisql-mlx"), Gpt2(), new DataOptions { Split = DataSplit.Test }).Rows.Count);
    }

    [SharedFact]
    public void Instructions_as_alpaca()
    {
        DataSet set = Load(TestData.SharedPath("data", "instruct-rasbt", "instruction-data.json"), Gpt2());
        Assert.Equal(1100, set.Rows.Count);
        Assert.Equal(1100, set.Report.Forms[DataForm.Alpaca]);
        Assert.Equal(1, set.Report.EosShare);
        PreviewSample first = DataPreview.Create(set, Gpt2(), 1).Samples[0];
        Assert.Equal("The spelling of the given phrase \"freind\" is incorrect, the correct spelling is \"friend\".<|endoftext|>", first.Parts.Single(p => p.Trained).Text);
        Assert.Equal(1100, DataSet.Load(TestData.SharedPath("data", "instruct-rasbt", "instruction-data-with-preference.json"), Gpt2()).Rows.Count);
    }

    [SharedFact]
    public void Identity_as_alpaca_through_a_chat_template()
    {
        Tokenizer tokenizer = Tokenizer.Load(TestData.SharedPath("data", "TinyStories-656K"));
        Assert.Equal(91, DataSet.Load(TestData.SharedPath("data", "alpaca", "identity.json"), tokenizer).Rows.Count);
        DataSet chat = Load(TestData.SharedPath("data", "alpaca", "identity.json"), Tokenizer.Load(TestData.SharedPath("data", "tokenizers", "llama3")), new DataOptions { ChatTemplate = "llama3" });
        Assert.Equal(91, chat.Rows.Count);
        PreviewSample first = DataPreview.Create(chat, Tokenizer.Load(TestData.SharedPath("data", "tokenizers", "llama3")), 1).Samples[0];
        Assert.Equal("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", first.Parts[0].Text);
        Assert.Equal("Hello! I am {{name}}, an AI assistant developed by {{author}}. How can I assist you today?<|eot_id|>", first.Parts[1].Text);
    }

    [SharedFact]
    public void Questions_and_answers()
    {
        DataSet set = Load(TestData.SharedPath("data", "gsm8k", "test.jsonl"), Gpt2());
        Assert.Equal(1319, set.Rows.Count);
        Assert.Equal(1, set.Report.EosShare);
    }

    [SharedFact]
    public void E2e_pairs_split_by_meaning()
    {
        string[] lines = File.ReadAllLines(TestData.SharedPath("data", "e2e", "valid.txt"));
        using DataFixture fixture = new();
        string path = fixture.Write("e2e.jsonl", string.Join('\n', lines.Select(l => l.Split("||")).Select(p => new JsonObject { ["prompt"] = p[0] + " =>", ["completion"] = " " + p[1].Trim() }.ToJsonString())));
        Tokenizer tokenizer = Gpt2();
        DataSet set = Load(path, tokenizer, new DataOptions { ValidationShare = 0.1, KeepPromptsTogether = true });
        Assert.Equal(4672, set.Rows.Count + set.Validation!.Rows.Count);
        string Meaning(TokenRow row) => tokenizer.Decode([.. row.InputIds.TakeWhile((_, i) => row.Labels[i] == TokenRow.Ignored)]);
        HashSet<string> trained = [.. set.Rows.Select(Meaning)], held = [.. set.Validation.Rows.Select(Meaning)];
        Assert.Equal(547, trained.Count + held.Count);
        Assert.Empty(trained.Intersect(held));
    }

    [SharedFact]
    public void Shakespeare_by_lines_and_as_a_document()
    {
        string path = TestData.SharedPath("data", "tinyshakespeare", "input.txt");
        Tokenizer tokenizer = Gpt2();
        DataSet document = Load(path, tokenizer, new DataOptions { TextUnit = TextUnit.Document, MaxLength = 256 });
        string text = string.Concat(document.Rows.Select(r => tokenizer.Decode(r.InputIds)));
        Assert.Equal(File.ReadAllText(path).TrimEnd('\n'), text.TrimEnd('\n'));
        Assert.Equal(File.ReadLines(path).Count(l => !string.IsNullOrWhiteSpace(l)), DataSet.Load(path, tokenizer).Rows.Count);
    }

    [SharedTheory]
    [InlineData("SST-2", 872, 2)]
    [InlineData("RTE", 277, 2)]
    [InlineData("STS-B", 1500, 1)]
    [InlineData("MRPC", 408, 2)]
    public void Glue(string task, int rows, int classes)
    {
        Dictionary<string, string> columns = task switch
        {
            "STS-B" => new() { ["score"] = "label" },
            "MRPC" => new() { ["Quality"] = "label", ["#1 String"] = "text", ["#2 String"] = "text_pair" },
            _ => [],
        };
        Tokenizer bert = Tokenizer.Load(TestData.SharedPath("data", "tokenizers", "bert"));
        ClassificationSet set = ClassificationSet.Load(TestData.SharedPath("data", "glue", task), bert, new DataOptions { Split = DataSplit.Validation, Columns = columns, MaxLength = 128 });
        Assert.Equal((rows, classes), (set.Rows.Count, set.Classes));
        if (task == "RTE") Assert.Equal(["entailment", "not_entailment"], set.LabelNames!);
        Assert.All(set.Rows, r => Assert.Equal(("[CLS]", "[SEP]"), (bert.TokenOf(r.InputIds[0]), bert.TokenOf(r.InputIds[^1]))));
    }
}
