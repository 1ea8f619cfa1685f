using System.Numerics.Tensors;
using LoraNet.Tensors;

namespace LoraNet.Generation;

/// <summary>
/// Chooses the next token from logits, in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p.
/// The random number of a token depends on seed, sequence and position only.
/// </summary>
public static class Sampler
{
    /// <summary>The chosen id.</summary>
    /// <param name="logits">Logits of the vocabulary; changed.</param>
    /// <param name="seen">Ids of prompt and answer so far.</param>
    /// <param name="options">Settings.</param>
    /// <param name="sequence">Number of the sequence.</param>
    /// <param name="position">Number of the new token.</param>
    public static int Choose(Span<float> logits, IReadOnlyCollection<int> seen, GenerationOptions options, int sequence, int position)
    {
        if (options.RepetitionPenalty != 1) Penalise(logits, seen, (float)options.RepetitionPenalty);
        if (options.Temperature == 0) return TensorPrimitives.IndexOfMax<float>(logits);
        TensorPrimitives.Divide(logits, (float)options.Temperature, logits);
        int[] order = new int[logits.Length];
        for (int i = 0; i < order.Length; i++) order[i] = i;
        float[] keys = logits.ToArray();
        // Likeliest first; ties by id, so that the choice is reproducible.
        Array.Sort(order, (a, b) => keys[b] != keys[a] ? keys[b].CompareTo(keys[a]) : a.CompareTo(b));
        int count = options.TopK > 0 ? Math.Min(options.TopK, order.Length) : order.Length;
        double[] probabilities = new double[count];
        double sum = 0;
        for (int i = 0; i < count; i++) sum += probabilities[i] = Math.Exp(keys[order[i]] - (double)keys[order[0]]);
        for (int i = 0; i < count; i++) probabilities[i] /= sum;
        int kept = Keep(probabilities, options.TopP, options.MinP);
        double total = 0;
        for (int i = 0; i < kept; i++) total += probabilities[i];
        (uint word, _, _, _) = Philox.Block(DropoutKey.Create(options.Seed, "sampling", "", (uint)position), sequence, 0);
        double target = word / 4294967296.0 * total, running = 0;
        for (int i = 0; i < kept; i++)
        {
            running += probabilities[i];
            if (target < running) return order[i];
        }
        return order[kept - 1];
    }

    private static int Keep(double[] probabilities, double topP, double minP)
    {
        int kept = probabilities.Length;
        if (topP < 1)
        {
            double running = 0;
            for (int i = 0; i < kept; i++)
            {
                running += probabilities[i];
                if (running >= topP) kept = i + 1;
            }
        }
        if (minP > 0)
        {
            double limit = minP * probabilities[0];
            for (int i = 1; i < kept; i++)
                if (probabilities[i] < limit) kept = i;
        }
        return kept;
    }

    private static void Penalise(Span<float> logits, IReadOnlyCollection<int> seen, float penalty)
    {
        foreach (int id in seen.Distinct())
            if ((uint)id < (uint)logits.Length) logits[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
    }
}
