using LoraNet.ChatTemplates;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Tests.Formats;

namespace LoraNet.Tests.Data;

/// <summary>The cache gives the same rows, notices every change, and survives damage and company.</summary>
public sealed class TokenCacheTests : IDisposable
{
    private const string Text = """
        {"prompt":"a","completion":"b"}
        {"input_ids":[5,6,7],"labels":[-100,6,7],"attention_mask":[1,1,1]}
        {"text":"<s>twice"}
        """;

    private readonly DataFixture _fixture = new();
    private readonly TemporaryFolder _cache = new();

    public void Dispose()
    {
        _fixture.Dispose();
        _cache.Dispose();
    }

    private DataOptions Options => new() { CacheDirectory = _cache.Path };

    private static void AssertSame(DataSet a, DataSet b)
    {
        Assert.Equal(a.Rows.Count, b.Rows.Count);
        for (int i = 0; i < a.Rows.Count; i++)
        {
            Assert.Equal(a.Rows[i].InputIds, b.Rows[i].InputIds);
            Assert.Equal(a.Rows[i].Labels, b.Rows[i].Labels);
            Assert.Equal(a.Rows[i].AttentionMask, b.Rows[i].AttentionMask);
            Assert.Equal((a.PlaceOf(i), a.FormOf(i), a.FullLengthOf(i)), (b.PlaceOf(i), b.FormOf(i), b.FullLengthOf(i)));
        }
        System.Text.Json.Nodes.JsonObject ja = a.Report.ToJson(), jb = b.Report.ToJson();
        ja.Remove("from_cache");
        jb.Remove("from_cache");
        Assert.Equal(ja.ToJsonString(), jb.ToJsonString());
    }

    [Fact]
    public void The_second_load_comes_from_the_cache_and_is_equal()
    {
        DataSet first = _fixture.Load("a.jsonl", Text, Options), second = _fixture.Load("a.jsonl", Text, Options);
        Assert.False(first.Report.FromCache);
        Assert.True(second.Report.FromCache);
        AssertSame(first, second);
        Assert.Single(_cache.Names);
        // The split is made after the cache.
        DataSet split = _fixture.Load("a.jsonl", Text, Options with { ValidationShare = 0.4 });
        Assert.True(split.Report.FromCache);
        Assert.Equal(2, split.Rows.Count);
    }

    [Fact]
    public void Whatever_changes_the_tokens_makes_another_entry()
    {
        DataOptions[] variants = [Options, Options with { MaxLength = 3 }, Options with { TrainOn = TrainOn.All }, Options with { ChatTemplate = "chatml" }, Options with { Columns = new Dictionary<string, string> { ["x"] = "text" } }];
        foreach (DataOptions options in variants) Assert.False(_fixture.Load("a.jsonl", Text, options).Report.FromCache);
        Assert.False(_fixture.Load("a.jsonl", Text + "\n{\"text\":\"new\"}", Options).Report.FromCache);
        using DataFixture other = new(eos: "<|im_end|>");
        Assert.False(other.Load("a.jsonl", Text, Options).Report.FromCache);
        Assert.Equal(variants.Length + 2, _cache.Names.Length);
        Assert.False(DataSet.Load(_fixture.Write("b.jsonl", """{"input_ids":[5,6]}"""), null, Options).Report.FromCache);
        Assert.True(DataSet.Load(_fixture.Write("b.jsonl", """{"input_ids":[5,6]}"""), null, Options).Report.FromCache);
    }

    [Fact]
    public void Damage_of_any_byte_is_noticed_and_mended()
    {
        DataSet first = _fixture.Load("a.jsonl", Text, Options);
        string entry = _cache[_cache.Names[0]];
        byte[] good = File.ReadAllBytes(entry);
        for (int i = 0; i < good.Length; i += 7)
        {
            byte[] bad = (byte[])good.Clone();
            bad[i] ^= 0x40;
            File.WriteAllBytes(entry, bad);
            DataSet again = _fixture.Load("a.jsonl", Text, Options);
            Assert.False(again.Report.FromCache);
            AssertSame(first, again);
            Assert.Equal(good, File.ReadAllBytes(entry));
        }
        File.WriteAllBytes(entry, good[..(good.Length / 2)]);
        Assert.False(_fixture.Load("a.jsonl", Text, Options).Report.FromCache);
        File.WriteAllBytes(entry, []);
        Assert.False(_fixture.Load("a.jsonl", Text, Options).Report.FromCache);
        Assert.True(_fixture.Load("a.jsonl", Text, Options).Report.FromCache);
    }

    [Fact]
    public void Many_may_load_at_once()
    {
        string path = _fixture.Write("a.jsonl", Text);
        DataSet expected = DataSet.Load(path, _fixture.Tokenizer);
        Parallel.For(0, 16, new ParallelOptions { MaxDegreeOfParallelism = 8 }, _ => AssertSame(expected, DataSet.Load(path, _fixture.Tokenizer, Options)));
        Assert.Single(_cache.Names);
    }

    [Fact]
    public void A_folder_that_can_t_be_made_is_an_error()
    {
        string file = _fixture.Write("taken", "");
        Assert.Contains(file, Assert.Throws<LoraNetException>(() => _fixture.Load("a.jsonl", Text, new DataOptions { CacheDirectory = file })).Message);
    }
}
