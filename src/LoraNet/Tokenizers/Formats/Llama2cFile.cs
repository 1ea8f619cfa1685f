using System.Buffers.Binary;
using System.Text;

namespace LoraNet.Tokenizers;

/// <summary>
/// Reads the tokenizer files of llama2.c: the longest piece's length (i32), then for each piece its score (f32), length (i32) and bytes,
/// little-endian. Ids 0, 1 and 2 are the unknown token, start and end; 3 to 258 the bytes; pieces have plain spaces.
/// </summary>
internal static class Llama2cFile
{
    private const int FirstByte = 3;

    public static TokenizerParts Read(ReadOnlySpan<byte> data, string source, IReadOnlyList<AddedToken> extra)
    {
        if (data.Length < 4) throw Bad(0, "the header is cut off");
        int longest = BinaryPrimitives.ReadInt32LittleEndian(data);
        if (longest is <= 0 or > 4 * SentencePieceTokenizer.MaxPieceLength) throw Bad(0, $"it claims a longest piece of {longest} bytes");
        var strict = new UTF8Encoding(false, throwOnInvalidBytes: true);
        var pieces = new List<(string Text, float Score)>();
        for (int at = 4; at < data.Length;)
        {
            if (data.Length - at < 8) throw Bad(at, "an entry is cut off");
            float score = BinaryPrimitives.ReadSingleLittleEndian(data[at..]);
            int length = BinaryPrimitives.ReadInt32LittleEndian(data[(at + 4)..]);
            at += 8;
            if (length < 0 || length > longest && pieces.Count > FirstByte + 255 || length > 4 * SentencePieceTokenizer.MaxPieceLength || length > data.Length - at || float.IsNaN(score))
                throw Bad(at, $"piece {pieces.Count} has length {length} and score {score}");
            try
            {
                pieces.Add((strict.GetString(data.Slice(at, length)), score));
            }
            catch (DecoderFallbackException)
            {
                throw Bad(at, $"piece {pieces.Count} is not UTF-8");
            }
            at += length;
        }
        if (pieces.Count <= FirstByte + 255 || pieces[FirstByte].Text != "<0x00>" || pieces[FirstByte + 255].Text != "<0xFF>")
            throw Bad(0, "the byte pieces are not at ids 3 to 258");

        var entries = new List<KeyValuePair<string, int>>(pieces.Count);
        var scores = new Dictionary<string, float>(StringComparer.Ordinal);
        for (int i = 0; i < pieces.Count; i++)
        {
            // Some exports put line ends around the names of start and end.
            string text = i < FirstByte ? pieces[i].Text.Trim('\n') : pieces[i].Text;
            entries.Add(new(text, i));
            if (i > FirstByte + 255) scores[text] = pieces[i].Score;
        }
        var vocabulary = new Vocabulary(entries, source);
        var ranks = new Dictionary<float, int>();
        foreach (float score in scores.Values.Distinct().OrderDescending()) ranks[score] = ranks.Count;
        var phantoms = new Dictionary<string, int>(StringComparer.Ordinal);
        Dictionary<string, int> mergeable = scores.Where(s => vocabulary.IdOf(s.Key) > FirstByte + 255).ToDictionary(s => s.Key, s => ranks[s.Value], StringComparer.Ordinal);
        BpeMerges merges = ScoredMerges.Build(vocabulary, mergeable, phantoms);
        var options = new BpeOptions { ByteFallback = true, FuseUnknown = true, UnknownToken = entries[0].Key };
        AddedToken[] special = Enumerable.Range(0, FirstByte).Select(i => new AddedToken(entries[i].Key, i, Special: true)).ToArray();
        return new TokenizerParts(new BpeModel(vocabulary, merges, options, phantoms.Count == 0 ? null : phantoms, ' '), new AddedTokens([.. special, .. extra], null))
        {
            Normalizer = new FirstSpaceNormalizer(),
            Post = PostProcessing.StartEnd(1, null),
            Decoder = new SequenceDecoder([new ByteFallbackDecoder(), new FuseDecoder(), new StripDecoder(" ", 1, 0)]),
        };

        LoraNetException Bad(int at, string what) => new($"{source}: not a llama2.c tokenizer, or damaged at byte {at}: {what}.", "Use the tokenizer .bin that was exported with the model.");
    }

    /// <summary>Puts a space before the text.</summary>
    private sealed class FirstSpaceNormalizer : ITextNormalizer
    {
        public TextBuffer Normalize(TextBuffer text) =>
            text.Length > 0 && text.OriginalStart(0) == 0 ? PrependNormalizer.Prepend(text, 0, text.Length, " ") : text;
    }
}
