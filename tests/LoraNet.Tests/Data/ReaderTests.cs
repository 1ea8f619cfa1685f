using System.Text;
using System.Text.Json.Nodes;
using LoraNet.Data;
using LoraNet.Data.Reading;
using Parquet.Schema;
using Parquet.Serialization;

namespace LoraNet.Tests.Data;

/// <summary>Files of every kind, and the messages about broken ones.</summary>
public sealed class ReaderTests : IDisposable
{
    private readonly DataFixture _fixture = new();

    public void Dispose() => _fixture.Dispose();

    private string[] Texts(string name, string text, TextUnit unit = TextUnit.Line) =>
        [.. DataFiles.Read(_fixture.Write(name, text), unit).Select(r => $"{r.Place.Number}:{r.Fields["text"]}")];

    [Theory]
    [InlineData("a.jsonl", "{\"text\":\"x\"}\n\n  \r\n{\"text\":\"y\"}", "1:x 4:y")]
    [InlineData("a.jsonl", "\uFEFF{\"text\":\"x\"}\r\n{\"text\":\"y\"}\r\n", "1:x 2:y")]
    [InlineData("a.jsonl", "[{\"text\":\"x\"},\n{\"text\":\"y\"}]", "1:x 2:y")]
    [InlineData("a.json", "\uFEFF [\n {\"text\":\"x\"} ,\n\n {\n\"text\":\"y\"}\n]\n", "2:x 4:y")]
    [InlineData("a.json", "[]", "")]
    [InlineData("a.json", "{\"text\":\"x\"}\n{\"text\":\n\"y\"} {\"text\":\"z\"}", "1:x 2:y 3:z")]
    [InlineData("a.json", "[{\"text\":\"a]}\\\"{[\"}]", "1:a]}\"{[")]
    [InlineData("a.csv", "text,n\r\n\"a,\"\"b\"\"\",1\r\nc,2", "2:a,\"b\" 3:c")]
    [InlineData("a.csv", "\uFEFFtext\n\"two\nlines\"\nx\n\n", "2:two\nlines 4:x")]
    [InlineData("a.csv", ",text\n0,it's \"so\"\n", "2:it's \"so\"")]
    [InlineData("a.tsv", "text\tn\n\"a\tb\n", "2:\"a")]
    [InlineData("a.txt", "x\r\n\n y \n", "1:x 3: y ")]
    [InlineData("a.unknown", "{\"text\":\"x\"}", "1:x")]
    public void Rows_with_their_lines(string name, string text, string expected) => Assert.Equal(expected, string.Join(' ', Texts(name, text)));

    [Fact]
    public void Text_by_paragraphs_and_as_a_document()
    {
        Assert.Equal(["1:a\nb", "5:c"], Texts("a.txt", "a\nb\n\n \nc\n\n", TextUnit.Paragraph));
        Assert.Equal(["1:a\nb\n\nc"], Texts("a.txt", "a\nb\n\nc\n", TextUnit.Document));
        SourceRow row = Assert.Single(DataFiles.Read(_fixture.Write("b.txt", "a\nb"), TextUnit.Document));
        Assert.True(row.Part is { First: true, Last: true });
    }

    [Fact]
    public void A_large_document_comes_in_blocks_that_join_to_the_whole()
    {
        string text = string.Join('\n', Enumerable.Range(0, 300_000).Select(i => $"line number {i} of a book"));
        SourceRow[] blocks = [.. DataFiles.Read(_fixture.Write("a.txt", text), TextUnit.Document)];
        Assert.True(blocks.Length > 1);
        Assert.Equal(text, string.Concat(blocks.Select(b => (string)b.Fields["text"]!)));
        Assert.Equal([true, .. Enumerable.Repeat(false, blocks.Length - 1)], blocks.Select(b => b.Part!.First));
        Assert.Equal([.. Enumerable.Repeat(false, blocks.Length - 1), true], blocks.Select(b => b.Part!.Last));
    }

    [Fact]
    public void Rows_longer_than_the_read_buffer()
    {
        string big = new('x', 1_000_000);
        foreach ((string name, string text) in new[] { ("a.jsonl", $"{{\"text\":\"{big}\"}}\n{{\"text\":\"y\"}}"), ("a.json", $"[{{\"text\":\"{big}\"}},{{\"text\":\"y\"}}]"), ("a.csv", $"text\n\"{big}\"\ny"), ("a.txt", $"{big}\ny") })
            Assert.Equal([big, "y"], DataFiles.Read(_fixture.Write(name, text), TextUnit.Line).Select(r => (string)r.Fields["text"]!));
    }

    [Theory]
    [InlineData("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\"y\"", "line 2 is not valid JSON")]
    [InlineData("a.jsonl", "{\"text\":\"x\"}\n[1]", "line 2: a row must be a JSON object")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"text\":\"y\"}", "line 1 is not valid JSON")]
    [InlineData("a.jsonl", "{\"text\":\"\\ud800\"}", "line 1 holds a malformed string")]
    [InlineData("a.json", "[{\"text\":\"x\"}\n{\"text\":\"y\"}]", "line 2: a comma or the array's end is missing")]
    [InlineData("a.json", "[{\"text\":\"x\"},\n3]", "line 2: a row must be a JSON object")]
    [InlineData("a.json", "[{\"text\":\"x\"}", "the file ends inside the array")]
    [InlineData("a.json", "[{\"text\":\n\"x\"", "ends inside the row that starts on line 1")]
    [InlineData("a.json", "[{\"text\":\"x\"}] 1", "text after the array")]
    [InlineData("a.json", "[{\n\"text\":\n nope}]", "line 3 is not valid JSON")]
    [InlineData("a.csv", "text,label\nx", "line 2 has 1 fields, but the header names 2")]
    [InlineData("a.csv", "text\n\"x\"y", "line 2: 'y' follows a closing quote")]
    [InlineData("a.csv", "text\n\"x\n", "ends inside a quoted field of the row that starts on line 2")]
    [InlineData("a.csv", "text,text\nx,y", "names the column 'text' twice")]
    [InlineData("a.parquet", "PAR1 nothing", "can't be read as a Parquet file")]
    [InlineData("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer")]
    [InlineData("a.dat", "hello", "no ending that says")]
    [InlineData("a.jsonl", "", "has no rows")]
    [InlineData("a.json", " [ ] ", "has no rows")]
    [InlineData("a.csv", "text\n", "has no rows")]
    public void Broken_files_are_named_with_the_line(string name, string text, string expected) => Assert.Contains(expected, _fixture.Fails(name, text));

    [Fact]
    public void Text_that_is_not_utf8()
    {
        byte[] latin = [(byte)'{', (byte)'"', 0xE9, (byte)'"', (byte)'}'];
        foreach (string name in new[] { "a.jsonl", "a.csv", "a.txt", "a.json" })
        {
            LoraNetException e = Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Write(name, latin), _fixture.Tokenizer));
            Assert.Contains("not UTF-8", e.Message);
        }
        Assert.Contains("UTF-16", Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Write("b.jsonl", Encoding.Unicode.GetPreamble()), _fixture.Tokenizer)).Message);
        Assert.Contains("compressed", Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Write("b.jsonl", [0x1F, 0x8B, 8, 0]), _fixture.Tokenizer)).Message);
    }

    [Fact]
    public void Missing_files_and_empty_folders()
    {
        Assert.Contains("does not exist", Assert.Throws<LoraNetException>(() => DataSet.Load(Path.Combine(_fixture.Folder, "no.jsonl"), null)).Message);
        Assert.Contains("has no data files", Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Folder, null)).Message);
    }

    [Fact]
    public void Folders_have_splits()
    {
        _fixture.Write("train-00000-of-00002.jsonl", "{\"text\":\"a\"}");
        _fixture.Write("train-00001-of-00002.jsonl", "{\"text\":\"b\"}");
        _fixture.Write("validation.csv", "text\nc");
        _fixture.Write("test.txt", "d");
        _fixture.Write("notes.txt", "not data");
        DataSet set = DataSet.Load(_fixture.Folder, _fixture.Tokenizer);
        Assert.Equal(["<s>a</s>", "<s>b</s>"], set.Rows.Select(_fixture.TextOf));
        Assert.Equal("<s>c</s>", _fixture.TextOf(Assert.Single(set.Validation!.Rows)));
        Assert.Equal("<s>d</s>", _fixture.TextOf(Assert.Single(DataSet.Load(_fixture.Folder, _fixture.Tokenizer, new DataOptions { Split = DataSplit.Test }).Rows)));
        Assert.Contains("validation.csv", Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Folder, _fixture.Tokenizer, new DataOptions { ValidationShare = 0.5 })).Message);
        Assert.EndsWith("train-00001-of-00002.jsonl, line 1", set.PlaceOf(1));
    }

    [Fact]
    public void A_folder_without_split_names_is_all_training_data()
    {
        _fixture.Write("b.jsonl", "{\"text\":\"b\"}");
        _fixture.Write("a.jsonl", "{\"text\":\"a\"}");
        Assert.Equal(["<s>a</s>", "<s>b</s>"], DataSet.Load(_fixture.Folder, _fixture.Tokenizer).Rows.Select(_fixture.TextOf));
        Assert.Contains("no files of the test split", Assert.Throws<LoraNetException>(() => DataSet.Load(_fixture.Folder, _fixture.Tokenizer, new DataOptions { Split = DataSplit.Test })).Message);
    }

    [Fact]
    public async Task Parquet_with_lists_and_structures()
    {
        var role = new DataField<string>("role");
        var content = new DataField<string>("content");
        ParquetSchema schema = new(new DataField<int>("id"), new ListField("messages", new StructField("element", role, content)), new ListField("input_ids", new DataField<long>("element")));
        List<Dictionary<string, object?>> rows = [];
        for (int i = 0; i < 5; i++)
        {
            rows.Add(new()
            {
                ["id"] = i,
                ["messages"] = new List<Dictionary<string, object?>> { new() { ["role"] = "user", ["content"] = $"q{i}" }, new() { ["role"] = "assistant", ["content"] = $"a{i}" } },
                ["input_ids"] = new List<long> { i, i + 1 },
            });
        }
        string path = Path.Combine(_fixture.Folder, "a.parquet");
        await using (FileStream stream = File.Create(path))
            await ParquetSerializer.SerializeUntypedAsync(rows!, schema, stream, new Parquet.ParquetOptions { RowGroupSize = 2 });
        SourceRow[] read = [.. DataFiles.Read(path, TextUnit.Line)];
        Assert.Equal(5, read.Length);
        Assert.Equal("""{"id":3,"messages":[{"role":"user","content":"q3"},{"role":"assistant","content":"a3"}],"input_ids":[3,4]}""", read[3].Fields.ToJsonString());
        Assert.Equal($"{path}, row 4", read[3].Place.ToString());
    }

    [Theory]
    [InlineData("uncompressed")]
    [InlineData("snappy")]
    [InlineData("zstd")]
    [InlineData("gzip")]
    [InlineData("lz4_raw")]
    [InlineData("brotli")]
    public void Parquet_of_another_writer(string codec)
    {
        string path = Path.Combine(LoraNet.Testing.TestData.Fixtures, "data", $"duckdb-{codec}.parquet");
        string[] rows = [.. DataFiles.Read(path, TextUnit.Line).Select(r => r.Fields.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))];
        Assert.Equal(7, rows.Length);
        for (int i = 0; i < 7; i++)
        {
            string note = i % 3 == 2 ? "" : $"\"note\":\"text é\\uD83D\\uDE00 {i}\",";
            string numbers = i % 2 == 0 ? $"\"numbers\":[{i},{i + 1},{i + 2}]," : "";
            Assert.Equal(
                $$$"""{"id":{{{i}}},{{{note}}}"messages":[{"role":"user","content":"q{{{i}}}"},{"role":"assistant","content":"a{{{i}}}","weight":1}],{{{numbers}}}"nothing":[],"nested":{"name":"n{{{i % 2}}}","tags":["x",null,"y"]},"score":{{{(i / 4.0).ToString(System.Globalization.CultureInfo.InvariantCulture)}}},"flag":{{{(i % 2 == 0 ? "true" : "false")}}}}""",
                rows[i]);
        }
    }

    // Lists in structures in lists, with null and empty ones at every level, against the JSON that the same program wrote.
    [Fact]
    public void Parquet_nested_with_gaps_equals_its_json()
    {
        string folder = Path.Combine(LoraNet.Testing.TestData.Fixtures, "data");
        string[] expected = [.. File.ReadLines(Path.Combine(folder, "duckdb-nested.jsonl")).Select(l => WithoutNulls(JsonNode.Parse(l))!.ToJsonString())];
        Assert.Equal(60, expected.Length);
        Assert.Equal(expected, DataFiles.Read(Path.Combine(folder, "duckdb-nested.parquet"), TextUnit.Line).Select(r => WithoutNulls(r.Fields)!.ToJsonString()));
    }

    // Without keys that have no value; nulls in lists stay.
    private static JsonNode? WithoutNulls(JsonNode? node) => node switch
    {
        JsonObject o => new JsonObject(o.Where(p => p.Value is not null).Select(p => KeyValuePair.Create(p.Key, WithoutNulls(p.Value)))),
        JsonArray a => new JsonArray([.. a.Select(WithoutNulls)]),
        _ => node?.DeepClone(),
    };
}
