namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void CrossEntropy(Tensor logits, Tensor targets, float gradScale, float softCap, Tensor loss, Tensor? dLogits)
    {
        int m = logits.Rows, v = logits.Columns;
        Require.Count(targets, m);
        Require.Count(loss, m);
        if (dLogits is not null) Require.Same(dLogits, logits);
        double[] values = Elements.Read(logits);
        int[] classes = Elements.ReadIndices(targets);
        double[] losses = new double[m], gradients = new double[values.LongLength], row = new double[v], slope = new double[v];
        for (long i = 0; i < m; i++)
        {
            int target = classes[i];
            if (target < 0) continue;
            Require.Index(target, v, nameof(targets));
            double maximum = double.NegativeInfinity;
            for (int j = 0; j < v; j++)
            {
                double tanh = softCap == 0 ? 0 : Math.Tanh(values[i * v + j] / softCap);
                row[j] = softCap == 0 ? values[i * v + j] : softCap * tanh;
                slope[j] = 1 - tanh * tanh;
                maximum = Math.Max(maximum, row[j]);
            }
            double sum = 0;
            for (int j = 0; j < v; j++) sum += Math.Exp(row[j] - maximum);
            losses[i] = maximum + Math.Log(sum) - row[target];
            for (int j = 0; j < v; j++)
                gradients[i * v + j] = gradScale * (Math.Exp(row[j] - maximum) / sum - (j == target ? 1 : 0)) * slope[j];
        }
        Elements.Write(losses, loss);
        if (dLogits is not null) Elements.Write(gradients, dLogits);
    }
}
