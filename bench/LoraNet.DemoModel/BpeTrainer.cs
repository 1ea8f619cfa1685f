using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace LoraNet.DemoModel;

/// <summary>Trains a byte-level BPE (Sennrich et al., 2016; GPT-2's byte alphabet) and writes it as tokenizer.json.</summary>
internal static partial class BpeTrainer
{
    /// <summary>The tokenizer.json text of a vocabulary of at most <paramref name="size"/> tokens: two special ones, 256 bytes, merges.</summary>
    public static string Train(IEnumerable<string> texts, int size)
    {
        char[] alphabet = ByteAlphabet();
        Dictionary<string, int> counts = [];
        foreach (string text in texts)
            foreach (Match match in Words().Matches(text))
                counts[match.Value] = counts.GetValueOrDefault(match.Value) + 1;
        List<(List<string> Symbols, int Count)> words = [.. counts.OrderBy(c => c.Key, StringComparer.Ordinal)
            .Select(c => (Encoding.UTF8.GetBytes(c.Key).Select(b => alphabet[b].ToString()).ToList(), c.Value))];
        JsonObject vocabulary = new() { ["<s>"] = 0, ["</s>"] = 1 };
        foreach (char c in alphabet.Order()) vocabulary[c.ToString()] = vocabulary.Count;
        JsonArray merges = [];
        while (vocabulary.Count < size && Best(words) is var (left, right))
        {
            merges.Add((JsonNode)new JsonArray(left, right));
            vocabulary[left + right] = vocabulary.Count;
            foreach ((List<string> symbols, _) in words)
            {
                for (int i = 0; i + 1 < symbols.Count; i++)
                {
                    if (symbols[i] != left || symbols[i + 1] != right) continue;
                    symbols[i] = left + right;
                    symbols.RemoveAt(i + 1);
                }
            }
        }
        JsonObject byteLevel = new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true };
        JsonObject root = new()
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray(Special(0, "<s>"), Special(1, "</s>")),
            ["normalizer"] = null,
            ["pre_tokenizer"] = byteLevel,
            ["post_processor"] = new JsonObject
            {
                ["type"] = "TemplateProcessing",
                ["single"] = new JsonArray(
                    new JsonObject { ["SpecialToken"] = new JsonObject { ["id"] = "<s>", ["type_id"] = 0 } },
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "A", ["type_id"] = 0 } }),
                ["pair"] = new JsonArray(
                    new JsonObject { ["SpecialToken"] = new JsonObject { ["id"] = "<s>", ["type_id"] = 0 } },
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "A", ["type_id"] = 0 } },
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "B", ["type_id"] = 0 } }),
                ["special_tokens"] = new JsonObject
                {
                    ["<s>"] = new JsonObject { ["id"] = "<s>", ["ids"] = new JsonArray(0), ["tokens"] = new JsonArray("<s>") },
                },
            },
            ["decoder"] = byteLevel.DeepClone(),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = merges,
            },
        };
        return root.ToJsonString(new JsonSerializerOptions { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }) + "\n";
    }

    private static (string, string)? Best(List<(List<string> Symbols, int Count)> words)
    {
        Dictionary<(string, string), int> pairs = [];
        foreach ((List<string> symbols, int count) in words)
            for (int i = 0; i + 1 < symbols.Count; i++)
                pairs[(symbols[i], symbols[i + 1])] = pairs.GetValueOrDefault((symbols[i], symbols[i + 1])) + count;
        if (pairs.Count == 0) return null;
        return pairs.OrderByDescending(p => p.Value).ThenBy(p => p.Key.Item1 + "\0" + p.Key.Item2, StringComparer.Ordinal).First().Key;
    }

    private static JsonObject Special(int id, string text) => new()
    {
        ["id"] = id,
        ["content"] = text,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    /// <summary>GPT-2's printable stand-in for each byte.</summary>
    private static char[] ByteAlphabet()
    {
        char[] map = new char[256];
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            map[b] = printable ? (char)b : (char)next++;
        }
        return map;
    }

    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")]
    private static partial Regex Words();
}
