using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;

namespace LoraNet.Adapters;

/// <summary>
/// What an adapter adds to one module, as plain arrays in the order of files: ΔW = s·B·A with B [rows, rank] and
/// A [rank, columns]; for an embedding rows is its width and columns the vocabulary, as PEFT stores it.
/// </summary>
/// <param name="Path">Module path.</param>
/// <param name="Rank">r.</param>
/// <param name="Scaling">s.</param>
/// <param name="A">A [rank, columns].</param>
/// <param name="B">B [rows, rank].</param>
/// <param name="Rows">Outputs, or an embedding's width.</param>
/// <param name="Columns">Inputs, or the vocabulary.</param>
/// <param name="Bias">The bias on B, unscaled, or null.</param>
internal sealed record AdapterFactors(string Path, int Rank, double Scaling, float[] A, float[] B, int Rows, int Columns, float[]? Bias = null)
{
    /// <summary>Reads a layer, with what its initialisation took from the base as more rank.</summary>
    public static AdapterFactors Of(LoraLayer layer)
    {
        bool takes = layer.Initial is not null;
        int rank = takes ? 2 * layer.Rank : layer.Rank;
        float[] a = takes ? StoredTensor.JoinA(layer) : layer.A.ToFile(), b = takes ? StoredTensor.JoinB(layer) : layer.B.ToFile();
        return new AdapterFactors(layer.ModulePath, rank, layer.BaseScaling, a, b, b.Length / rank, a.Length / rank, layer.Bias?.ToFile());
    }

    /// <summary>B's columns times <paramref name="factor"/> as binary64, row-major [rows, rank].</summary>
    public double[] WideB(double factor)
    {
        double[] b = Vectors.Widen(B);
        for (int i = 0; i < b.Length; i++) b[i] *= factor;
        return b;
    }

    /// <summary>s·B·A, row-major [rows, columns].</summary>
    public float[] Delta() => Vectors.Narrow(Vectors.ProductNN(WideB(Scaling), Vectors.Widen(A), Rows, Columns, Rank));

    /// <summary>The factors of Σ wᵢ·ΔWᵢ side by side, in binary64: B [rows, Σ r] and A [Σ r, columns].</summary>
    public static (double[] B, double[] A, int Rank) SideBySide(IReadOnlyList<AdapterFactors> parts, IReadOnlyList<double> factors)
    {
        int rank = parts.Sum(p => p.Rank), rows = parts[0].Rows, columns = parts[0].Columns, at = 0;
        double[] b = new double[(long)rows * rank], a = new double[(long)rank * columns];
        for (int i = 0; i < parts.Count; i++)
        {
            AdapterFactors part = parts[i];
            double[] wide = part.WideB(factors[i]);
            for (int r = 0; r < rows; r++) wide.AsSpan(r * part.Rank, part.Rank).CopyTo(b.AsSpan(r * rank + at, part.Rank));
            Vectors.Widen(part.A).CopyTo(a, at * columns);
            at += part.Rank;
        }
        return (b, a, rank);
    }
}
