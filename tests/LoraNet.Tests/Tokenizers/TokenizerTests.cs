using System.Text;
using System.Text.Json;
using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>What a user sees of a tokenizer: loading a directory, roles, streaming, batches, ranges, truncation, pairs.</summary>
public class TokenizerTests
{
    private static byte[] Component(string name)
    {
        using JsonDocument doc = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Fixtures, "tokenizers", "components.json")));
        return ComponentTests.FileOf(doc.RootElement.GetProperty("cases").EnumerateArray().Single(c => c.GetProperty("name").GetString() == name));
    }

    private static Tokenizer ByteLevel() => TokenizerLoader.FromJson(Component("byte level, trim false, prefix false"), "byte level");

    private static Tokenizer Llama() => TokenizerLoader.FromJson(Component("llama"), "llama");

    private static void InDirectory(Action<string> test)
    {
        string directory = Directory.CreateTempSubdirectory("loranet-tok-").FullName;
        try
        {
            test(directory);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public void Streaming_gives_the_same_text_and_never_half_a_character()
    {
        var random = new RandomText(3, "🦙🦙", "日本");
        foreach (Tokenizer tokenizer in new[] { ByteLevel(), Llama(), TokenizerLoader.FromJson(Component("wordpiece no clean-up"), "wordpiece") })
        {
            for (int i = 0; i < 300; i++)
            {
                int[] ids = tokenizer.Encode(random.Next().Replace('\uFFFD', '?'));
                IncrementalDecoder decoder = tokenizer.CreateDecoder();
                var parts = new List<string>();
                foreach (int id in ids) parts.Add(decoder.Append(id));
                parts.Add(decoder.Flush());
                Assert.Equal(tokenizer.Decode(ids), string.Concat(parts));
                Assert.All(parts, p => Assert.False(p.Contains('\uFFFD') || (p.Length > 0 && (char.IsHighSurrogate(p[^1]) || char.IsLowSurrogate(p[0])))));
            }
        }
    }

    [Fact]
    public void Streaming_gives_up_on_bytes_that_never_become_text()
    {
        IncrementalDecoder decoder = ByteLevel().CreateDecoder();
        var text = new StringBuilder();
        for (int i = 0; i < 40; i++) text.Append(decoder.Append(0xFF));
        text.Append(decoder.Flush());
        Assert.Equal(40, text.ToString().Count(c => c == '\uFFFD'));
    }

    [Fact]
    public void Byte_level_text_comes_back_whole()
    {
        Tokenizer tokenizer = ByteLevel();
        var random = new RandomText(11);
        for (int i = 0; i < 500; i++)
        {
            string text = random.Next();
            int[] ids = tokenizer.Encode(text, out TokenSpan[] spans);
            Assert.Equal(text, tokenizer.Decode(ids));
            // The ranges cover the text without gaps.
            int at = 0;
            foreach (TokenSpan s in spans)
            {
                Assert.True(s.Start <= at && s.End >= at);
                at = s.End;
            }
            Assert.Equal(text.Length, at);
        }
    }

    [Fact]
    public void Half_a_surrogate_pair_counts_as_the_replacement_character()
    {
        Tokenizer tokenizer = ByteLevel();
        Assert.Equal(tokenizer.Encode("a\uFFFDb\uFFFD"), tokenizer.Encode("a\uD800b\uDC00"));
    }

    [Fact]
    public void A_long_word_is_merged_as_if_by_rescanning()
    {
        // The same merges, once as many words of at most 64 symbols (rescan) and once as one (heap): "low" recurs and never joins its neighbour.
        Tokenizer tokenizer = TokenizerLoader.FromJson(Component("bpe chars fuse_unk"), "bpe");
        int[] one = tokenizer.Encode("thelowestnewest");
        int[] many = tokenizer.Encode(string.Concat(Enumerable.Repeat("thelowestnewest", 20_000)));
        Assert.Equal(Enumerable.Repeat(one, 20_000).SelectMany(x => x), many);
    }

    [Fact]
    public void Batches_equal_single_calls()
    {
        Tokenizer tokenizer = ByteLevel();
        var random = new RandomText(5);
        string[] texts = Enumerable.Range(0, 200).Select(_ => random.Next()).ToArray();
        int[][] batch = tokenizer.EncodeBatch(texts);
        for (int i = 0; i < texts.Length; i++) Assert.Equal(tokenizer.Encode(texts[i]), batch[i]);
    }

    [Fact]
    public void Pairs_carry_segment_ids()
    {
        Tokenizer tokenizer = TokenizerLoader.FromJson(Component("wordpiece bert"), "bert");
        int[] ids = tokenizer.EncodePair("the low", "hello", out int[] types);
        Assert.Equal(["[CLS]", "the", "low", "[SEP]", "hello", "[SEP]"], ids.Select(tokenizer.TokenOf));
        Assert.Equal([0, 0, 0, 0, 1, 1], types);
    }

    [Fact]
    public void Truncation_keeps_the_added_tokens()
    {
        Tokenizer tokenizer = TokenizerLoader.FromJson(Component("wordpiece bert"), "bert");
        int[] ids = tokenizer.Encode("the low world hello");
        Assert.Equal(["[CLS]", "the", "low", "[SEP]"], tokenizer.Truncate(ids, new TokenizerTruncation(4)).Select(tokenizer.TokenOf));
        Assert.Equal(["[CLS]", "world", "hello", "[SEP]"], tokenizer.Truncate(ids, new TokenizerTruncation(4, FromLeft: true)).Select(tokenizer.TokenOf));
        Assert.Same(ids, tokenizer.Truncate(ids, new TokenizerTruncation(6)));
    }

    [Fact]
    public void A_directory_gives_roles_template_and_files() => InDirectory(directory =>
    {
        File.WriteAllBytes(Path.Combine(directory, "tokenizer.json"), Component("byte level ignore_merges"));
        File.WriteAllText(Path.Combine(directory, "tokenizer_config.json"), """
            {"bos_token":"<x>","eos_token":{"content":"!"},"pad_token":null,"model_max_length":2048,
             "chat_template":[{"name":"default","template":"A"},{"name":"tool_use","template":"B"}]}
            """);
        File.WriteAllText(Path.Combine(directory, "generation_config.json"), """{"eos_token_id":[33,34],"pad_token_id":35}""");
        Tokenizer tokenizer = Tokenizer.Load(directory);
        Assert.Equal((273, 33, 35, 2048), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId, tokenizer.MaxLength));
        Assert.Equal([33, 34], tokenizer.EndIds);
        Assert.Equal("A", tokenizer.ChatTemplate);
        Assert.Equal("B", tokenizer.ChatTemplates["tool_use"]);
        Assert.Equal(["tokenizer.json", "tokenizer_config.json"], tokenizer.SourceFiles.Select(Path.GetFileName));
        Assert.Equal(274, tokenizer.VocabularySize);
        Assert.Contains(273, tokenizer.SpecialIds);
        File.WriteAllText(Path.Combine(directory, "chat_template.jinja"), "C");
        Assert.Equal("C", Tokenizer.Load(directory).ChatTemplate);
    });

    [Fact]
    public void Llama_configuration_decides_about_start_and_end() => InDirectory(directory =>
    {
        File.WriteAllBytes(Path.Combine(directory, "tokenizer.json"), Component("llama"));
        File.WriteAllText(Path.Combine(directory, "tokenizer_config.json"), """{"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"add_eos_token":true,"bos_token":"<0x01>","eos_token":"<0x02>"}""");
        int[] ids = Tokenizer.Load(directory).Encode("l");
        Assert.Equal((2, 3), (ids[0], ids[^1]));
    });

    [Fact]
    public void Llama2c_files_are_read() => InDirectory(directory =>
    {
        File.WriteAllBytes(Path.Combine(directory, "tokenizer.bin"), DamagedFileTests.Llama2c());
        Tokenizer tokenizer = Tokenizer.Load(directory);
        Assert.Equal((1, 2), (tokenizer.BosId, tokenizer.EosId));
        int[] ids = tokenizer.Encode("the low!");
        Assert.Equal(["<s>", " the", " ", "low", "<0x21>"], ids.Select(tokenizer.TokenOf));
        Assert.Equal("the low!", tokenizer.Decode(ids));
    });

    [Fact]
    public void Tiktoken_files_are_read() => InDirectory(directory =>
    {
        string path = Path.Combine(directory, "x.tiktoken");
        string[] tokens = [.. Enumerable.Range(0, 256).Select(b => Convert.ToBase64String([(byte)b])), Convert.ToBase64String("th"u8), Convert.ToBase64String("the"u8), Convert.ToBase64String(" the"u8)];
        File.WriteAllLines(path, tokens.Select((t, i) => $"{t} {i}"));
        Tokenizer tokenizer = Tokenizer.LoadTiktoken(path, SplitScanner.Gpt2Pattern, new Dictionary<string, int> { ["<|end|>"] = 300 });
        Assert.Equal([257, 258, 195, 169, 300], tokenizer.Encode("the theé<|end|>"));
        Assert.Equal("the theé", tokenizer.Decode([257, 258, 195, 169, 300]));
        LoraNetException e = Assert.Throws<LoraNetException>(() => Tokenizer.Load(path));
        Assert.Contains("259 entries", e.Message);
    });

    [Fact]
    public void Missing_files_are_named() => InDirectory(directory =>
    {
        Assert.Contains(directory, Assert.Throws<LoraNetException>(() => Tokenizer.Load(directory)).Message);
        Assert.Contains("nowhere", Assert.Throws<LoraNetException>(() => Tokenizer.Load(Path.Combine(directory, "nowhere"))).Message);
        File.WriteAllText(Path.Combine(directory, "vocab.json"), "{}");
        Assert.Contains("merges.txt", Assert.Throws<LoraNetException>(() => Tokenizer.Load(Path.Combine(directory, "vocab.json"))).Message);
    });

    [Fact]
    public void An_error_names_file_place_and_line()
    {
        LoraNetException e = Assert.Throws<LoraNetException>(() => TokenizerLoader.FromJson("{\n \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}"u8.ToArray(), "dir/tokenizer.json"));
        Assert.Contains("dir/tokenizer.json", e.Message);
        Assert.Contains("merge 0", e.Message);
        Assert.Contains("\"b\"", e.Message);
        e = Assert.Throws<LoraNetException>(() => TokenizerLoader.FromJson("{\n\n x"u8.ToArray(), "t.json"));
        Assert.Contains("line 3", e.Message);
    }

    [Fact]
    public void Unused_ids_decode_to_nothing() => Assert.Equal("a", ByteLevel().Decode([97, 5000, -3]));
}
