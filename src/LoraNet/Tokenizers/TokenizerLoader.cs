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

    private static Tokenizer LoadDirectory(string directory)
    {
        string json = Path.Combine(directory, "tokenizer.json");
        if (File.Exists(json)) return LoadJson(json);
        throw new LoraNetException($"{directory}: no tokenizer found.", "Put the model's tokenizer.json into this directory.");
    }

    private static Tokenizer LoadFile(string path) => LoadJson(path);

    private static Tokenizer LoadJson(string path)
    {
        TokenizerConfig config = TokenizerConfig.Read(DirectoryOf(path));
        return Build(TokenizerJson.Read(path), config, [path]);
    }

    private static Tokenizer Build(TokenizerParts parts, TokenizerConfig config, IReadOnlyList<string> files)
    {
        int size = Math.Max(parts.Model.Vocabulary.Size, parts.Added.MaxId + 1);
        SpecialTokens special = config.Resolve(t => parts.Added.IdOf(t) ?? parts.Model.Vocabulary.IdOf(t), size);
        // Llama's tokenizers build their template from the configuration, whatever the file says.
        bool rebuilds = config.TokenizerClass is "LlamaTokenizer" or "LlamaTokenizerFast" or "CodeLlamaTokenizer" or "CodeLlamaTokenizerFast" or "GemmaTokenizer" or "GemmaTokenizerFast";
        if (rebuilds && (config.AddBos is not null || config.AddEos is not null))
        {
            PostProcessing post = PostProcessing.StartEnd(config.AddBos ?? true ? special.Bos : null, config.AddEos == true && special.EndIds.Count > 0 ? special.EndIds[0] : null);
            parts = parts with { Post = post with { TrimOffsets = parts.Post.TrimOffsets, AddPrefixSpace = parts.Post.AddPrefixSpace } };
        }
        return new Tokenizer(parts, special, [.. files, .. config.Files]);
    }

    private static string DirectoryOf(string path) => Path.GetDirectoryName(Path.GetFullPath(path)) ?? ".";
}
