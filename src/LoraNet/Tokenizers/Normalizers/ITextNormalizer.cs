namespace LoraNet.Tokenizers;

/// <summary>Changes the text before it is cut into words, keeping track of where every unit came from.</summary>
internal interface ITextNormalizer
{
    TextBuffer Normalize(TextBuffer text);
}

/// <summary>Several normalizers, one after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<ITextNormalizer> parts) : ITextNormalizer
{
    public TextBuffer Normalize(TextBuffer text)
    {
        foreach (ITextNormalizer part in parts) text = part.Normalize(text);
        return text;
    }
}
