using System.Text;
using LoraNet.ChatTemplates;
using LoraNet.Data;
using Parquet.Schema;
using Parquet.Serialization;

namespace LoraNet.Tests.Data;

/// <summary>Three thousand damaged files of each kind: rows or a message, never another exception and never a hang.</summary>
public sealed class HostileDataTests(Xunit.Abstractions.ITestOutputHelper output) : IDisposable
{
    private const int Files = 3000;

    private const string Jsonl = """
        {"text":"the \u00e9nd \\ of \"it\""}
        {"prompt":"a","completion":"b"}
        {"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","content":"1"},{"role":"assistant","content":"Ho 😀"}],"tools":[{"name":"f"}]}
        {"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Ho"}],"system":"S"}
        {"instruction":"Do","input":"it","output":"done","history":[["a","b"]]}
        {"input_ids":[1,5,6],"labels":[-100,5,6],"attention_mask":[1,1,1]}
        """;

    private const string Csv = "id,prompt,completion\r\n1,\"a, \"\"b\"\"\",c\r\n2,\"two\nlines\",é😀\r\n3,x,y\r\n";

    private readonly DataFixture _fixture = new("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}");

    public void Dispose() => _fixture.Dispose();

    [Theory]
    [InlineData("a.jsonl")]
    [InlineData("a.json")]
    [InlineData("a.csv")]
    [InlineData("a.tsv")]
    [InlineData("a.txt")]
    public void Damaged_text(string name)
    {
        byte[] good = Encoding.UTF8.GetBytes(name switch
        {
            "a.jsonl" => Jsonl,
            "a.json" => "[\n" + Jsonl.Replace("\n", ",\n") + "\n]\n",
            "a.csv" => Csv,
            "a.tsv" => "prompt\tcompletion\n\"a\tb\nx\ty\n",
            _ => "\uFEFFsome text\r\n\r\nmore é😀 text\n",
        });
        Assert.NotEmpty(DataSet.Load(_fixture.Write(name, good), _fixture.Tokenizer).Rows);
        Run(name, good, name == "a.txt");
    }

    [Fact]
    public async Task Damaged_parquet()
    {
        ParquetSchema schema = new(
            new DataField<string>("prompt"), new DataField<string>("completion"), new DataField<double?>("score"),
            new ListField("messages", new StructField("element", new DataField<string>("role"), new DataField<string>("content"))));
        List<Dictionary<string, object?>> rows = [.. Enumerable.Range(0, 6).Select(i => new Dictionary<string, object?>
        {
            ["prompt"] = $"p{i}",
            ["completion"] = $"c{i % 2}",
            ["score"] = i % 2 == 0 ? (double)i : null,
            ["messages"] = new List<Dictionary<string, object?>> { new() { ["role"] = "user", ["content"] = $"q{i}" }, new() { ["role"] = "assistant", ["content"] = $"r{i}" } },
        })];
        using MemoryStream stream = new();
        await ParquetSerializer.SerializeUntypedAsync(rows!, schema, stream, new Parquet.ParquetOptions { RowGroupSize = 3 });
        byte[] good = stream.ToArray();
        Assert.Equal(6, DataSet.Load(_fixture.Write("a.parquet", good), _fixture.Tokenizer).Rows.Count);
        Run("a.parquet", good, false);
    }

    private void Run(string name, byte[] good, bool units)
    {
        Random random = new(17);
        int loaded = 0, refused = 0;
        for (int i = 0; i < Files; i++)
        {
            string path = _fixture.Write(name, Mutate(good, random));
            DataOptions options = new()
            {
                MaxLength = random.Next(8) == 0 ? random.Next(2, 32) : 256,
                UntrainedRows = (UntrainedRows)random.Next(3),
                TrainOn = (TrainOn)random.Next(3),
                SplitStraddlingTokens = random.Next(2) == 0,
                TextUnit = units ? (TextUnit)random.Next(3) : TextUnit.Line,
                ValidationShare = random.Next(4) == 0 ? 0.3 : 0,
            };
            try
            {
                DataSet set = DataSet.Load(path, _fixture.Tokenizer, options);
                Assert.NotEmpty(set.Rows);
                Assert.All(set.Rows, r => Assert.True(r.InputIds.Length <= options.MaxLength && r.Labels.Length == r.InputIds.Length));
                set.Report.ToJson();
                DataPreview.Create(set, _fixture.Tokenizer).ToJson();
                loaded++;
            }
            catch (LoraNetException e)
            {
                Assert.NotEmpty(e.Message);
                refused++;
            }
        }
        output.WriteLine($"{name}: {loaded} loaded, {refused} refused");
        Assert.True(refused > 0);
    }

    private static byte[] Mutate(byte[] good, Random random)
    {
        List<byte> bytes = [.. good];
        byte[] spice = [(byte)'"', (byte)'\\', (byte)'{', (byte)'}', (byte)'[', (byte)']', (byte)',', (byte)':', (byte)'\n', (byte)'\r', (byte)'\t', (byte)'0', (byte)'-', 0, 0xFF, 0x80, 0xC3, 0xED];
        for (int n = random.Next(1, 4); n > 0 && bytes.Count > 0; n--)
        {
            int at = random.Next(bytes.Count), count = Math.Min(random.Next(1, 20), bytes.Count - at);
            switch (random.Next(12))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = spice[random.Next(spice.Length)]; break;
                case 2: bytes.Insert(at, spice[random.Next(spice.Length)]); break;
                case 3: bytes.RemoveRange(at, count); break;
                case 4: bytes.InsertRange(at, bytes.GetRange(random.Next(bytes.Count - count + 1), count)); break;
                case 5: bytes.RemoveRange(at, bytes.Count - at); break;
                case 6:
                case 7:
                case 8:
                case 9:
                    // A change that leaves the file readable reaches what lies behind the reader.
                    if (char.IsAsciiLetterOrDigit((char)bytes[at])) bytes[at] = (byte)"aeiou012<|> "[random.Next(12)];
                    break;
                default:
                    for (int i = 0; i < Math.Min(count, 4); i++) bytes[at + i] = (byte)random.Next(256);
                    break;
            }
        }
        return [.. bytes];
    }
}
