using System.Runtime.InteropServices;

namespace LoraNet.Tokenizers;

/// <summary>
/// Decodes ids as they are generated. Text comes out as soon as it is complete: never half a character, and joined exactly as
/// <see cref="ITokenizer.Decode"/> would join all ids at once. For one stream and one thread.
/// </summary>
public sealed class IncrementalDecoder
{
    // Beyond this many held-back tokens the stream is not going to become UTF-8: give what there is.
    private const int MaxHeld = 16;

    private readonly ITokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly List<int> _ids = [];
    private int _shown;       // ids before this one have been given out and serve as context
    private string _context = "";

    internal IncrementalDecoder(ITokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
    }

    /// <summary>Takes the next id.</summary>
    /// <param name="id">The token id.</param>
    /// <returns>The text that is now complete; often empty in the middle of a character.</returns>
    public string Append(int id)
    {
        if (_skipSpecialTokens && _tokenizer.SpecialIds.Contains(id)) return "";
        _ids.Add(id);
        string text = _tokenizer.Decode(CollectionsMarshal.AsSpan(_ids), _skipSpecialTokens);
        if (text.EndsWith('\uFFFD') && _ids.Count - _shown < MaxHeld) return "";
        return Give(text);
    }

    /// <summary>Ends the stream.</summary>
    /// <returns>What was held back; incomplete characters as U+FFFD.</returns>
    public string Flush()
    {
        string rest = _ids.Count == _shown ? "" : Give(_tokenizer.Decode(CollectionsMarshal.AsSpan(_ids), _skipSpecialTokens));
        _ids.Clear();
        _shown = 0;
        _context = "";
        return rest;
    }

    private string Give(string text)
    {
        string fresh = text.StartsWith(_context, StringComparison.Ordinal) ? text[_context.Length..] : text[Math.Min(text.Length, _context.Length)..];
        // Only the last tokens stay as context: they decide about a leading space, not about the text.
        _ids.RemoveRange(0, _shown);
        _shown = _ids.Count;
        _context = _tokenizer.Decode(CollectionsMarshal.AsSpan(_ids), _skipSpecialTokens);
        return fresh;
    }
}
