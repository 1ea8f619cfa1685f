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
        long limit = 65536 + 256L * text.Length;
        foreach (ITextNormalizer part in parts)
        {
            text = part.Normalize(text);
            if (text.Length > limit) throw new LoraNetException($"The tokenizer's normalizers make the text more than {limit} characters long.", "The file is damaged: use the model's original tokenizer file.");
        }
        return text;
    }
}
