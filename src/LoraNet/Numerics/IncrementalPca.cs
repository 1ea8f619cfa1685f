using System.Numerics.Tensors;

namespace LoraNet.Numerics;

/// <summary>
/// Principal components of rows that come in batches (Ross et al., 2008): the components so far, each as long as its singular value,
/// stand for the rows seen, beside the new rows and a row for the shift of the mean.
/// </summary>
internal sealed class IncrementalPca(int components, int features)
{
    private double[] _mean = new double[features];
    private double[] _variance = new double[features];

    /// <summary>Number of components that are looked for.</summary>
    public int Wanted => components;

    /// <summary>Rows seen.</summary>
    public long Seen { get; private set; }

    /// <summary>The components [count, features] in descending order of variance; empty at first.</summary>
    public double[] Components { get; private set; } = [];

    /// <summary>Their singular values.</summary>
    public double[] SingularValues { get; private set; } = [];

    /// <summary>Each component's share of the variance of all rows.</summary>
    public double[] Ratios { get; private set; } = [];

    /// <summary>Adds rows [rows, features]; there must be at least as many as components.</summary>
    /// <returns>The cosine of each component with its predecessor; null for the first batch.</returns>
    public double[]? Add(float[] x, int rows)
    {
        long total = Seen + rows;
        double[] batchMean = new double[features], mean = new double[features], variance = new double[features];
        for (int r = 0; r < rows; r++)
            for (int f = 0; f < features; f++) batchMean[f] += x[r * features + f];
        TensorPrimitives.Divide(batchMean, rows, batchMean);
        int kept = SingularValues.Length, stacked = Seen == 0 ? rows : kept + rows + 1;
        float[] matrix = new float[(long)stacked * features];
        for (int i = 0; i < kept; i++)
            for (int f = 0; f < features; f++) matrix[i * features + f] = (float)(SingularValues[i] * Components[i * features + f]);
        for (int r = 0; r < rows; r++)
        {
            for (int f = 0; f < features; f++)
            {
                double centred = x[r * features + f] - batchMean[f];
                matrix[(kept + r) * features + f] = (float)centred;
                variance[f] += centred * centred;
            }
        }
        double shift = Math.Sqrt(Seen / (double)total * rows), all = 0;
        for (int f = 0; f < features; f++)
        {
            double difference = _mean[f] - batchMean[f];
            if (Seen > 0) matrix[(stacked - 1) * features + f] = (float)(shift * difference);
            variance[f] += _variance[f] + Seen / (double)total * rows * difference * difference;
            mean[f] = (Seen * _mean[f] + rows * batchMean[f]) / total;
            all += variance[f];
        }
        Svd svd = TruncatedSvd.Decompose(matrix, stacked, features, components);
        double[]? cosines = Seen == 0 ? null : Cosines(svd.Vt);
        (Components, SingularValues) = (svd.Vt, svd.S);
        Ratios = [.. svd.S.Select(s => all > 0 ? s * s / all : 0)];
        (_mean, _variance, Seen) = (mean, variance, total);
        return cosines;
    }

    // A component's sign is free; PEFT turns its largest entry positive before it compares.
    private double[] Cosines(double[] next)
    {
        double[] cosines = new double[next.Length / features];
        for (int i = 0; i < cosines.Length; i++)
        {
            ReadOnlySpan<double> now = next.AsSpan(i * features, features), before = Components.AsSpan(i * features, features);
            cosines[i] = TensorPrimitives.Dot(now, before) * Sign(now) * Sign(before);
        }
        return cosines;
    }

    private static int Sign(ReadOnlySpan<double> v) => v[TensorPrimitives.IndexOfMaxMagnitude(v)] < 0 ? -1 : 1;
}
