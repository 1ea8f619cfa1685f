using System.Text.Json.Nodes;
using LoraNet.Tests.Formats;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Data;

/// <summary>A small byte-level BPE tokenizer: every byte is a token, a few merges, special tokens of ChatML, BOS added in front.</summary>
internal static class TestTokenizer
{
    public const int Unknown = 0, Bos = 1, Eos = 2, Start = 3, End = 4;

    /// <summary>Writes the tokenizer's files into a folder and loads it.</summary>
    public static Tokenizer Create(TemporaryFolder folder, string? chatTemplate = null, string eos = "</s>")
    {
        var vocabulary = new JsonObject();
        string[] special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"];
        for (int i = 0; i < special.Length; i++) vocabulary[special[i]] = i;
        int id = special.Length;
        for (int b = 0; b < 256; b++) vocabulary[ByteSymbol(b)] = id++;
        string[] merges = ["t h", "th e", "Ġ the", "Ċ Ċ", "Ċ A", ": Ġ"];
        foreach (string merge in merges) vocabulary[merge.Replace(" ", "")] = id++;
        var json = new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray([.. special.Select((s, i) => (JsonNode)new JsonObject { ["id"] = i, ["content"] = s, ["special"] = true, ["normalized"] = false, ["lstrip"] = false, ["rstrip"] = false, ["single_word"] = false })]),
            ["normalizer"] = null,
            ["pre_tokenizer"] = null,
            ["post_processor"] = JsonNode.Parse("""{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[2],"tokens":["</s>"]}}}"""),
            ["decoder"] = JsonNode.Parse("""{"type":"ByteLevel"}"""),
            ["model"] = new JsonObject { ["type"] = "BPE", ["unk_token"] = "<unk>", ["vocab"] = vocabulary, ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)m)]) },
        };
        json["pre_tokenizer"] = JsonNode.Parse("""{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}""");
        File.WriteAllText(folder["tokenizer.json"], json.ToJsonString());
        File.WriteAllText(folder["tokenizer_config.json"], new JsonObject { ["bos_token"] = "<s>", ["eos_token"] = eos, ["chat_template"] = chatTemplate }.ToJsonString());
        return Tokenizer.Load(folder.Path);
    }

    // The visible character that byte-level BPE writes for a byte.
    private static string ByteSymbol(int b)
    {
        bool visible = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
        if (visible) return ((char)b).ToString();
        int n = 0;
        for (int i = 0; i < b; i++) n += i is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF) ? 0 : 1;
        return ((char)(256 + n)).ToString();
    }
}
