namespace LoraNet.Tokenizers;

/// <summary>Finds out what kind of tokenizer a path holds and reads it.</summary>
internal static class TokenizerLoader
{
    public static Tokenizer Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            if (Directory.Exists(path)) return LoadDirectory(path);
            if (File.Exists(path)) return LoadFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LoraNetException($"{path}: the tokenizer can't be read: {e.Message}", null, e);
        }
        throw new LoraNetException($"{path}: no such file or directory.", "Name a tokenizer file or a model directory.");
    }

    /// <summary>Reads a tokenizer.json by itself, without the files beside it.</summary>
    public static Tokenizer FromJson(string path) => Build(TokenizerJson.Read(ReadFile(path), path), TokenizerConfig.Empty, [path], template: false);

    /// <summary>Reads the content of a tokenizer.json; the source is named in errors.</summary>
    public static Tokenizer FromJson(byte[] json, string source) => Build(TokenizerJson.Read(json, source), TokenizerConfig.Empty, [], template: false);

    /// <summary>Loads a tiktoken vocabulary whose family is not known by its size.</summary>
    public static Tokenizer LoadTiktoken(string path, string pattern, IReadOnlyDictionary<string, int> specialTokens)
    {
        byte[] data = ReadFile(path);
        var family = new TiktokenFile.Family(pattern, specialTokens.Select(t => new AddedToken(t.Key, t.Value, Special: true)).ToArray(), null, null);
        return BuildTiktoken(data, path, TokenizerConfig.Read(DirectoryOf(path)), family);
    }

    private static Tokenizer LoadDirectory(string directory)
    {
        foreach (string name in (string[])["tokenizer.json", "tokenizer.model"])
        {
            string path = Path.Combine(directory, name);
            if (File.Exists(path)) return LoadFile(path);
        }
        if (First("tokenizer.model*", "*.tiktoken") is { } model) return LoadFile(model);
        string vocab = Path.Combine(directory, "vocab.json");
        if (File.Exists(vocab) && File.Exists(Path.Combine(directory, "merges.txt"))) return LoadFile(vocab);
        if (First("vocab.txt", "*.model", "tok*.bin") is { } last) return LoadFile(last);
        throw new LoraNetException($"{directory}: no tokenizer found.",
            "Put the model's tokenizer.json there (or tokenizer.model, *.tiktoken, vocab.json with merges.txt, vocab.txt, or llama2.c's tokenizer .bin).");

        string? First(params ReadOnlySpan<string> patterns)
        {
            foreach (string pattern in patterns)
            {
                if (Directory.EnumerateFiles(directory, pattern).Order(StringComparer.Ordinal).FirstOrDefault() is { } found) return found;
            }
            return null;
        }
    }

    private static Tokenizer LoadFile(string path)
    {
        TokenizerConfig config = TokenizerConfig.Read(DirectoryOf(path));
        string name = Path.GetFileName(path);
        string beside(string other) => Path.Combine(DirectoryOf(path), other);
        if (name.Equals("vocab.txt", StringComparison.OrdinalIgnoreCase)) return Build(VocabularyFiles.ReadBert(path, config), config, [path], template: false);
        if (name is "vocab.json" or "encoder.json" or "merges.txt" or "vocab.bpe")
        {
            string vocab = name is "merges.txt" ? beside("vocab.json") : name is "vocab.bpe" ? beside("encoder.json") : path;
            string merges = name is "vocab.json" ? beside("merges.txt") : name is "encoder.json" ? beside("vocab.bpe") : path;
            foreach (string needed in (string[])[vocab, merges])
                if (!File.Exists(needed)) throw new LoraNetException($"{path}: {Path.GetFileName(needed)} is missing beside it.", "A tokenizer of this kind needs both files.");
            return Build(VocabularyFiles.ReadGpt2(vocab, merges, config), config, [vocab, merges], template: false);
        }
        byte[] data = ReadFile(path);
        if (name.EndsWith(".json", StringComparison.OrdinalIgnoreCase)) return Build(TokenizerJson.Read(data, path), config, [path], template: true);
        if (TiktokenFile.LooksLike(data)) return BuildTiktoken(data, path, config, null);
        if (name.EndsWith(".bin", StringComparison.OrdinalIgnoreCase)) return Build(Llama2cFile.Read(data, path, config.Added), config, [path], template: false, 1, 2);
        if (data.AsSpan().TrimStart(" \t\r\n"u8).StartsWith("{"u8)) return Build(TokenizerJson.Read(data, path), config, [path], template: true);
        return BuildSentencePiece(SentencePieceFile.Read(data, path), path, config);
    }

    private static Tokenizer BuildSentencePiece(SentencePieceFile file, string path, TokenizerConfig config)
    {
        TokenizerParts parts = SentencePieceTokenizer.Build(file, path, prefixEachPart: config.Legacy, config.Added);
        int? bos = InRange(file.BosId);
        int? eos = InRange(file.EosId);
        SpecialTokens special = Resolve(parts, config, bos, eos, InRange(file.PadId));
        // Models with a start token get it in front, as Llama's; those without end with the end token, as T5's.
        bool addBos = config.AddBos ?? bos is not null;
        bool addEos = config.AddEos ?? bos is null;
        parts = parts with { Post = PostProcessing.StartEnd(addBos ? special.Bos : null, addEos && special.EndIds.Count > 0 ? special.EndIds[0] : null) };
        return new Tokenizer(parts, special, [path, .. config.Files]);

        int? InRange(int id) => id >= 0 && id < file.Pieces.Count ? id : null;
    }

    private static Tokenizer BuildTiktoken(byte[] data, string path, TokenizerConfig config, TiktokenFile.Family? family)
    {
        Dictionary<string, int> ranks = TiktokenFile.ReadRanks(data, path);
        family ??= TiktokenFile.FamilyOf(ranks.Count)
            ?? throw new LoraNetException($"{path}: a tiktoken vocabulary of {ranks.Count} entries, which is no known model's; the file itself does not hold its split pattern.",
                "Use the model's tokenizer.json, or name the pattern with Tokenizer.LoadTiktoken.");
        TokenizerParts parts = TiktokenFile.Build(ranks, family, path, config.Added);
        SpecialTokens special = Resolve(parts, config, Id(family.Bos), Id(family.Eos), null);
        // Resolve guesses a start token by its name; of these families only Llama 3 has one.
        if (family.Bos is null && config.BosToken is null && config.BosId is null) special = special with { Bos = null };
        if (family.Bos is not null && config.AddBos != false) parts = parts with { Post = PostProcessing.StartEnd(special.Bos, null) };
        return new Tokenizer(parts, special, [path, .. config.Files]);

        int? Id(string? token) => token is null ? null : parts.Added.IdOf(token);
    }

    private static Tokenizer Build(TokenizerParts parts, TokenizerConfig config, IReadOnlyList<string> files, bool template, int? bos = null, int? eos = null)
    {
        SpecialTokens special = Resolve(parts, config, bos, eos, null);
        // Llama's tokenizers build their template from the configuration, whatever tokenizer.json says.
        bool rebuilds = template && config.TokenizerClass is "LlamaTokenizer" or "LlamaTokenizerFast" or "CodeLlamaTokenizer" or "CodeLlamaTokenizerFast" or "GemmaTokenizer" or "GemmaTokenizerFast";
        if (rebuilds && (config.AddBos is not null || config.AddEos is not null))
        {
            PostProcessing post = PostProcessing.StartEnd(config.AddBos ?? true ? special.Bos : null, config.AddEos == true && special.EndIds.Count > 0 ? special.EndIds[0] : null);
            parts = parts with { Post = post with { TrimOffsets = parts.Post.TrimOffsets, AddPrefixSpace = parts.Post.AddPrefixSpace } };
        }
        return new Tokenizer(parts, special, [.. files, .. config.Files]);
    }

    private static SpecialTokens Resolve(TokenizerParts parts, TokenizerConfig config, int? bos, int? eos, int? pad)
    {
        int size = Math.Max(parts.Model.Vocabulary.Size, parts.Added.MaxId + 1);
        return config.Resolve(t => parts.Added.IdOf(t) ?? parts.Model.Vocabulary.IdOf(t), size, bos, eos, pad);
    }

    private static byte[] ReadFile(string path)
    {
        long length = new FileInfo(path).Length;
        // The largest published vocabularies are some 35 MB.
        if (length > 512L << 20) throw new LoraNetException($"{path}: {length >> 20} MiB is too large for a tokenizer file.", "Name the tokenizer file, not the weights.");
        return File.ReadAllBytes(path);
    }

    private static string DirectoryOf(string path) => Path.GetDirectoryName(Path.GetFullPath(path)) ?? ".";
}
