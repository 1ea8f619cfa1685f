namespace LoraNet.Tensors.Reference;

public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    public override void Sum(Tensor x, Tensor sum, bool accumulate = false)
    {
        Require.Count(sum, 1);
        double[] result = Elements.Start(sum, accumulate);
        double total = 0;
        foreach (double value in Elements.Read(x)) total += value;
        result[0] += total;
        Elements.Write(result, sum);
    }

    /// <inheritdoc/>
    public override void GradientNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor lossSum, Tensor stats)
    {
        Require.Count(lossSum, 1);
        Require.Count(stats, 3);
        double squares = 0;
        foreach (Tensor gradient in gradients)
            foreach (double value in Elements.Read(gradient)) squares += value * value;
        double norm = Math.Sqrt(squares);
        double factor = maxNorm == 0 ? 1 : Math.Min(1, maxNorm / (norm + 1e-6));
        // Finite as stored: a norm that overflows the type of stats cannot be reported and must not be stepped on.
        bool finite = stats.DType == DType.F64 ? double.IsFinite(norm) : float.IsFinite((float)norm);
        finite &= double.IsFinite(Elements.Read(lossSum)[0]);
        Elements.Write([norm, factor, finite ? 1 : 0], stats);
    }

    /// <inheritdoc/>
    public override void AdamW(IReadOnlyList<AdamWTensor> tensors, AdamWSettings settings, Tensor stats)
    {
        Require.Count(stats, 3);
        double[] scalars = Elements.Read(stats);
        double clip = scalars[1];
        if (scalars[2] == 0) return;
        double beta1 = settings.Beta1, beta2 = settings.Beta2, epsilon = settings.Epsilon;
        double correction1 = 1 - Math.Pow(beta1, settings.Step);
        double correction2 = 1 - Math.Pow(beta2, settings.Step);
        foreach (AdamWTensor tensor in tensors)
        {
            long count = tensor.Parameter.Count;
            Require.Count(tensor.Gradient, count);
            Require.Count(tensor.FirstMoment, count);
            Require.Count(tensor.SecondMoment, count);
            double rate = tensor.LearningRate, decay = tensor.WeightDecay;
            double[] p = Elements.Read(tensor.Parameter), gradient = Elements.Read(tensor.Gradient);
            double[] m = Elements.Read(tensor.FirstMoment), v = Elements.Read(tensor.SecondMoment);
            for (long i = 0; i < count; i++)
            {
                double g = clip * gradient[i];
                p[i] *= 1 - rate * decay;
                m[i] = beta1 * m[i] + (1 - beta1) * g;
                v[i] = beta2 * v[i] + (1 - beta2) * g * g;
                p[i] -= rate / correction1 * m[i] / (Math.Sqrt(v[i]) / Math.Sqrt(correction2) + epsilon);
            }
            Elements.Write(p, tensor.Parameter);
            Elements.Write(m, tensor.FirstMoment);
            Elements.Write(v, tensor.SecondMoment);
        }
    }
}
