using System.Globalization;
using LoraNet.Generation;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Settings;

/// <summary>Settings of <c>generate</c> and <c>chat</c>.</summary>
internal static class GenerationSettings
{
    private const string Section = "generation";

    /// <summary>How tokens are chosen.</summary>
    public static IReadOnlyList<Setting> Sampling { get; } =
    [
        new("max-new-tokens", SettingKind.Integer, Section, "Most new tokens.") { Default = "128" },
        new("temperature", SettingKind.Number, Section, "0 is greedy.") { Default = "0" },
        new("top-k", SettingKind.Integer, Section, "Sample among the k likeliest; 0 for all.") { Default = "0" },
        new("top-p", SettingKind.Number, Section, "Sample among the likeliest that together reach this probability.") { Default = "1" },
        new("min-p", SettingKind.Number, Section, "Drop tokens less likely than this share of the likeliest.") { Default = "0" },
        new("repetition-penalty", SettingKind.Number, Section, "Penalty on tokens seen before; 1 for none.") { Default = "1" },
        new("seed", SettingKind.Integer, Section, "Seed of sampling.") { Default = "42" },
    ];

    /// <summary>The options for a model.</summary>
    public static GenerationOptions Read(SettingValues v, CausalLM model, Tokenizer? tokenizer)
    {
        if (v.Integer("seed") is < 0) throw v.Error("seed", "the seed must not be negative.");
        GenerationOptions options = new()
        {
            MaxNewTokens = v.Integer("max-new-tokens") ?? 128,
            Temperature = v.Number("temperature") ?? 0,
            TopK = v.Integer("top-k") ?? 0,
            TopP = v.Number("top-p") ?? 1,
            MinP = v.Number("min-p") ?? 0,
            RepetitionPenalty = v.Number("repetition-penalty") ?? 1,
            Seed = (ulong)(v.Integer("seed") ?? 42),
            StopIds = [.. model.Config.EosTokenIds, .. tokenizer?.EndIds ?? []],
        };
        options.Validate();
        return options;
    }

    /// <summary>Reads ids separated by commas.</summary>
    public static int[] ParseIds(string text, int vocabulary)
    {
        string[] parts = text.Split([',', ' '], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0) throw new LoraNetException("--input-ids is empty.", "Give ids such as 1,2,3.");
        return [.. parts.Select(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out int id) && id < vocabulary ? id
            : throw new LoraNetException($"--input-ids: '{p}' is not a token id below {vocabulary}.", "Give ids such as 1,2,3."))];
    }
}
