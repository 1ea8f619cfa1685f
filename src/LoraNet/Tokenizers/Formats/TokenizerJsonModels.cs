using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads the "model" of a tokenizer.json.</summary>
internal static class TokenizerJsonModels
{
    public static ITokenModel Read(JsonFields model, bool byteLevel) => TypeOf(model) switch
    {
        "BPE" => ReadBpe(model, byteLevel),
        "Unigram" => ReadUnigram(model),
        "WordPiece" => ReadWordPiece(model),
        "WordLevel" => ReadWordLevel(model),
        string other => throw model.Error($"has the type \"{other}\", which is not supported (BPE, Unigram, WordPiece and WordLevel are)"),
    };

    /// <summary>Whether the model can take over a byte-level pre-tokenizer's spelling.</summary>
    public static bool CanSpellBytes(JsonFields model) =>
        TypeOf(model) == "BPE" && string.IsNullOrEmpty(model.String("continuing_subword_prefix"))
        && string.IsNullOrEmpty(model.String("end_of_word_suffix")) && !model.Bool("byte_fallback", false);

    private static string TypeOf(JsonFields model)
    {
        if (model.String("type") is { } type) return type;
        // Files of the first versions name no type.
        if (model.Get("merges") is not null) return "BPE";
        if (model.Get("vocab") is { ValueKind: JsonValueKind.Array }) return "Unigram";
        return model.Get("continuing_subword_prefix") is not null || model.Get("max_input_chars_per_word") is not null ? "WordPiece" : "WordLevel";
    }

    private static Vocabulary ReadVocabulary(JsonFields model)
    {
        if (model.Get("vocab") is not { ValueKind: JsonValueKind.Object } vocab) throw model.Error("lacks the object \"vocab\"");
        return ReadVocabulary(model, vocab);
    }

    /// <summary>Reads an object from token to id.</summary>
    public static Vocabulary ReadVocabulary(JsonFields model, JsonElement vocab)
    {
        var entries = new List<KeyValuePair<string, int>>();
        foreach (JsonProperty p in vocab.EnumerateObject())
        {
            string token = NameOf(p, model);
            if (p.Value.ValueKind != JsonValueKind.Number || !p.Value.TryGetInt32(out int id))
                throw model.Error($"gives token {Vocabulary.Show(token)} an id that is not a whole number");
            entries.Add(new(token, id));
        }
        return new Vocabulary(entries, model.Source);
    }

    private static string NameOf(JsonProperty p, JsonFields model)
    {
        try
        {
            return p.Name;
        }
        catch (InvalidOperationException)
        {
            throw model.Error("has a token that is not valid Unicode");
        }
    }

    private static BpeModel ReadBpe(JsonFields model, bool byteLevel)
    {
        Vocabulary vocabulary = ReadVocabulary(model);
        var options = new BpeOptions
        {
            ByteLevel = byteLevel,
            ByteFallback = model.Bool("byte_fallback", false),
            IgnoreMerges = model.Bool("ignore_merges", false),
            FuseUnknown = model.Bool("fuse_unk", false),
            UnknownToken = model.String("unk_token"),
            ContinuingPrefix = model.String("continuing_subword_prefix"),
            EndSuffix = model.String("end_of_word_suffix"),
        };
        if (options.UnknownToken is { } unknown && vocabulary.IdOf(unknown) is null && unknown.Length > 0)
            throw model.Error($"names the unknown token {Vocabulary.Show(unknown)}, which is not in its vocabulary");
        if (model.Get("merges") is not { ValueKind: JsonValueKind.Array } list) throw model.Error("lacks the array \"merges\"");
        var merges = new BpeMerges(list.GetArrayLength());
        int prefix = options.ContinuingPrefix?.Length ?? 0;
        int rank = 0;
        char[] joined = new char[256];
        foreach (JsonElement e in list.EnumerateArray())
        {
            (string left, string right) = ReadMerge(e, model, rank);
            if (!vocabulary.TryGetId(left, out int a)) throw Missing(left);
            if (!vocabulary.TryGetId(right, out int b)) throw Missing(right);
            ReadOnlySpan<char> tail = right.AsSpan(Math.Min(prefix, right.Length));
            int length = left.Length + tail.Length;
            if (joined.Length < length) joined = new char[length * 2];
            left.CopyTo(joined);
            tail.CopyTo(joined.AsSpan(left.Length));
            if (!vocabulary.TryGetId(joined.AsSpan(0, length), out int id)) throw Missing(new string(joined, 0, length));
            merges.Set(a, b, rank++, id);
        }
        return new BpeModel(vocabulary, merges, options);

        LoraNetException Missing(string token) => model.Error($"has merge {rank}, for which {Vocabulary.Show(token)} is missing in the vocabulary");
    }

    private static (string Left, string Right) ReadMerge(JsonElement e, JsonFields model, int rank)
    {
        if (e.ValueKind == JsonValueKind.Array && e.GetArrayLength() == 2 && e[0].ValueKind == JsonValueKind.String && e[1].ValueKind == JsonValueKind.String)
            return (model.Text(e[0]), model.Text(e[1]));
        if (e.ValueKind == JsonValueKind.String)
        {
            string s = model.Text(e);
            int space = s.IndexOf(' ');
            if (space >= 0 && s.IndexOf(' ', space + 1) < 0) return (s[..space], s[(space + 1)..]);
        }
        throw model.Error($"has merge {rank}, which is not a pair of tokens");
    }

    private static UnigramModel ReadUnigram(JsonFields model)
    {
        if (model.Get("vocab") is not { ValueKind: JsonValueKind.Array } vocab) throw model.Error("lacks the array \"vocab\"");
        int count = vocab.GetArrayLength();
        var entries = new List<KeyValuePair<string, int>>(count);
        double[] scores = new double[count];
        foreach (JsonElement e in vocab.EnumerateArray())
        {
            if (e.ValueKind != JsonValueKind.Array || e.GetArrayLength() != 2 || e[0].ValueKind != JsonValueKind.String
                || e[1].ValueKind != JsonValueKind.Number || !e[1].TryGetDouble(out double score) || !double.IsFinite(score))
            {
                throw model.Error($"has vocabulary entry {entries.Count}, which is not a token with a score");
            }
            scores[entries.Count] = score;
            entries.Add(new(model.Text(e[0]), entries.Count));
        }
        int unknown = model.Int("unk_id") ?? -1;
        if (unknown >= count) throw model.Error($"has unk_id {unknown}, but only {count} entries");
        return new UnigramModel(new Vocabulary(entries, model.Source), scores, unknown, model.Bool("byte_fallback", false));
    }

    private static WordPieceModel ReadWordPiece(JsonFields model)
    {
        Vocabulary vocabulary = ReadVocabulary(model);
        string unknown = model.String("unk_token") ?? "[UNK]";
        int id = vocabulary.IdOf(unknown) ?? throw model.Error($"names the unknown token {Vocabulary.Show(unknown)}, which is not in its vocabulary");
        return new WordPieceModel(vocabulary, id, model.String("continuing_subword_prefix") ?? "##", model.Int("max_input_chars_per_word") ?? 100);
    }

    private static WordLevelModel ReadWordLevel(JsonFields model)
    {
        Vocabulary vocabulary = ReadVocabulary(model);
        return new WordLevelModel(vocabulary, vocabulary.IdOf(model.String("unk_token")) ?? -1);
    }
}
