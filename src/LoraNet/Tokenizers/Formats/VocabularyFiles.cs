using System.Text;
using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads the older file pairs: vocab.json with merges.txt (GPT-2 and its kin), and vocab.txt (BERT).</summary>
internal static class VocabularyFiles
{
    public static TokenizerParts ReadGpt2(string vocabPath, string mergesPath, TokenizerConfig config)
    {
        Vocabulary vocabulary = ReadVocabulary(vocabPath);
        BpeMerges merges = ReadMerges(mergesPath, vocabulary);
        string kind = (config.TokenizerClass ?? config.ModelType ?? "").ToLowerInvariant();
        if (kind.StartsWith("clip", StringComparison.Ordinal))
            throw new LoraNetException($"{vocabPath}: CLIP's tokenizer can't be read from vocab.json and merges.txt.", "Save it as tokenizer.json with transformers.");
        bool qwen = kind.StartsWith("qwen", StringComparison.Ordinal);
        var model = new BpeModel(vocabulary, merges, new BpeOptions { ByteLevel = true, UnknownToken = null });
        List<AddedToken> added = [.. Named(config, vocabulary), .. config.Added];
        if (added.Count == 0 && vocabulary.IdOf("<|endoftext|>") is { } end) added.Add(new AddedToken("<|endoftext|>", end, Special: true));
        bool prefix = config.AddPrefixSpace ?? false;
        IPreTokenizer pre = qwen
            ? new SplitPreTokenizer(SplitPattern.FromRegex(SplitScanner.QwenPattern, vocabPath), SplitBehavior.Isolated, invert: false)
            : new ByteLevelPreTokenizer(prefix, useRegex: true, spell: false);
        return new TokenizerParts(model, new AddedTokens(added, null))
        {
            Normalizer = qwen ? UnicodeNormalizer.Nfc : null,
            PreTokenizer = pre,
            Post = Gpt2Layout(kind, vocabulary, config, prefix),
            Decoder = new ByteLevelDecoder(),
        };
    }

    public static TokenizerParts ReadBert(string path, TokenizerConfig config)
    {
        var entries = new List<KeyValuePair<string, int>>();
        foreach (string line in File.ReadLines(path, new UTF8Encoding(false))) entries.Add(new(line.TrimEnd('\r'), entries.Count));
        while (entries.Count > 0 && entries[^1].Key.Length == 0) entries.RemoveAt(entries.Count - 1);
        var vocabulary = new Vocabulary(entries, path);
        int unknown = Required(config.UnknownToken ?? "[UNK]");
        int cls = Required(config.ClsToken ?? "[CLS]");
        int sep = Required(config.SepToken ?? "[SEP]");
        var added = new List<AddedToken>();
        foreach (string name in (string[])[config.PadToken ?? "[PAD]", config.UnknownToken ?? "[UNK]", config.ClsToken ?? "[CLS]", config.SepToken ?? "[SEP]", config.MaskToken ?? "[MASK]"])
            if (vocabulary.IdOf(name) is { } id) added.Add(new AddedToken(name, id, Special: true));
        added.AddRange(config.Added);
        // Without a configuration the vocabulary itself tells: a cased one has capital letters.
        bool lower = config.DoLowerCase ?? vocabulary.IdOf("A") is null;
        return new TokenizerParts(new WordPieceModel(vocabulary, unknown, "##", 100), new AddedTokens(added, null))
        {
            Normalizer = new BertNormalizer(cleanText: true, handleChinese: true, stripAccents: lower, lowercase: lower),
            PreTokenizer = RunePreTokenizer.Bert,
            Post = TokenizerJsonOutput.Bert(cls, sep),
            Decoder = new WordPieceDecoder("##", cleanUp: true),
        };

        int Required(string token) => vocabulary.IdOf(token)
            ?? throw new LoraNetException($"{path}: the vocabulary has no {token}, so it is not BERT's.", "Use the vocab.txt of a BERT model, or a tokenizer.json.");
    }

    private static PostProcessing Gpt2Layout(string kind, Vocabulary vocabulary, TokenizerConfig config, bool prefix)
    {
        PostProcessing layout = PostProcessing.None;
        if (kind.StartsWith("roberta", StringComparison.Ordinal) || kind.StartsWith("bart", StringComparison.Ordinal) || kind.StartsWith("longformer", StringComparison.Ordinal))
        {
            int? cls = vocabulary.IdOf(config.ClsToken ?? "<s>");
            int? sep = vocabulary.IdOf(config.SepToken ?? "</s>");
            if (cls is { } c && sep is { } s) layout = TokenizerJsonOutput.Roberta(c, s) with { TrimOffsets = true };
        }
        else if (config.AddBos == true && vocabulary.IdOf(config.BosToken) is { } bos)
        {
            layout = PostProcessing.StartEnd(bos, null);
        }
        return layout with { AddPrefixSpace = prefix };
    }

    /// <summary>The tokens to which the configuration gives a role.</summary>
    public static IEnumerable<AddedToken> Named(TokenizerConfig config, Vocabulary vocabulary)
    {
        foreach (string? name in (string?[])[config.BosToken, config.EosToken, config.PadToken, config.UnknownToken, config.ClsToken, config.SepToken, config.MaskToken])
            if (vocabulary.IdOf(name) is { } id) yield return new AddedToken(name!, id, Special: true);
    }

    private static Vocabulary ReadVocabulary(string path)
    {
        using JsonDocument document = TokenizerJson.Parse(File.ReadAllBytes(path), path);
        var root = new JsonFields(document.RootElement, path, "the file");
        if (document.RootElement.ValueKind != JsonValueKind.Object) throw root.Error("is not a JSON object");
        return TokenizerJsonModels.ReadVocabulary(root, document.RootElement);
    }

    private static BpeMerges ReadMerges(string path, Vocabulary vocabulary)
    {
        var merges = new BpeMerges(1 << 16);
        int number = 0;
        int rank = 0;
        foreach (string line in File.ReadLines(path, new UTF8Encoding(false)))
        {
            number++;
            if (line.Length == 0 || (number == 1 && line.StartsWith("#version", StringComparison.Ordinal))) continue;
            int space = line.IndexOf(' ');
            if (space <= 0 || !vocabulary.TryGetId(line.AsSpan(0, space), out int left) || !vocabulary.TryGetId(line.AsSpan(space + 1), out int right)
                || !vocabulary.TryGetId(string.Concat(line.AsSpan(0, space), line.AsSpan(space + 1)), out int id))
            {
                throw new LoraNetException($"{path}: line {number} is not a pair of vocabulary entries that join into one.", "Check that merges.txt and vocab.json belong together.");
            }
            merges.Set(left, right, rank++, id);
        }
        return merges;
    }
}
