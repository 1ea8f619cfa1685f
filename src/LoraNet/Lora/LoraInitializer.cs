using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>
/// Starting values of A and B. Numbers come from Philox keyed by seed and module path, so that they do not depend on the
/// adapter's name, the order of modules or the backend.
/// </summary>
public static class LoraInitializer
{
    /// <summary>A [r, in] and B [out, r] of a linear layer.</summary>
    public static (float[] A, float[] B) Linear(LoraInit init, int inputs, int outputs, int rank, ulong seed, string path)
    {
        if (init == LoraInit.Orthogonal) return WeightInitializer.OrthogonalPair(inputs, outputs, rank, seed, path);
        float[] a = new float[(long)rank * inputs], b = new float[(long)outputs * rank];
        switch (init)
        {
            // Kaiming-uniform (He et al., 2015): bound = gain·√(3/fan_in), gain = √(2/(1 + a²)); a = √5 gives 1/√in.
            case LoraInit.KaimingUniform or LoraInit.LoftQ:
                Uniform(a, 1 / Math.Sqrt(inputs), seed, path + ".A");
                break;
            case LoraInit.KaimingUniformA0:
                Uniform(a, Math.Sqrt(6.0 / inputs), seed, path + ".A");
                break;
            case LoraInit.Gaussian:
                Normal(a, 1.0 / rank, seed, path + ".A");
                break;
            case LoraInit.Random:
                Uniform(a, 1 / Math.Sqrt(inputs), seed, path + ".A");
                Uniform(b, 1 / Math.Sqrt(rank), seed, path + ".B");
                break;
            default: throw new ArgumentOutOfRangeException(nameof(init), init, "This initialisation needs the base weight.");
        }
        return (a, b);
    }

    /// <summary>A [vocabulary, r] (zero) and B [dim, r] ~ N(0, 1) of an embedding, as in PEFT and loralib; both normal with <see cref="LoraInit.Random"/>.</summary>
    public static (float[] A, float[] B) Embedding(LoraInit init, int vocabulary, int dim, int rank, ulong seed, string path)
    {
        float[] a = new float[(long)vocabulary * rank], b = new float[(long)dim * rank];
        Normal(b, 1, seed, path + ".B");
        if (init == LoraInit.Random) Normal(a, 1, seed, path + ".A");
        return (a, b);
    }

    /// <summary>values ~ U(−bound, bound).</summary>
    public static void Uniform(Span<float> values, double bound, ulong seed, string stream)
    {
        DropoutKey key = DropoutKey.Create(seed, stream, "", 0);
        for (int i = 0; i < values.Length; i += 4)
        {
            (uint w0, uint w1, uint w2, uint w3) = Philox.Block(key, 0, (uint)(i / 4));
            ReadOnlySpan<uint> words = [w0, w1, w2, w3];
            for (int j = 0; j < 4 && i + j < values.Length; j++) values[i + j] = (float)((Unit(words[j]) * 2 - 1) * bound);
        }
    }

    /// <summary>values ~ N(0, deviation²), by Box and Muller.</summary>
    public static void Normal(Span<float> values, double deviation, ulong seed, string stream)
    {
        DropoutKey key = DropoutKey.Create(seed, stream, "", 0);
        for (int i = 0; i < values.Length; i += 2)
        {
            (uint w0, uint w1, _, _) = Philox.Block(key, 1, (uint)(i / 2));
            double radius = deviation * Math.Sqrt(-2 * Math.Log(Unit(w0)));
            (double sin, double cos) = Math.SinCos(2 * Math.PI * Unit(w1));
            values[i] = (float)(radius * cos);
            if (i + 1 < values.Length) values[i + 1] = (float)(radius * sin);
        }
    }

    // Never 0, so that its logarithm is finite.
    private static double Unit(uint word) => (word + 0.5) / 4294967296.0;
}
