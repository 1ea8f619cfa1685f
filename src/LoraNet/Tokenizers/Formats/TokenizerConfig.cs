using System.Text.Json;

namespace LoraNet.Tokenizers;

/// <summary>
/// What the files beside a tokenizer say about it: tokenizer_config.json, special_tokens_map.json, added_tokens.json,
/// generation_config.json, config.json and chat_template.jinja. All are optional.
/// </summary>
internal sealed class TokenizerConfig
{
    private const int MaxId = 1 << 24;
    private readonly List<string> _files = [];

    private TokenizerConfig()
    {
    }

    /// <summary>No files, no statements.</summary>
    public static TokenizerConfig Empty => new();

    public IReadOnlyList<string> Files => _files;

    public string? TokenizerClass { get; private set; }

    public string? ModelType { get; private set; }

    public bool? AddBos { get; private set; }

    public bool? AddEos { get; private set; }

    public bool? AddPrefixSpace { get; private set; }

    public bool Legacy { get; private set; } = true;

    public bool? DoLowerCase { get; private set; }

    public string? BosToken { get; private set; }

    public string? EosToken { get; private set; }

    public string? PadToken { get; private set; }

    public string? UnknownToken { get; private set; }

    public string? ClsToken { get; private set; }

    public string? SepToken { get; private set; }

    public string? MaskToken { get; private set; }

    public int? MaxLength { get; private set; }

    public int? BosId { get; private set; }

    public int? PadId { get; private set; }

    public List<int> EosIds { get; } = [];

    public Dictionary<string, string> ChatTemplates { get; } = new(StringComparer.Ordinal);

    /// <summary>Tokens that the configuration adds to the vocabulary; the content may be in the vocabulary already.</summary>
    public List<AddedToken> Added { get; } = [];

    public static TokenizerConfig Read(string directory)
    {
        var config = new TokenizerConfig();
        // The later file wins where both speak: tokenizer_config.json is what transformers believes.
        config.ReadFile(directory, "special_tokens_map.json", copied: true, config.ReadTokens);
        config.ReadFile(directory, "added_tokens.json", copied: true, config.ReadAddedMap);
        config.ReadFile(directory, "config.json", copied: false, f =>
        {
            config.ModelType = f.String("model_type");
            config.ReadIds(f);
        });
        config.ReadFile(directory, "generation_config.json", copied: false, config.ReadIds);
        config.ReadFile(directory, "tokenizer_config.json", copied: true, config.ReadMain);
        string jinja = Path.Combine(directory, "chat_template.jinja");
        if (File.Exists(jinja))
        {
            config.ChatTemplates["default"] = File.ReadAllText(jinja);
            config._files.Add(jinja);
        }
        return config;
    }

    private void ReadFile(string directory, string name, bool copied, Action<JsonFields> read)
    {
        string path = Path.Combine(directory, name);
        if (!File.Exists(path)) return;
        using JsonDocument document = TokenizerJson.Parse(File.ReadAllBytes(path), path);
        var fields = new JsonFields(document.RootElement, path, "the file");
        if (document.RootElement.ValueKind != JsonValueKind.Object) throw fields.Error("is not a JSON object");
        try
        {
            read(fields);
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{path}: {e.Message}", "Check that the file is complete.", e);
        }
        if (copied) _files.Add(path);
    }

    private void ReadMain(JsonFields f)
    {
        ReadTokens(f);
        TokenizerClass = f.String("tokenizer_class");
        AddBos = OptionalBool(f, "add_bos_token");
        AddEos = OptionalBool(f, "add_eos_token");
        AddPrefixSpace = OptionalBool(f, "add_prefix_space");
        Legacy = OptionalBool(f, "legacy") ?? true;
        DoLowerCase = OptionalBool(f, "do_lower_case");
        // Absent limits are written as 1e30.
        if (f.Get("model_max_length") is { ValueKind: JsonValueKind.Number } length && length.TryGetDouble(out double d) && d is >= 1 and <= int.MaxValue) MaxLength = (int)d;
        ReadTemplates(f);
        if (f.Object("added_tokens_decoder") is not { } added) return;
        foreach (JsonProperty p in added.Element.EnumerateObject())
        {
            var t = new JsonFields(p.Value, f.Source, $"added_tokens_decoder[{p.Name}]");
            if (!int.TryParse(p.Name, out int id) || id is < 0 or > MaxId) throw t.Error("is not named by a token id");
            bool special = t.Bool("special", false);
            Added.RemoveAll(a => a.Id == id);
            Added.Add(new AddedToken(t.RequiredString("content"), id, special, t.Bool("normalized", !special), t.Bool("single_word", false), t.Bool("lstrip", false), t.Bool("rstrip", false)));
        }
    }

    private void ReadTemplates(JsonFields f)
    {
        if (f.Get("chat_template") is not { } template) return;
        if (template.ValueKind == JsonValueKind.String)
        {
            ChatTemplates["default"] = f.Text(template);
            return;
        }
        foreach (JsonFields named in f.Array("chat_template")) ChatTemplates[named.RequiredString("name")] = named.RequiredString("template");
    }

    private void ReadTokens(JsonFields f)
    {
        BosToken = Token(f, "bos_token") ?? BosToken;
        EosToken = Token(f, "eos_token") ?? EosToken;
        PadToken = Token(f, "pad_token") ?? PadToken;
        UnknownToken = Token(f, "unk_token") ?? UnknownToken;
        ClsToken = Token(f, "cls_token") ?? ClsToken;
        SepToken = Token(f, "sep_token") ?? SepToken;
        MaskToken = Token(f, "mask_token") ?? MaskToken;
    }

    private static string? Token(JsonFields f, string name) => f.Get(name) switch
    {
        { ValueKind: JsonValueKind.String } s => f.Text(s),
        { ValueKind: JsonValueKind.Object } => f.Object(name)!.Value.String("content"),
        _ => null,
    };

    private static bool? OptionalBool(JsonFields f, string name) => f.Get(name) switch
    {
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        _ => null,
    };

    private void ReadAddedMap(JsonFields f)
    {
        foreach (JsonProperty p in f.Element.EnumerateObject())
        {
            if (p.Value.ValueKind != JsonValueKind.Number || !p.Value.TryGetInt32(out int id) || id is < 0 or > MaxId) throw f.Error($"gives {Vocabulary.Show(p.Name)} no valid id");
            Added.Add(new AddedToken(p.Name, id));
        }
    }

    private void ReadIds(JsonFields f)
    {
        if (f.Get("bos_token_id") is { ValueKind: JsonValueKind.Number } bos && bos.TryGetInt32(out int b) && b >= 0) BosId = b;
        if (f.Get("pad_token_id") is { ValueKind: JsonValueKind.Number } pad && pad.TryGetInt32(out int p) && p >= 0) PadId = p;
        if (f.Get("eos_token_id") is not { } eos) return;
        if (eos.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement e in eos.EnumerateArray()) AddEosId(e);
        }
        else
        {
            AddEosId(eos);
        }
    }

    private void AddEosId(JsonElement e)
    {
        if (e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int id) && id >= 0 && !EosIds.Contains(id)) EosIds.Add(id);
    }

    /// <summary>Resolves the roles against a vocabulary: names from the tokenizer's files first, then ids of the model's, then usual names.</summary>
    public SpecialTokens Resolve(Func<string, int?> idOf, int vocabularySize, int? formatBos = null, int? formatEos = null, int? formatPad = null)
    {
        int? bos = Find(BosToken) ?? Known(BosId) ?? formatBos ?? FirstOf("<s>", "<|begin_of_text|>", "<bos>", "[CLS]", "<|startoftext|>");
        int? eos = Find(EosToken) ?? (EosIds.Count > 0 ? Known(EosIds[0]) : null) ?? formatEos
            ?? FirstOf("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|im_end|>", "[SEP]");
        int? pad = Find(PadToken) ?? Known(PadId) ?? formatPad ?? FirstOf("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>");
        var ends = new List<int>();
        if (eos is int e) ends.Add(e);
        foreach (int id in EosIds)
            if (Known(id) is not null && !ends.Contains(id)) ends.Add(id);
        return new SpecialTokens { Bos = bos, EndIds = ends, Pad = pad, MaxLength = MaxLength, ChatTemplates = ChatTemplates };

        int? Find(string? token) => token is null ? null : idOf(token);
        int? Known(int? id) => id < vocabularySize ? id : null;
        int? FirstOf(params ReadOnlySpan<string> names)
        {
            foreach (string n in names)
                if (idOf(n) is { } id) return id;
            return null;
        }
    }
}
