namespace LoraNet.Tokenizers;

/// <summary>A step from token spellings back to text; the results of the last step are joined.</summary>
internal interface ITokenDecoder
{
    List<string> Decode(List<string> tokens);
}

/// <summary>Several decoders, one after the other.</summary>
internal sealed class SequenceDecoder(IReadOnlyList<ITokenDecoder> parts) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        foreach (ITokenDecoder part in parts) tokens = part.Decode(tokens);
        return tokens;
    }
}
