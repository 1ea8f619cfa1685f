using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads tokenizer.json, the format of Hugging Face's tokenizers library, version 1.0.</summary>
internal static class TokenizerJson
{
    public static TokenizerParts Read(ReadOnlyMemory<byte> json, string source)
    {
        try
        {
            return ReadParts(json, source);
        }
        catch (InvalidOperationException e)
        {
            // What System.Text.Json throws for a name or string that is not valid Unicode.
            throw new LoraNetException($"{source}: {e.Message}", "Check that the file is complete.", e);
        }
    }

    private static TokenizerParts ReadParts(ReadOnlyMemory<byte> json, string source)
    {
        using JsonDocument document = Parse(json, source);
        var root = new JsonFields(document.RootElement, source, "the file");
        if (document.RootElement.ValueKind != JsonValueKind.Object) throw root.Error("is not a JSON object");

        ITextNormalizer? normalizer = root.Object("normalizer") is { } n ? TokenizerJsonText.ReadNormalizer(n) : null;
        JsonFields model = root.Required("model");
        JsonFields? pre = root.Object("pre_tokenizer");
        bool byteLevel = pre is { } p && TokenizerJsonText.EndsInByteLevel(p) && TokenizerJsonModels.CanSpellBytes(model);
        ITokenModel tokenModel = TokenizerJsonModels.Read(model, byteLevel);
        List<AddedToken> added = ReadAddedTokens(root, tokenModel.Vocabulary);
        return new TokenizerParts(tokenModel, new AddedTokens(added, normalizer))
        {
            Normalizer = normalizer,
            PreTokenizer = pre is { } q ? TokenizerJsonText.ReadPreTokenizer(q, byteLevel) : null,
            Post = root.Object("post_processor") is { } post ? TokenizerJsonOutput.ReadPostProcessor(post) : PostProcessing.None,
            Decoder = root.Object("decoder") is { } decoder ? TokenizerJsonOutput.ReadDecoder(decoder) : null,
            Truncation = ReadTruncation(root),
        };
    }

    internal static JsonDocument Parse(ReadOnlyMemory<byte> json, string source)
    {
        ReadOnlyMemory<byte> text = json.Span.StartsWith("\xEF\xBB\xBF"u8) ? json[3..] : json;
        try
        {
            return JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 64 });
        }
        catch (JsonException e)
        {
            throw new LoraNetException($"{source}: not valid JSON (line {e.LineNumber + 1}, byte {e.BytePositionInLine}): {e.Message}", "Download the file again, or check what edited it.", e);
        }
    }

    private static List<AddedToken> ReadAddedTokens(JsonFields root, Vocabulary vocabulary)
    {
        var added = new List<AddedToken>();
        foreach (JsonFields t in root.Array("added_tokens"))
        {
            string content = t.RequiredString("content");
            int id = t.RequiredInt("id");
            if (id < 0 || id > Vocabulary.MaxId(vocabulary.Count)) throw t.Error($"has id {id}, which is out of range for a vocabulary of {vocabulary.Count} entries");
            bool special = t.Bool("special", false);
            added.Add(new AddedToken(content, id, special, t.Bool("normalized", !special), t.Bool("single_word", false), t.Bool("lstrip", false), t.Bool("rstrip", false)));
        }
        return added;
    }

    private static TokenizerTruncation? ReadTruncation(JsonFields root)
    {
        if (root.Object("truncation") is not { } t) return null;
        int length = t.RequiredInt("max_length");
        if (length < 0) throw t.Error($"has max_length {length}");
        return new TokenizerTruncation(length, string.Equals(t.String("direction"), "Left", StringComparison.OrdinalIgnoreCase));
    }
}
