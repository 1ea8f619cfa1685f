using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads normalizers and pre-tokenizers of a tokenizer.json.</summary>
internal static class TokenizerJsonText
{
    private const int MaxParts = 1000;

    public static ITextNormalizer ReadNormalizer(JsonFields f)
    {
        string type = f.RequiredString("type");
        switch (type)
        {
            case "Sequence":
                return new SequenceNormalizer(Parts(f, "normalizers").Select(ReadNormalizer).ToArray());
            case "NFC":
                return UnicodeNormalizer.Nfc;
            case "NFD":
                return UnicodeNormalizer.Nfd;
            case "NFKC":
                return UnicodeNormalizer.Nfkc;
            case "NFKD":
                return UnicodeNormalizer.Nfkd;
            case "Lowercase":
                return new LowercaseNormalizer();
            case "Strip":
                return new StripNormalizer(f.Bool("strip_left", true), f.Bool("strip_right", true));
            case "StripAccents":
                return new StripAccentsNormalizer();
            case "Prepend":
                return new PrependNormalizer(f.RequiredString("prepend"));
            case "Append":
                return new AppendNormalizer(f.RequiredString("append"));
            case "Nmt":
                return new NmtNormalizer();
            case "ByteLevel":
                return new ByteLevelNormalizer();
            case "BertNormalizer":
                bool lower = f.Bool("lowercase", true);
                return new BertNormalizer(f.Bool("clean_text", true), f.Bool("handle_chinese_chars", true), f.Bool("strip_accents", lower), lower);
            case "Replace":
                JsonFields pattern = f.Required("pattern");
                string content = f.RequiredString("content");
                return pattern.String("String") is { } literal ? ReplaceNormalizer.ForString(literal, content) : new ReplaceNormalizer(ReadPattern(pattern), content);
            case "Precompiled":
                return new PrecompiledNormalizer(ReadCharsMap(f), wholeGraphemes: true);
            default:
                throw f.Error($"has the type \"{type}\", which is not a known normalizer");
        }
    }

    public static IPreTokenizer ReadPreTokenizer(JsonFields f, bool bytesInModel)
    {
        string type = f.RequiredString("type");
        switch (type)
        {
            case "Sequence":
                JsonFields[] parts = Parts(f, "pretokenizers").ToArray();
                return new SequencePreTokenizer(parts.Select((p, i) => ReadPreTokenizer(p, bytesInModel && i == parts.Length - 1)).ToArray());
            case "ByteLevel":
                return new ByteLevelPreTokenizer(f.Bool("add_prefix_space", true), f.Bool("use_regex", true), spell: !bytesInModel);
            case "Split":
                return new SplitPreTokenizer(ReadPattern(f.Required("pattern")), ReadBehavior(f, SplitBehavior.Isolated), f.Bool("invert", false));
            case "Metaspace":
                return ReadMetaspace(f);
            case "BertPreTokenizer":
                return RunePreTokenizer.Bert;
            case "Whitespace":
                return new WhitespacePreTokenizer();
            case "WhitespaceSplit":
                return RunePreTokenizer.WhitespaceSplit;
            case "Punctuation":
                return new RunePreTokenizer(CharClass.IsPunctuation, ReadBehavior(f, SplitBehavior.Isolated));
            case "Digits":
                return new RunePreTokenizer(CharClass.IsNumeric, f.Bool("individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous);
            case "CharDelimiterSplit":
                int delimiter = SingleRune(f, "delimiter");
                return new RunePreTokenizer(c => c == delimiter, SplitBehavior.Removed);
            case "FixedLength":
                int length = f.Int("length") ?? 5;
                return length > 0 ? new FixedLengthPreTokenizer(length) : throw f.Error($"has length {length}");
            default:
                throw f.Error($"has the type \"{type}\", which is not a known pre-tokenizer");
        }
    }

    /// <summary>Whether the last step spells bytes, so that a byte-level model can do it instead.</summary>
    public static bool EndsInByteLevel(JsonFields f) => f.String("type") switch
    {
        "ByteLevel" => true,
        "Sequence" => Parts(f, "pretokenizers").ToArray() is [.., { } last] && EndsInByteLevel(last),
        _ => false,
    };

    public static SplitPattern ReadPattern(JsonFields pattern) =>
        pattern.String("String") is { } literal ? SplitPattern.Literal(literal)
        : pattern.String("Regex") is { } regex ? SplitPattern.FromRegex(regex, pattern.Source)
        : throw pattern.Error("names neither a \"String\" nor a \"Regex\"");

    public static PrependScheme ReadScheme(JsonFields f)
    {
        bool? prefix = f.Get("add_prefix_space") is null ? null : f.Bool("add_prefix_space", true);
        return f.String("prepend_scheme") switch
        {
            null => prefix == false ? PrependScheme.Never : PrependScheme.Always,
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            string other => throw f.Error($"has the prepend_scheme \"{other}\" (always, first or never)"),
        };
    }

    private static MetaspacePreTokenizer ReadMetaspace(JsonFields f)
    {
        int replacement = SingleRune(f, "replacement");
        if (replacement > 0xFFFF) throw f.Error("has a replacement beyond the basic plane, which is not supported");
        return new MetaspacePreTokenizer((char)replacement, ReadScheme(f), f.Bool("split", true));
    }

    private static int SingleRune(JsonFields f, string name)
    {
        string s = f.RequiredString(name);
        if (s.Length == 1 && !char.IsSurrogate(s[0])) return s[0];
        if (s.Length == 2 && char.IsSurrogatePair(s[0], s[1])) return char.ConvertToUtf32(s[0], s[1]);
        throw f.Error($"has a \"{name}\" that is not one character");
    }

    private static SplitBehavior ReadBehavior(JsonFields f, SplitBehavior fallback) => f.String("behavior") switch
    {
        null => fallback,
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        string other => throw f.Error($"has the behavior \"{other}\", which is not known"),
    };

    private static CharsMap ReadCharsMap(JsonFields f)
    {
        if (f.Get("precompiled_charsmap") is not { ValueKind: JsonValueKind.String } value) return CharsMap.Empty;
        return value.TryGetBytesFromBase64(out byte[]? bytes) ? CharsMap.Read(bytes, f.Source) : throw f.Error("has a precompiled_charsmap that is not base64");
    }

    private static IEnumerable<JsonFields> Parts(JsonFields f, string name)
    {
        if (f.Get(name) is not { ValueKind: JsonValueKind.Array } list) throw f.Error($"lacks the array \"{name}\"");
        if (list.GetArrayLength() > MaxParts) throw f.Error($"has more than {MaxParts} parts");
        return f.Array(name);
    }
}
