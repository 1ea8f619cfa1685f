namespace LoraNet.Tokenizers;

/// <summary>Cuts normalized text into words that the model tokenizes one by one.</summary>
internal interface IPreTokenizer
{
    void Apply(PieceList pieces);

    /// <summary>Whether the result depends on where in the original text a piece stands.</summary>
    bool NeedsOrigins => false;
}

/// <summary>Several pre-tokenizers, one after the other.</summary>
internal sealed class SequencePreTokenizer(IReadOnlyList<IPreTokenizer> parts) : IPreTokenizer
{
    public bool NeedsOrigins => parts.Any(p => p.NeedsOrigins);

    public void Apply(PieceList pieces)
    {
        foreach (IPreTokenizer part in parts) part.Apply(pieces);
    }
}
