using LoraNet.Tensors.Reference;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void CrossEntropy(Tensor logits, Tensor targets, float gradScale, float softCap, Tensor loss, Tensor? dLogits)
    {
        Require.Count(targets, logits.Rows);
        Require.Count(loss, logits.Rows);
        if (dLogits is not null) Require.Same(dLogits, logits);
        float* l = Write(loss, Use.Operand1), d = dLogits is null ? null : Write(dLogits, Use.Operand2);
        _kernels.CrossEntropy(Read(logits, Use.Operand0), Indices(targets), gradScale, softCap, l, d, logits.Rows, logits.Columns);
        Finish(loss, l);
        if (dLogits is not null) Finish(dLogits, d);
    }

    /// <inheritdoc/>
    public override void Sum(Tensor x, Tensor sum, bool accumulate = false)
    {
        Require.Count(sum, 1);
        float* c = Write(sum, Use.Operand1, accumulate);
        double total = _kernels.Sum(Read(x, Use.Operand0), x.Count);
        c[0] = (float)(accumulate ? c[0] + total : total);
        Finish(sum, c);
    }

    /// <inheritdoc/>
    public override void GradientNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor lossSum, Tensor stats)
    {
        Require.Count(lossSum, 1);
        Require.Count(stats, 3);
        double squares = 0;
        for (int i = 0; i < gradients.Count; i++) squares += _kernels.SumOfSquares(Read(gradients[i], Use.Operand0), gradients[i].Count);
        double norm = Math.Sqrt(squares);
        float* c = Write(stats, Use.Operand1);
        c[0] = (float)norm;
        c[1] = maxNorm == 0f ? 1f : (float)Math.Min(1, maxNorm / (norm + 1e-6));
        c[2] = float.IsFinite(c[0]) && float.IsFinite(Read(lossSum, Use.Operand2)[0]) ? 1f : 0f;
        Finish(stats, c);
    }

    /// <inheritdoc/>
    public override void AdamW(IReadOnlyList<AdamWTensor> tensors, AdamWSettings settings, Tensor stats)
    {
        Require.Count(stats, 3);
        float* scalars = Read(stats, Use.Operand0);
        if (scalars[2] == 0f) return;
        float factor = scalars[1];
        int slices = 0;
        for (int i = 0; i < tensors.Count; i++)
        {
            AdamWTensor tensor = tensors[i];
            long count = tensor.Parameter.Count;
            Require.Count(tensor.Gradient, count);
            Require.Count(tensor.FirstMoment, count);
            Require.Count(tensor.SecondMoment, count);
            if (tensor.Parameter.DType == DType.F32) slices += (int)((count + AdamWSlice.Length - 1) / AdamWSlice.Length);
        }
        AdamWSlice* list = (AdamWSlice*)ThreadScratch.Bytes(Use.Partials, sizeof(AdamWSlice) * (long)Math.Max(1, slices));
        int filled = 0;
        for (int i = 0; i < tensors.Count; i++)
        {
            AdamWTensor tensor = tensors[i];
            if (tensor.Parameter.DType != DType.F32 || tensor.Gradient.DType != DType.F32 || tensor.FirstMoment.DType != DType.F32 || tensor.SecondMoment.DType != DType.F32)
                throw new ArgumentException("Parameters, gradients and moments on the CPU backend are F32.");
            for (long start = 0; start < tensor.Parameter.Count; start += AdamWSlice.Length)
            {
                list[filled++] = new AdamWSlice
                {
                    Parameter = (float*)tensor.Parameter.Address + start,
                    Gradient = (float*)tensor.Gradient.Address + start,
                    FirstMoment = (float*)tensor.FirstMoment.Address + start,
                    SecondMoment = (float*)tensor.SecondMoment.Address + start,
                    Count = (int)Math.Min(AdamWSlice.Length, tensor.Parameter.Count - start),
                    LearningRate = tensor.LearningRate,
                    WeightDecay = tensor.WeightDecay,
                };
            }
        }
        _kernels.AdamW(settings, list, filled, factor);
    }
}
