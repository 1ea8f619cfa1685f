namespace LoraNet.Tokenizers;

/// <summary>Cuts normalized text into words that the model tokenizes one by one.</summary>
internal interface IPreTokenizer
{
    void Apply(PieceList pieces);
}

/// <summary>Several pre-tokenizers, one after the other.</summary>
internal sealed class SequencePreTokenizer(IReadOnlyList<IPreTokenizer> parts) : IPreTokenizer
{
    public IReadOnlyList<IPreTokenizer> Parts => parts;

    public void Apply(PieceList pieces)
    {
        foreach (IPreTokenizer part in parts) part.Apply(pieces);
    }
}
