namespace LoraNet.Tokenizers;

/// <summary>
/// Text to token ids and back. Implementations are immutable and safe to use from many threads at once.
/// </summary>
public interface ITokenizer
{
    /// <summary>
    /// The number of rows an embedding needs to serve every id: one past the largest id, model vocabulary and added tokens together.
    /// </summary>
    int VocabularySize { get; }

    /// <summary>Ids of tokens marked special: they never come from ordinary text pieces and are left out of decoded text on request.</summary>
    IReadOnlySet<int> SpecialIds { get; }

    /// <summary>The id that starts a sequence, or null if the tokenizer's files name none.</summary>
    int? BosId { get; }

    /// <summary>The id that ends a sequence, or null if the tokenizer's files name none.</summary>
    int? EosId { get; }

    /// <summary>The id used to fill up a batch, or null if the tokenizer's files name none.</summary>
    int? PadId { get; }

    /// <summary>Encodes a text.</summary>
    /// <param name="text">The text; unpaired surrogates count as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the tokenizer puts around a sequence, such as a start token. Special tokens spelled out in the text are recognised either way.</param>
    /// <returns>The token ids.</returns>
    int[] Encode(string text, bool addSpecialTokens = true);

    /// <summary>Encodes a text and tells which part of it each token stands for.</summary>
    /// <param name="text">The text.</param>
    /// <param name="spans">For each id, its range in UTF-16 units of <paramref name="text"/>; (0, 0) for tokens that were added around the text.
    /// A character that was cut into several tokens gives each of them its whole range.</param>
    /// <param name="addSpecialTokens">As in <see cref="Encode(string, bool)"/>.</param>
    /// <returns>The token ids.</returns>
    int[] Encode(string text, out TokenSpan[] spans, bool addSpecialTokens = true);

    /// <summary>Turns ids back into text. Ids outside the vocabulary are left out; bytes that are not UTF-8 become U+FFFD.</summary>
    /// <param name="ids">The token ids.</param>
    /// <param name="skipSpecialTokens">Whether to leave out special tokens.</param>
    /// <returns>The text.</returns>
    string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true);

    /// <summary>Starts decoding a stream of ids, one at a time.</summary>
    /// <param name="skipSpecialTokens">Whether to leave out special tokens.</param>
    /// <returns>A new decoder; it belongs to one stream and one thread.</returns>
    IncrementalDecoder CreateDecoder(bool skipSpecialTokens = true);

    /// <summary>The token's spelling in the vocabulary, or null if the id is not in use.</summary>
    /// <param name="id">A token id.</param>
    string? TokenOf(int id);

    /// <summary>The id of a token spelled as in the vocabulary, or null if there is none.</summary>
    /// <param name="token">The vocabulary's spelling, e.g. "Ġthe" or "▁the".</param>
    int? IdOf(string token);
}

/// <summary>A token's range in the original text, in UTF-16 units; End is exclusive.</summary>
/// <param name="Start">First unit.</param>
/// <param name="End">One past the last unit.</param>
public readonly record struct TokenSpan(int Start, int End)
{
    /// <summary>The number of UTF-16 units covered.</summary>
    public int Length => End - Start;
}
