using System.Numerics.Tensors;
using LoraNet.Models;
using LoraNet.Numerics;

namespace LoraNet.Lora;

/// <summary>
/// Initialisations that read the base weight W [out, in]. PiSSA and OLoRA move a part s·B₀·A₀ of W into the adapter: PEFT then
/// rewrites the base to W − s·B₀·A₀. Here the base stays as it is, and the layer carries the frozen A₀ and B₀ with scaling −s
/// beside the trained ones (<see cref="LoraLayer.Initial"/>), so that W + s·(B·A − B₀·A₀) is the same function.
/// </summary>
internal static class WeightInitializer
{
    /// <summary>Whether an initialisation takes a part of the base.</summary>
    public static bool TakesFromBase(LoraInit init) => init is LoraInit.Pissa or LoraInit.Olora;

    /// <summary>A₀ [r, in] and B₀ [out, r] of a linear layer.</summary>
    /// <param name="init">PiSSA or OLoRA.</param>
    /// <param name="linear">The layer.</param>
    /// <param name="rank">r.</param>
    /// <param name="scaling">s.</param>
    /// <exception cref="LoraNetException">The rank is larger than the matrix, or the scaling is not usable.</exception>
    public static (float[] A, float[] B) FromBase(LoraInit init, LinearModule linear, int rank, double scaling)
    {
        int outputs = linear.Out, inputs = linear.In;
        if (rank > Math.Min(outputs, inputs))
            throw new LoraNetException($"Rank {rank} is more than '{linear.Path}' [{outputs}, {inputs}] has, which {init} takes its start from.", $"Use a rank of at most {Math.Min(outputs, inputs)}.");
        float[] w = linear.Weight.Source.ToArray();
        if (linear.Weight.Transposed) w = Parameter.Transpose(w, inputs, outputs);
        return init == LoraInit.Pissa ? Pissa(w, outputs, inputs, rank, scaling) : Olora(w, outputs, inputs, rank);
    }

    /// <summary>PiSSA (Meng et al., 2024): W ≈ U·S·Vᵀ at rank r, B₀ = U·√(S/s), A₀ = √(S/s)·Vᵀ, so that s·B₀·A₀ is the best approximation of W.</summary>
    public static (float[] A, float[] B) Pissa(float[] w, int outputs, int inputs, int rank, double scaling)
    {
        if (!(scaling > 0)) throw new LoraNetException($"PiSSA divides by the scaling, which is {scaling}.", "Use a positive alpha.");
        Svd svd = TruncatedSvd.Decompose(w, outputs, inputs, rank);
        double[] s = [.. svd.S.Select(v => v / scaling)];
        return (svd with { S = s }).Factors(0.5);
    }

    /// <summary>OLoRA (Büyükakyüz, 2024): W = Q·R, B₀ = the first r columns of Q, A₀ = the first r rows of R = Qᵀ·W; the scaling is not divided out, as in PEFT.</summary>
    public static (float[] A, float[] B) Olora(float[] w, int outputs, int inputs, int rank)
    {
        // The first columns of Q depend on the first columns of W only.
        double[] q = new double[(long)rank * outputs];
        for (int i = 0; i < rank; i++)
            for (int o = 0; o < outputs; o++) q[(long)i * outputs + o] = w[(long)o * inputs + i];
        Orthogonal.Decompose(q, rank, outputs);
        double[] a = Vectors.ProductNN(q, Vectors.Widen(w), rank, inputs, outputs);
        return (Vectors.Narrow(a), Vectors.Narrow(Vectors.Transpose<double>(q, rank, outputs)));
    }

    /// <summary>MiCA: the r left singular vectors [out, r] of W that belong to its smallest singular values, in descending order of these.</summary>
    /// <exception cref="LoraNetException">The rank is larger than the matrix.</exception>
    public static float[] MinorComponents(LinearModule linear, int rank)
    {
        int outputs = linear.Out, inputs = linear.In, small = Math.Min(outputs, inputs);
        if (rank > small) throw new LoraNetException($"Rank {rank} is more than '{linear.Path}' [{outputs}, {inputs}] has, which MiCA takes its start from.", $"Use a rank of at most {small}.");
        float[] w = linear.Weight.Source.ToArray();
        if (linear.Weight.Transposed) w = Parameter.Transpose(w, inputs, outputs);
        double[] wide = Vectors.Widen(w);
        // Eigenvectors of the smaller Gram matrix, in descending order: the last ones are wanted.
        double[] ut;
        if (outputs <= inputs)
        {
            (_, double[] vectors) = SymmetricEigen.Decompose(Vectors.ProductNT(wide, wide, outputs, outputs, inputs), outputs);
            ut = vectors[((outputs - rank) * outputs)..];
        }
        else
        {
            double[] t = Vectors.Transpose<double>(wide, outputs, inputs);
            (_, double[] vectors) = SymmetricEigen.Decompose(Vectors.ProductNT(t, t, inputs, inputs, outputs), inputs);
            ut = Vectors.ProductNN(vectors[((inputs - rank) * inputs)..], t, rank, outputs, inputs);
            Orthogonal.Decompose(ut, rank, outputs);
        }
        return Vectors.Narrow(Vectors.Transpose<double>(ut, rank, outputs));
    }

    /// <summary>
    /// Orthogonal start: with Q a random orthogonal matrix [r, r], A from its odd rows and B from its even rows, so that B·A = 0
    /// though neither is zero; the base stays whole. A = (X·Q₁)ᵀ/10, B = Y·Q₂/10 with standard normal X [in, r/2] and Y [out, r/2].
    /// </summary>
    public static (float[] A, float[] B) OrthogonalPair(int inputs, int outputs, int rank, ulong seed, string path)
    {
        if (rank % 2 != 0) throw new LoraNetException($"The orthogonal initialisation needs an even rank; '{path}' has {rank}.", "Use an even --rank.");
        int half = rank / 2;
        double[] q = Normal(rank * rank, path + ".Q");
        Orthogonal.Decompose(q, rank, rank);
        double[] odd = new double[half * rank], even = new double[half * rank];
        for (int i = 0; i < half; i++)
        {
            q.AsSpan(2 * i * rank, rank).CopyTo(even.AsSpan(i * rank));
            q.AsSpan((2 * i + 1) * rank, rank).CopyTo(odd.AsSpan(i * rank));
        }
        double[] a = Vectors.ProductNN(Normal(inputs * half, path + ".A"), odd, inputs, rank, half);
        double[] b = Vectors.ProductNN(Normal(outputs * half, path + ".B"), even, outputs, rank, half);
        TensorPrimitives.Divide(a, 10, a);
        TensorPrimitives.Divide(b, 10, b);
        return (Vectors.Narrow(Vectors.Transpose<double>(a, inputs, rank)), Vectors.Narrow(b));

        double[] Normal(int count, string stream)
        {
            float[] values = new float[count];
            LoraInitializer.Normal(values, 1, seed, stream);
            return Vectors.Widen(values);
        }
    }
}
