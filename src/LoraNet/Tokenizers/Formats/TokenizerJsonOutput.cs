using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>Reads post-processors and decoders of a tokenizer.json.</summary>
internal static class TokenizerJsonOutput
{
    public static PostProcessing ReadPostProcessor(JsonFields f)
    {
        string type = f.RequiredString("type");
        switch (type)
        {
            case "ByteLevel":
                return PostProcessing.None with { TrimOffsets = f.Bool("trim_offsets", true), AddPrefixSpace = f.Bool("add_prefix_space", true) };
            case "TemplateProcessing":
                return ReadTemplate(f);
            case "BertProcessing":
                return Bert(ReadTokenPair(f, "cls"), ReadTokenPair(f, "sep"));
            case "RobertaProcessing":
                return Roberta(ReadTokenPair(f, "cls"), ReadTokenPair(f, "sep")) with { TrimOffsets = f.Bool("trim_offsets", true), AddPrefixSpace = f.Bool("add_prefix_space", true) };
            case "Sequence":
                return ReadSequence(f);
            default:
                throw f.Error($"has the type \"{type}\", which is not a known post-processor");
        }
    }

    /// <summary>BERT's layout: [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with the second segment marked 1.</summary>
    public static PostProcessing Bert(int cls, int sep)
    {
        var start = new TemplatePart([cls], -1, 0);
        var end = new TemplatePart([sep], -1, 0);
        return new PostProcessing([start, new(null, 0, 0), end], [start, new(null, 0, 0), end, new(null, 1, 1), end with { TypeId = 1 }]);
    }

    /// <summary>RoBERTa's layout: &lt;s&gt; A &lt;/s&gt;, and &lt;s&gt; A &lt;/s&gt; &lt;/s&gt; B &lt;/s&gt;, all of segment 0.</summary>
    public static PostProcessing Roberta(int cls, int sep)
    {
        var start = new TemplatePart([cls], -1, 0);
        var end = new TemplatePart([sep], -1, 0);
        return new PostProcessing([start, new(null, 0, 0), end], [start, new(null, 0, 0), end, end, new(null, 1, 0), end]);
    }

    private static PostProcessing ReadSequence(JsonFields f)
    {
        PostProcessing result = PostProcessing.None;
        foreach (JsonFields part in f.Array("processors"))
        {
            // One of them lays out, others may trim ranges.
            PostProcessing p = ReadPostProcessor(part);
            PostProcessing layout = p.AddedCount(false) + p.AddedCount(true) > 0 ? p : result;
            result = layout with
            {
                TrimOffsets = p.TrimOffsets || result.TrimOffsets,
                AddPrefixSpace = p.TrimOffsets ? p.AddPrefixSpace : result.AddPrefixSpace,
            };
        }
        return result;
    }

    public static ITokenDecoder ReadDecoder(JsonFields f)
    {
        string type = f.RequiredString("type");
        switch (type)
        {
            case "Sequence":
                return new SequenceDecoder(f.Array("decoders").Select(ReadDecoder).ToArray());
            case "ByteLevel":
                return new ByteLevelDecoder();
            case "ByteFallback":
                return new ByteFallbackDecoder();
            case "Fuse":
                return new FuseDecoder();
            case "Replace":
                return new ReplaceDecoder(TokenizerJsonText.ReadPattern(f.Required("pattern")), f.RequiredString("content"));
            case "Strip":
                int start = f.Int("start") ?? 0;
                int stop = f.Int("stop") ?? 0;
                string content = f.RequiredString("content");
                if (start < 0 || stop < 0 || content.Length == 0) throw f.Error("is not a valid Strip decoder");
                return new StripDecoder(content, start, stop);
            case "WordPiece":
                return new WordPieceDecoder(f.String("prefix") ?? "##", f.Bool("cleanup", true));
            case "Metaspace":
                string replacement = f.String("replacement") ?? "\u2581";
                return replacement.Length > 0 ? new MetaspaceDecoder(replacement, TokenizerJsonText.ReadScheme(f)) : throw f.Error("has an empty replacement");
            case "BPEDecoder":
                return new BpeDecoder(f.String("suffix") ?? "</w>");
            case "CTC":
                return new CtcDecoder(f.String("pad_token") ?? "<pad>", f.String("word_delimiter_token") ?? "|", f.Bool("cleanup", true));
            default:
                throw f.Error($"has the type \"{type}\", which is not a known decoder");
        }
    }

    private static int ReadTokenPair(JsonFields f, string name)
    {
        if (f.Get(name) is { ValueKind: JsonValueKind.Array } pair && pair.GetArrayLength() == 2 && pair[1].ValueKind == JsonValueKind.Number && pair[1].TryGetInt32(out int id) && id >= 0)
            return id;
        throw f.Error($"lacks the pair \"{name}\" of a token and its id");
    }

    private static PostProcessing ReadTemplate(JsonFields f)
    {
        var special = new Dictionary<string, int[]>(StringComparer.Ordinal);
        if (f.Object("special_tokens") is { } map)
        {
            foreach (JsonProperty p in map.Element.EnumerateObject())
            {
                var token = new JsonFields(p.Value, f.Source, $"{map.Path}.{p.Name}");
                var ids = new List<int>();
                foreach (JsonFields id in token.Array("ids"))
                {
                    if (id.Element.ValueKind != JsonValueKind.Number || !id.Element.TryGetInt32(out int n) || n < 0) throw id.Error("is not a token id");
                    ids.Add(n);
                }
                special[p.Name] = ids.ToArray();
            }
        }
        IReadOnlyList<TemplatePart> pair = f.Get("pair") is null ? PostProcessing.None.Pair : ReadParts(f, "pair", special);
        return new PostProcessing(ReadParts(f, "single", special), pair);
    }

    private static List<TemplatePart> ReadParts(JsonFields f, string name, Dictionary<string, int[]> special)
    {
        var parts = new List<TemplatePart>();
        foreach (JsonFields part in f.Array(name))
        {
            if (part.Object("SpecialToken") is { } token)
            {
                string id = token.RequiredString("id");
                if (!special.TryGetValue(id, out int[]? ids)) throw token.Error($"names {Vocabulary.Show(id)}, which is not among the template's special_tokens");
                parts.Add(new TemplatePart(ids, -1, token.Int("type_id") ?? 0));
            }
            else if (part.Object("Sequence") is { } sequence)
            {
                int which = sequence.RequiredString("id") switch
                {
                    "A" => 0,
                    "B" when name == "pair" => 1,
                    string other => throw sequence.Error($"names the sequence \"{other}\""),
                };
                parts.Add(new TemplatePart(null, which, sequence.Int("type_id") ?? 0));
            }
            else
            {
                throw part.Error("is neither a SpecialToken nor a Sequence");
            }
        }
        return parts;
    }
}
