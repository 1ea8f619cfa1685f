namespace LoraNet.Generation;

/// <summary>How tokens are chosen, with Hugging Face's meanings.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most new tokens.</summary>
    public int MaxNewTokens { get; init; } = 128;
    /// <summary>0 is greedy; otherwise logits are divided by it.</summary>
    public double Temperature { get; init; }
    /// <summary>Sample among the k likeliest; 0 for all.</summary>
    public int TopK { get; init; }
    /// <summary>Sample among the likeliest tokens that together reach this probability (Holtzman et al., 2020); 1 for all.</summary>
    public double TopP { get; init; } = 1;
    /// <summary>Drop tokens less likely than this share of the likeliest (Nguyen et al., 2024); 0 for none.</summary>
    public double MinP { get; init; }
    /// <summary>Penalty on tokens seen before (Keskar et al., 2019); 1 for none.</summary>
    public double RepetitionPenalty { get; init; } = 1;
    /// <summary>Seed of sampling.</summary>
    public ulong Seed { get; init; } = 42;
    /// <summary>Ids that end a sequence.</summary>
    public IReadOnlyCollection<int> StopIds { get; init; } = [];

    /// <summary>Checks ranges.</summary>
    /// <exception cref="LoraNetException">A value is out of range.</exception>
    public void Validate()
    {
        if (MaxNewTokens < 0) throw new LoraNetException($"--max-new-tokens {MaxNewTokens} is negative.");
        if (!(Temperature >= 0) || double.IsInfinity(Temperature)) throw new LoraNetException(FormattableString.Invariant($"--temperature {Temperature} is not a number of 0 or more."));
        if (TopK < 0) throw new LoraNetException($"--top-k {TopK} is negative.", "Use 0 for all tokens.");
        if (!(TopP > 0 && TopP <= 1)) throw new LoraNetException(FormattableString.Invariant($"--top-p {TopP} is not in (0, 1]."));
        if (!(MinP >= 0 && MinP < 1)) throw new LoraNetException(FormattableString.Invariant($"--min-p {MinP} is not in [0, 1)."));
        if (!(RepetitionPenalty > 0)) throw new LoraNetException(FormattableString.Invariant($"--repetition-penalty {RepetitionPenalty} is not positive."));
    }
}
