using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Paper.Experiments;

/// <summary>A meaning of E2E NLG and all its descriptions in a file.</summary>
/// <param name="Meaning">Such as <c>name : The Vaults | food : French</c>.</param>
/// <param name="References">What people wrote for it.</param>
internal sealed record E2eEntry(string Meaning, IReadOnlyList<string> References);

/// <summary>The E2E NLG data (Novikova et al., 2017) in the paper's form: a line <c>meaning||text</c> each.</summary>
internal static class E2eData
{
    /// <summary>Entries in order of first appearance.</summary>
    /// <exception cref="LoraNetException">The file is missing or a line has no separator.</exception>
    public static List<E2eEntry> Read(string path)
    {
        if (!File.Exists(path)) throw new LoraNetException($"{path} does not exist.");
        Dictionary<string, List<string>> texts = [];
        List<string> order = [];
        int number = 0;
        foreach (string line in File.ReadLines(path))
        {
            number++;
            if (line.Trim().Length == 0) continue;
            int at = line.IndexOf("||", StringComparison.Ordinal);
            if (at < 0) throw new LoraNetException($"{path}, line {number}: there is no '||'.");
            string meaning = line[..at].Trim(), text = line[(at + 2)..].Trim();
            if (!texts.TryGetValue(meaning, out List<string>? list))
            {
                texts[meaning] = list = [];
                order.Add(meaning);
            }
            list.Add(text);
        }
        return [.. order.Select(m => new E2eEntry(m, texts[m]))];
    }

    /// <summary>The validation file's meanings in two parts, nine tenths to train on and the same tenth held out in every run.</summary>
    public static (List<E2eEntry> Train, List<E2eEntry> HeldOut) Split(string data)
    {
        List<E2eEntry> entries = Read(Path.Combine(data, "e2e", "valid.txt"));
        HashSet<E2eEntry> heldOut = [.. Drawing.Draw(entries, entries.Count / 10, 0)];
        return ([.. entries.Where(e => !heldOut.Contains(e))], [.. heldOut]);
    }

    /// <summary>The prompt of a meaning: the base model was trained on texts that start with the beginning-of-sequence token.</summary>
    public static int[] Prompt(Tokenizer tokenizer, string meaning)
    {
        int[] ids = tokenizer.Encode(meaning + " =>", addSpecialTokens: false);
        return tokenizer.BosId is { } bos ? [bos, .. ids] : ids;
    }

    /// <summary>One training row a description; the prompt is not trained on.</summary>
    public static List<TokenRow> Rows(Tokenizer tokenizer, IEnumerable<E2eEntry> entries)
    {
        List<TokenRow> rows = [];
        int end = tokenizer.EosId ?? throw new LoraNetException("The tokenizer has no end-of-sequence token.");
        foreach (E2eEntry entry in entries)
        {
            int[] prompt = Prompt(tokenizer, entry.Meaning);
            foreach (string text in entry.References)
            {
                int[] answer = [.. tokenizer.Encode(text, addSpecialTokens: false), end];
                rows.Add(new TokenRow([.. prompt, .. answer], [.. prompt.Select(_ => TokenRow.Ignored), .. answer]));
            }
        }
        return rows;
    }
}
