namespace LoraNet.Tokenizers;

/// <summary>The last step of encoding: cuts a word into vocabulary entries.</summary>
internal interface ITokenModel
{
    Vocabulary Vocabulary { get; }

    /// <summary>Adds the tokens of units [start, start + length) of the buffer to the sink. Length is at least 1.</summary>
    void Tokenize(TextBuffer buffer, int start, int length, TokenSink sink);
}
