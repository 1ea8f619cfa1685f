using System.Buffers.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// Reads tiktoken vocabularies: a line for each token, its bytes in base64, a space and its rank, which is both its id and its merge priority.
/// The split pattern and the special tokens are not in the file; the families that publish such files are known by their size.
/// </summary>
internal static class TiktokenFile
{
    private const int MaxTokenBytes = 512;

    // OpenAI's o200k_base.
    private const string O200kPattern =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        + @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>What a family adds to its file.</summary>
    internal sealed record Family(string Pattern, IReadOnlyList<AddedToken> Special, string? Bos, string? Eos, bool Nfc = false);

    /// <summary>Whether a file looks like one: its first line is base64, a space and a number.</summary>
    public static bool LooksLike(ReadOnlySpan<byte> data)
    {
        int end = data.IndexOf((byte)'\n');
        ReadOnlySpan<byte> line = (end < 0 ? data : data[..end]).TrimEnd((byte)'\r');
        int space = line.IndexOf((byte)' ');
        return space > 0 && line.Length < 4096 && Base64.IsValid(line[..space]) && int.TryParse(line[(space + 1)..], out _);
    }

    /// <summary>The tokens in the byte alphabet, with their ranks.</summary>
    public static Dictionary<string, int> ReadRanks(ReadOnlySpan<byte> data, string source)
    {
        var ranks = new Dictionary<string, int>(StringComparer.Ordinal);
        int number = 0;
        Span<byte> bytes = stackalloc byte[MaxTokenBytes + 4];
        Span<char> spelled = stackalloc char[MaxTokenBytes + 4];
        while (data.Length > 0)
        {
            int end = data.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = (end < 0 ? data : data[..end]).TrimEnd((byte)'\r');
            data = end < 0 ? [] : data[(end + 1)..];
            number++;
            if (line.Length == 0) continue;
            int space = line.IndexOf((byte)' ');
            if (space < 0 || space > MaxTokenBytes * 4 / 3 || Base64.DecodeFromUtf8(line[..space], bytes, out _, out int count) != System.Buffers.OperationStatus.Done
                || !int.TryParse(line[(space + 1)..], out int rank) || rank < 0)
            {
                throw new LoraNetException($"{source}: line {number} is not a token in base64 with its rank.", "Check that the file is a complete tiktoken vocabulary.");
            }
            for (int i = 0; i < count; i++) spelled[i] = ByteAlphabet.CharOf(bytes[i]);
            ranks[new string(spelled[..count])] = rank;
        }
        if (ranks.Count == 0) throw new LoraNetException($"{source}: the tiktoken vocabulary is empty.", "Download the file again.");
        return ranks;
    }

    public static TokenizerParts Build(IReadOnlyDictionary<string, int> ranks, Family family, string source, IReadOnlyList<AddedToken> extra)
    {
        var vocabulary = new Vocabulary([.. ranks], source);
        BpeMerges merges = ScoredMerges.Build(vocabulary, ranks, phantoms: null);
        var model = new BpeModel(vocabulary, merges, new BpeOptions { ByteLevel = true, IgnoreMerges = true });
        SplitPattern pattern = SplitPattern.FromRegex(family.Pattern, source);
        return new TokenizerParts(model, new AddedTokens([.. family.Special, .. extra], null))
        {
            Normalizer = family.Nfc ? UnicodeNormalizer.Nfc : null,
            PreTokenizer = new SplitPreTokenizer(pattern, SplitBehavior.Isolated, invert: false),
            Decoder = new ByteLevelDecoder(),
        };
    }

    /// <summary>The family that a vocabulary of this size belongs to, or null.</summary>
    public static Family? FamilyOf(int count) => count switch
    {
        50256 or 50257 => new Family(SplitScanner.Gpt2Pattern, [Special("<|endoftext|>", 50256)], null, "<|endoftext|>"),
        50280 => new Family(SplitScanner.Gpt2Pattern, [Special("<|endoftext|>", 50256), Special("<|fim_prefix|>", 50281), Special("<|fim_middle|>", 50282), Special("<|fim_suffix|>", 50283)], null, "<|endoftext|>"),
        100256 => new Family(SplitScanner.Llama3Pattern,
            [Special("<|endoftext|>", 100257), Special("<|fim_prefix|>", 100258), Special("<|fim_middle|>", 100259), Special("<|fim_suffix|>", 100260), Special("<|endofprompt|>", 100276)], null, "<|endoftext|>"),
        199998 => new Family(O200kPattern, [Special("<|endoftext|>", 199999), Special("<|endofprompt|>", 200018)], null, "<|endoftext|>"),
        128000 => new Family(SplitScanner.Llama3Pattern, Llama3Special(), "<|begin_of_text|>", "<|end_of_text|>"),
        151643 => new Family(SplitScanner.QwenPattern, QwenSpecial(), null, "<|endoftext|>", Nfc: true),
        _ => null,
    };

    private static AddedToken Special(string content, int id) => new(content, id, Special: true);

    private static List<AddedToken> Llama3Special()
    {
        // 256 ids behind the vocabulary: a few with names (Llama 3.1's are a superset of 3.0's), the rest reserved.
        var names = new Dictionary<int, string>
        {
            [0] = "<|begin_of_text|>",
            [1] = "<|end_of_text|>",
            [4] = "<|finetune_right_pad_id|>",
            [6] = "<|start_header_id|>",
            [7] = "<|end_header_id|>",
            [8] = "<|eom_id|>",
            [9] = "<|eot_id|>",
            [10] = "<|python_tag|>",
        };
        var tokens = new List<AddedToken>();
        int reserved = 0;
        for (int i = 0; i < 256; i++) tokens.Add(Special(names.TryGetValue(i, out string? name) ? name : $"<|reserved_special_token_{reserved++}|>", 128000 + i));
        return tokens;
    }

    private static List<AddedToken> QwenSpecial()
    {
        var tokens = new List<AddedToken> { Special("<|endoftext|>", 151643), Special("<|im_start|>", 151644), Special("<|im_end|>", 151645) };
        for (int i = 0; i < 205; i++) tokens.Add(Special($"<|extra_{i}|>", 151646 + i));
        return tokens;
    }
}
