using LoraNet.Generation;
using LoraNet.Models;
using LoraNet.Reports;
using LoraNet.Tokenizers;

namespace LoraNet.Cli.Runs;

/// <summary>A few prompts from the data that are continued before and after training.</summary>
internal sealed class Samples
{
    private const int Longest = 48, PromptTokens = 256;
    private readonly List<(int[] Prompt, int[] Wanted)> _prompts = [];
    private readonly Tokenizer _tokenizer;
    private readonly HashSet<int> _stops;

    /// <summary>Chooses the prompts.</summary>
    /// <param name="rows">Held-out rows, or training rows.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="model">The model.</param>
    /// <param name="count">How many.</param>
    public Samples(IReadOnlyList<TokenRow> rows, Tokenizer tokenizer, CausalLM model, int count = 3)
    {
        _tokenizer = tokenizer;
        _stops = [.. tokenizer.EndIds, .. model.Config.EosTokenIds];
        foreach (TokenRow row in rows)
        {
            if (_prompts.Count == count) break;
            if (row.AttentionMask?.Contains(0) == true) continue;
            int start = Array.FindIndex(row.Labels, l => l != TokenRow.Ignored);
            // Plain text has no prompt of its own: its beginning serves.
            if (start is 0 or 1) start = Math.Min(row.InputIds.Length / 3, 24);
            if (start < 1 || start >= row.InputIds.Length) continue;
            int end = Array.FindIndex(row.Labels, start, l => l == TokenRow.Ignored);
            if (end < 0) end = row.InputIds.Length;
            int[] wanted = row.InputIds[start..Math.Min(end, start + Longest)];
            int[] prompt = row.InputIds[Math.Max(0, start - PromptTokens)..start];
            if (!_prompts.Exists(p => p.Prompt.SequenceEqual(prompt))) _prompts.Add((prompt, wanted));
        }
    }

    /// <summary>Greedy continuations by the model as it is now.</summary>
    public IReadOnlyList<string> Continue(CausalLM model)
    {
        if (_prompts.Count == 0) return [];
        using Generator generator = new(model);
        GenerationOptions options = new() { MaxNewTokens = Longest, StopIds = _stops };
        return [.. generator.Generate([.. _prompts.Select(p => p.Prompt)], options).Select(ids => _tokenizer.Decode(ids).TrimStart())];
    }

    /// <summary>Prompts with both continuations.</summary>
    public IReadOnlyList<ReportSample> Pair(IReadOnlyList<string> before, IReadOnlyList<string> after) =>
        [.. _prompts.Select((p, i) => new ReportSample(_tokenizer.Decode(p.Prompt), _tokenizer.Decode(p.Wanted).TrimStart(), before[i], after[i]))];
}
