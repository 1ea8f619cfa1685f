using LoraNet.Data;

namespace LoraNet.Tests.Data;

/// <summary>Rows for classifiers: labels as names, numbers and classes, and pairs of texts.</summary>
public sealed class ClassificationTests : IDisposable
{
    private readonly DataFixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    private ClassificationSet Load(string name, string text, DataOptions? options = null) => ClassificationSet.Load(_fixture.Write(name, text), _fixture.Tokenizer, options);

    [Fact]
    public void Names_numbers_and_ids()
    {
        ClassificationSet names = Load("a.csv", "text,label\na,no\nb,yes\nc,no\n");
        Assert.Equal(["no", "yes"], names.LabelNames!);
        Assert.Equal([0.0, 1, 0], names.Rows.Select(r => r.Label));
        Assert.Equal(["yes", "no"], Load("a.csv", "text,label\na,no\n", new DataOptions { LabelNames = ["yes", "no"] }).LabelNames!);
        Assert.Equal(1, Load("a.csv", "text,label\na,no\n", new DataOptions { LabelNames = ["yes", "no"] }).Rows[0].Label);
        ClassificationSet ids = Load("b.jsonl", "{\"input_ids\":[5,6],\"label\":2}\n{\"input_ids\":[5],\"attention_mask\":[1],\"label\":0}");
        Assert.Equal((3, false), (ids.Classes, ids.IsRegression));
        ClassificationSet scores = Load("c.tsv", "sentence1\tsentence2\tscore\na\tb\t3.5\nc\td\t1\n", new DataOptions { Columns = new Dictionary<string, string> { ["score"] = "label" } });
        Assert.Equal((1, true), (scores.Classes, scores.IsRegression));
        Assert.Equal([3.5, 1], scores.Rows.Select(r => r.Label));
    }

    [Fact]
    public void Pairs_are_joined_as_the_tokenizer_joins_them_and_cut_longest_first()
    {
        ClassificationSet set = Load("a.jsonl", """{"premise":"ab","hypothesis":"c","label":0}""");
        Assert.Equal("<s>ab</s>c", _fixture.Tokenizer.Decode(set.Rows[0].InputIds, false));
        Assert.Equal([0, 0, 0, 0, 1], set.Rows[0].TokenTypeIds!);
        ClassificationSet cut = Load("a.jsonl", """{"text":"abcdefgh","text_pair":"xyz","label":0}""", new DataOptions { MaxLength = 7 });
        Assert.Equal("<s>abc</s>xy", _fixture.Tokenizer.Decode(cut.Rows[0].InputIds, false));
        Assert.Equal(1, cut.Truncated);
        Assert.Equal("<s>abc", _fixture.Tokenizer.Decode(Load("b.jsonl", """{"text":"abcdef","label":0}""", new DataOptions { MaxLength = 4 }).Rows[0].InputIds, false));
    }

    [Theory]
    [InlineData("{\"text\":\"a\"}", "line 1: the row has no label")]
    [InlineData("{\"text\":\"a\",\"label\":[1]}", "line 1: 'label' must be a class or a number")]
    [InlineData("{\"text\":\"a\",\"label\":-1}", "line 1: label -1 can't be a class")]
    [InlineData("{\"input_ids\":[],\"label\":1}", "line 1: input_ids is empty")]
    [InlineData("{\"input_ids\":[1],\"attention_mask\":[1,1],\"label\":1}", "they must agree")]
    [InlineData("", "has no rows")]
    public void Faults(string row, string expected) => Assert.Contains(expected, Assert.Throws<LoraNetException>(() => Load("a.jsonl", row)).Message);

    [Fact]
    public void Held_out_rows_share_the_classes_and_no_text()
    {
        string rows = "text,label\n" + string.Concat(Enumerable.Range(0, 100).Select(i => $"t{i % 50},{(i % 3 == 0 ? "x" : "y")}\n"));
        ClassificationSet set = Load("a.csv", rows, new DataOptions { ValidationShare = 0.2 });
        Assert.Equal((100, set.LabelNames), (set.Rows.Count + set.Validation!.Rows.Count, set.Validation.LabelNames));
        Assert.InRange(set.Validation.Rows.Count, 20, 21);
        Assert.Empty(set.Rows.Select(r => string.Join(',', r.InputIds)).Intersect(set.Validation.Rows.Select(r => string.Join(',', r.InputIds))));
        _fixture.Write("d/train.csv", "text,label\na,no\nb,yes\n");
        string valid = _fixture.Write("d/valid.csv", "text,label\na,yes\n");
        ClassificationSet folder = ClassificationSet.Load(Path.GetDirectoryName(valid)!, _fixture.Tokenizer);
        Assert.Equal(1, Assert.Single(folder.Validation!.Rows).Label);
        _fixture.Write("d/valid.csv", "text,label\na,maybe\n");
        Assert.Contains("label 'maybe' is none of no, yes", Assert.Throws<LoraNetException>(() => ClassificationSet.Load(Path.GetDirectoryName(valid)!, _fixture.Tokenizer)).Message);
    }

    [Fact]
    public void Whole_numbers_can_be_predicted_as_numbers()
    {
        ClassificationSet set = Load("a.csv", "text,label\na,5\nb,-1\n", new DataOptions { Regression = true });
        Assert.True(set.IsRegression);
        Assert.Equal([5.0, -1], set.Rows.Select(r => r.Label));
        Assert.Contains("'x' is no number", Assert.Throws<LoraNetException>(() => Load("a.csv", "text,label\na,x\n", new DataOptions { Regression = true })).Message);
        Assert.Contains("label 1.5 can't be a class", Assert.Throws<LoraNetException>(() => Load("a.csv", "text,label\na,1.5\n", new DataOptions { Regression = false })).Message);
    }

    [Fact]
    public void A_label_that_is_not_among_the_given_names() =>
        Assert.Contains("label 'maybe' is none of yes, no", Assert.Throws<LoraNetException>(() => Load("a.csv", "text,label\na,maybe\n", new DataOptions { LabelNames = ["yes", "no"] })).Message);
}
