using LoraNet.Data;
using LoraNet.Models;

namespace LoraNet.Tests.Data;

/// <summary>Cutting, rows without trained tokens, the report, the split, the preview.</summary>
public sealed class DataSetTests : IDisposable
{
    private readonly DataFixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    [Fact]
    public void Long_rows_are_cut_and_counted()
    {
        DataSet set = _fixture.Load("a.jsonl", """
            {"prompt":"abcd","completion":"efghij"}
            {"prompt":"abcd","completion":"e"}
            """, new DataOptions { MaxLength = 8 });
        Assert.Equal("<s>abcd[efg]", _fixture.Marked(set, 0));
        Assert.Equal((1, 4L, 8), (set.Report.Truncated, set.Report.TokensCut, set.Report.Longest));
        Assert.Equal(1, set.Report.EndInEos);
        Assert.Equal(12, set.FullLengthOf(0));
        Assert.Contains(set.Report.Warnings, w => w.Contains("1 of 2 rows were cut"));
    }

    private const string Untrained = """
        {"prompt":"abcdefgh","completion":"x"}
        {"prompt":"a","completion":"x"}
        {"input_ids":[5,6],"labels":[-100,-100]}
        {"input_ids":[5]}
        {"input_ids":[5,6],"attention_mask":[0,1]}
        """;

    [Fact]
    public void Rows_without_trained_tokens_are_an_error_that_names_them()
    {
        string message = _fixture.Fails("a.jsonl", Untrained, new DataOptions { MaxLength = 6 });
        Assert.Contains("4 of 5 rows have no trained token", message);
        Assert.Contains("line 1): its 11 tokens were cut to 6, which left no answer", message);
        Assert.Contains("row 3 (", message);
        Assert.Contains("line 3): all its labels are masked", message);
        Assert.Contains("line 4): it has one token", message);
        Assert.Contains("line 5): all its labels are masked", message);
        Assert.Contains("--max-length", message);
    }

    [Fact]
    public void Rows_without_trained_tokens_can_be_skipped_or_kept()
    {
        DataSet skipped = _fixture.Load("a.jsonl", Untrained, new DataOptions { MaxLength = 6, UntrainedRows = UntrainedRows.Skip });
        Assert.Equal((1, 4), (skipped.Rows.Count, skipped.Report.Untrained));
        Assert.EndsWith("line 2", skipped.PlaceOf(0));
        Assert.EndsWith("line 1", skipped.Report.UntrainedPlaces[0]);
        DataSet kept = _fixture.Load("a.jsonl", Untrained, new DataOptions { MaxLength = 6, UntrainedRows = UntrainedRows.Keep });
        Assert.Equal((5, 4), (kept.Rows.Count, kept.Report.Untrained));
        Assert.Contains("No row of", Assert.Throws<LoraNetException>(() => _fixture.Load("b.jsonl", """{"input_ids":[5]}""", new DataOptions { UntrainedRows = UntrainedRows.Skip })).Message);
    }

    [Fact]
    public void The_report_counts_what_goes_wrong()
    {
        DataReport report = _fixture.Load("a.jsonl", """
            {"prompt":"a","completion":"b"}
            {"prompt":"a","completion":"b"}
            {"prompt":"a","completion":" "}
            {"text":"<unk>x"}
            {"text":"<s>y"}
            {"input_ids":[5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24]}
            """).Report;
        Assert.Equal((6, 1, 1, 1L, 1, 5), (report.Rows, report.Duplicates, report.EmptyAnswers, report.UnknownTokens, report.DoubledBos, report.EndInEos));
        Assert.Equal(4 + 4 + 4 + 4 + 3 + 20, report.Tokens);
        Assert.Equal(1.0 / report.Tokens, report.UnknownShare);
        Assert.Equal(6, report.Lengths.Sum(b => b.Rows));
        Assert.Equal((5, 1), (report.Lengths.Where(b => b.To <= 4).Sum(b => b.Rows), report.Lengths.Single(b => b.From <= 20 && b.To >= 20).Rows));
        Assert.Equal([6, 1, 1], new[] { "rows", "duplicates", "empty_answers" }.Select(k => (int)report.ToJson()[k]!));
        Assert.Contains(report.Warnings, w => w.Contains("two start tokens") && w.Contains("line 5"));
    }

    [Fact]
    public void A_model_that_would_not_learn_to_stop_is_noticed()
    {
        // The layout ends turns with a token that is not the model's end token.
        DataReport report = _fixture.Load("a.jsonl", """{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}""", new DataOptions { ChatTemplate = "chatml" }).Report;
        Assert.Equal(0, report.EosShare);
        Assert.Contains(report.Warnings, w => w.Contains("may not learn to stop"));
    }

    private string Numbered(int rows, int distinct) => string.Join('\n', Enumerable.Range(0, rows).Select(i => $$"""{"prompt":"p{{i % distinct / 2}}","completion":"c{{i % distinct}}"}"""));

    [Fact]
    public void The_split_depends_on_contents_and_seed_alone()
    {
        string text = Numbered(200, 100);
        DataOptions options = new() { ValidationShare = 0.2 };
        DataSet set = _fixture.Load("a.jsonl", text, options);
        HashSet<string> held = [.. set.Validation!.Rows.Select(_fixture.TextOf)], trained = [.. set.Rows.Select(_fixture.TextOf)];
        Assert.Equal(200, set.Rows.Count + set.Validation.Rows.Count);
        Assert.InRange(set.Validation.Rows.Count, 40, 41);
        Assert.Empty(held.Intersect(trained));
        DataSet reversed = _fixture.Load("b.jsonl", string.Join('\n', text.Split('\n').Reverse()), options);
        Assert.Equal(held.Order(), reversed.Validation!.Rows.Select(_fixture.TextOf).Distinct().Order());
        DataSet other = _fixture.Load("a.jsonl", text, options with { ValidationSeed = 7 });
        Assert.NotEqual(held.Order(), other.Validation!.Rows.Select(_fixture.TextOf).Distinct().Order());
        Assert.Equal(set.Validation.Rows.Count, set.Validation.Report.Rows);
        Assert.Contains("line", set.Validation.PlaceOf(0));
    }

    [Fact]
    public void Prompts_can_be_kept_on_one_side()
    {
        DataSet set = _fixture.Load("a.jsonl", Numbered(200, 100), new DataOptions { ValidationShare = 0.2, KeepPromptsTogether = true });
        string Prompt(TokenRow row) => _fixture.Tokenizer.Decode([.. row.InputIds.Where((_, i) => row.Labels[i] == TokenRow.Ignored)], false);
        Assert.Empty(set.Rows.Select(Prompt).Intersect(set.Validation!.Rows.Select(Prompt)));
    }

    [Fact]
    public void A_split_leaves_rows_on_both_sides_or_fails()
    {
        DataSet set = _fixture.Load("a.jsonl", Numbered(10, 10), new DataOptions { ValidationShare = 0.001 });
        Assert.Single(set.Validation!.Rows);
        Assert.NotEmpty(_fixture.Load("a.jsonl", Numbered(10, 10), new DataOptions { ValidationShare = 0.999 }).Rows);
        Assert.Contains("leaves nothing", _fixture.Fails("b.jsonl", Numbered(10, 1), new DataOptions { ValidationShare = 0.5 }));
        Assert.Contains("--val-split is 1", Assert.Throws<LoraNetException>(() => _fixture.Load("a.jsonl", Numbered(10, 10), new DataOptions { ValidationShare = 1 })).Message);
    }

    [Fact]
    public void Documents_are_cut_into_rows_without_losing_text()
    {
        string text = string.Concat(Enumerable.Range(0, 400).Select(i => $"word{i} the\n\n"));
        DataSet set = _fixture.Load("a.txt", text, new DataOptions { TextUnit = TextUnit.Document, MaxLength = 50 });
        Assert.Equal("<s>" + text.TrimEnd('\n') + "\n</s>", string.Concat(set.Rows.Select(_fixture.TextOf)));
        Assert.All(set.Rows.SkipLast(1), r => Assert.Equal(50, r.InputIds.Length));
        Assert.Equal(0, set.Report.Truncated);
    }

    [Fact]
    public void Reading_stops_at_the_row_limit()
    {
        DataSet set = _fixture.Load("a.jsonl", Numbered(5000, 5000) + "\nbroken", new DataOptions { MaxRows = 3000 });
        Assert.Equal(3000, set.Rows.Count);
    }

    [Fact]
    public void The_first_fault_is_the_one_named_whatever_thread_found_it()
    {
        string text = string.Join('\n', Enumerable.Range(0, 3000).Select(i => i is 1500 or 1501 or 2900 ? """{"nope":1}""" : """{"text":"fine"}"""));
        for (int i = 0; i < 5; i++) Assert.Contains("line 1501:", _fixture.Fails("a.jsonl", text));
    }

    [Fact]
    public void Threads_don_t_show_in_the_rows()
    {
        string text = Numbered(5000, 5000);
        DataSet one = _fixture.Load("a.jsonl", text, new DataOptions { MaxThreads = 1 }), many = _fixture.Load("a.jsonl", text, new DataOptions { MaxThreads = 8 });
        Assert.Equal(one.Rows.Select(r => string.Join(',', r.InputIds)), many.Rows.Select(r => string.Join(',', r.InputIds)));
        Assert.Equal("p1", _fixture.Tokenizer.Decode([.. many.Rows[2].InputIds[1..3]]));
    }

    [Fact]
    public void Cancelling_stops()
    {
        using CancellationTokenSource source = new();
        source.Cancel();
        string path = _fixture.Write("a.jsonl", Numbered(10, 10));
        Assert.ThrowsAny<OperationCanceledException>(() => DataSet.Load(path, _fixture.Tokenizer, null, source.Token));
    }

    [Fact]
    public void Previews_show_ids_without_a_tokenizer_and_leave_padding_out()
    {
        DataSet set = DataSet.Load(_fixture.Write("a.jsonl", """{"input_ids":[9,5,6,7],"labels":[-100,-100,6,7],"attention_mask":[0,1,1,1]}"""), null);
        DataPreview preview = DataPreview.Create(set, null);
        Assert.Equal([new PreviewPart("5", false), new PreviewPart("6 7", true)], preview.Samples[0].Parts);
        Assert.Equal("6 7", (string)preview.ToJson()["samples"]![0]!["parts"]![1]!["text"]!);
        Assert.Equal(1, (int)preview.ToJson()["report"]!["rows"]!);
    }

    [Fact]
    public void Lengths_that_make_no_sense()
    {
        Assert.Contains("--max-length is 1", Assert.Throws<LoraNetException>(() => _fixture.Load("a.jsonl", """{"text":"a"}""", new DataOptions { MaxLength = 1 })).Message);
    }
}
