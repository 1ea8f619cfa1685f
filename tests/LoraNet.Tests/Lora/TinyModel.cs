using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Testing;

namespace LoraNet.Tests.Lora;

/// <summary>A fixture model and random rows for property tests.</summary>
internal static class TinyModel
{
    public static string Folder(string name = "llama-tied") => Path.Combine(TestData.Fixtures, "golden", name);

    public static CausalLM Load(Backend backend, string name = "llama-tied") => CausalLM.Load(Folder(name), backend);

    /// <summary>Rows of random ids; a prefix of each is not trained.</summary>
    public static List<TokenRow> Rows(int count, int seed, int vocabulary = 64, int longest = 12)
    {
        Random random = new(seed);
        List<TokenRow> rows = [];
        for (int r = 0; r < count; r++)
        {
            int length = random.Next(3, longest + 1), masked = random.Next(0, length - 1);
            int[] ids = [.. Enumerable.Range(0, length).Select(_ => random.Next(3, vocabulary))];
            rows.Add(new TokenRow(ids, [.. ids.Select((id, i) => i < masked ? TokenRow.Ignored : id)]));
        }
        return rows;
    }

    /// <summary>Logits of one row, [length, vocabulary].</summary>
    public static float[] Logits(CausalLM model, TokenRow row)
    {
        using Arena arena = new(model.Backend);
        using TokenBatch batch = TokenBatch.Create(model.Backend, [row], model.Options.VocabularySize);
        int v = model.Options.VocabularySize;
        float[] all = new float[batch.Tokens * v];
        model.Logits(arena, batch, (first, logits) => model.Backend.Download(logits, all.AsSpan(first * v, logits.Rows * v)));
        return all;
    }

    public static double MaxDifference(float[] a, float[] b) => a.Zip(b, (x, y) => Math.Abs((double)x - y)).Max();
}
