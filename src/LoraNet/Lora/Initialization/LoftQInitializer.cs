using System.Numerics.Tensors;
using LoraNet.Models;
using LoraNet.Numerics;

namespace LoraNet.Lora;

/// <summary>
/// LoftQ (Li et al., 2023): alternates Q = quantised(W − B·A) and B·A = the best approximation of W − Q at rank r, so that an adapter
/// over the quantised base starts near the original model. The dequantised Q stands in for W while the adapter is active; the stored
/// base is not touched, and Q is computed again when the adapter is read.
/// </summary>
internal static class LoftQInitializer
{
    /// <summary>Q [out, in], A [r, in] and B [out, r] with s·B·A ≈ W − Q.</summary>
    /// <param name="linear">The layer.</param>
    /// <param name="config">Bits and iterations.</param>
    /// <param name="rank">r.</param>
    /// <param name="scaling">s.</param>
    /// <param name="factors">False when only Q is needed, because A and B are read from a file.</param>
    /// <exception cref="LoraNetException">The rank is larger than the matrix, or the scaling is not usable.</exception>
    public static (float[] Q, float[] A, float[] B) Compute(LinearModule linear, LoraConfig config, int rank, double scaling, bool factors)
    {
        int outputs = linear.Out, inputs = linear.In;
        if (rank > Math.Min(outputs, inputs))
            throw new LoraNetException($"Rank {rank} is more than '{linear.Path}' [{outputs}, {inputs}] has, which LoftQ takes its start from.", $"Use a rank of at most {Math.Min(outputs, inputs)}.");
        if (!(scaling > 0)) throw new LoraNetException($"LoftQ divides by the scaling, which is {scaling}.", "Use a positive alpha.");
        float[] w = linear.Weight.Source.ToArray();
        if (linear.Weight.Transposed) w = Parameter.Transpose(w, inputs, outputs);
        float[] rest = w, q = [], a = [], b = [];
        for (int i = 0; i < config.LoftQIterations; i++)
        {
            q = config.LoftQBits == 4 ? WeightQuantization.Nf4(rest) : WeightQuantization.Int8(rest, inputs);
            bool last = i == config.LoftQIterations - 1;
            if (last && !factors) break;
            float[] error = new float[w.Length];
            TensorPrimitives.Subtract(w, q, error);
            Svd svd = TruncatedSvd.Decompose(error, outputs, inputs, rank);
            if (!last)
            {
                (a, b) = svd.Factors(0.5);
                rest = Vectors.Narrow(Vectors.ProductNN(Vectors.Widen(b), Vectors.Widen(a), outputs, inputs, rank));
                TensorPrimitives.Subtract(w, rest, rest);
                continue;
            }
            double[] s = [.. svd.S.Select(v => v / scaling)];
            (a, b) = (svd with { S = s }).Factors(0.5);
        }
        return (q, a, b);
    }
}
