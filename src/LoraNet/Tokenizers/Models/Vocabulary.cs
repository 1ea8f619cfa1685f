namespace LoraNet.Tokenizers;

/// <summary>Token spellings and ids of a model. Ids may have gaps, but not wide ones: a file must not make us allocate at will.</summary>
internal sealed class Vocabulary
{
    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _bySpan;
    private readonly string?[] _tokens;

    /// <param name="entries">Token and id; of two tokens with one id the later wins, of two ids with one token the later wins.</param>
    /// <param name="source">The file, for error messages.</param>
    public Vocabulary(IReadOnlyCollection<KeyValuePair<string, int>> entries, string source)
    {
        _ids = new Dictionary<string, int>(entries.Count, StringComparer.Ordinal);
        long limit = MaxId(entries.Count);
        int max = -1;
        foreach ((string token, int id) in entries)
        {
            if (id < 0 || id > limit)
                throw new LoraNetException($"{source}: token {Show(token)} has id {id}, which is out of range for a vocabulary of {entries.Count} entries.", "Check that the file is complete and belongs to this model.");
            _ids[token] = id;
            max = Math.Max(max, id);
        }
        _tokens = new string?[max + 1];
        foreach ((string token, int id) in entries) _tokens[id] = token;
        _bySpan = _ids.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>The number of distinct tokens.</summary>
    public int Count => _ids.Count;

    /// <summary>One past the largest id.</summary>
    public int Size => _tokens.Length;

    public IEnumerable<KeyValuePair<string, int>> Entries => _ids;

    public string? TokenOf(int id) => (uint)id < (uint)_tokens.Length ? _tokens[id] : null;

    public bool TryGetId(ReadOnlySpan<char> token, out int id) => _bySpan.TryGetValue(token, out id);

    public int? IdOf(string? token) => token is not null && _ids.TryGetValue(token, out int id) ? id : null;

    /// <summary>The largest id that a vocabulary with this many entries may plausibly hold.</summary>
    public static long MaxId(int count) => 1_000_000L + 4L * count;

    /// <summary>A token as it appears in error messages: short and on one line.</summary>
    public static string Show(string token)
    {
        string s = token.Length > 40 ? string.Concat(token.AsSpan(0, 40), "…") : token;
        return "\"" + s.Replace("\n", "\\n").Replace("\r", "\\r").Replace("\t", "\\t") + "\"";
    }
}
