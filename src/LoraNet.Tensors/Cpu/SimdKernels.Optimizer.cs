using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;
using Use = LoraNet.Tensors.Cpu.ThreadScratch.Use;

namespace LoraNet.Tensors.Cpu;

/// <summary>A piece of one tensor that AdamW updates.</summary>
internal unsafe struct AdamWSlice
{
    /// <summary>Most elements of a slice.</summary>
    public const int Length = 8 * 1024;

    public float* Parameter, Gradient, FirstMoment, SecondMoment;
    public int Count;
    public float LearningRate, WeightDecay;
}

/// <summary>AdamW and the sums that gradient clipping needs.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <inheritdoc/>
    public override void AdamW(in AdamWSettings settings, AdamWSlice* slices, int count, float gradientFactor)
    {
        AdamWAction action = new()
        {
            Slices = slices,
            Factor = gradientFactor,
            Beta1 = settings.Beta1,
            Beta2 = settings.Beta2,
            Epsilon = settings.Epsilon,
            Correction1 = (float)(1.0 / (1.0 - Math.Pow(settings.Beta1, settings.Step))),
            Correction2 = (float)(1.0 / Math.Sqrt(1.0 - Math.Pow(settings.Beta2, settings.Step))),
        };
        Run(count, (long)count * AdamWSlice.Length / 2, ref action);
    }

    private struct AdamWAction : IChunkAction
    {
        public AdamWSlice* Slices;
        public float Factor, Beta1, Beta2, Epsilon, Correction1, Correction2;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Invoke(int chunk)
        {
            AdamWSlice s = Slices[chunk];
            float decay = (float)(1.0 - (double)s.LearningRate * s.WeightDecay);
            float rate = -s.LearningRate * Correction1;
            int i = 0;
            for (; i + TSimd.Width <= s.Count; i += TSimd.Width) Update<TSimd, TVector>(in s, i, decay, rate);
            for (; i < s.Count; i++) Update<SimdScalar, float>(in s, i, decay, rate);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private readonly void Update<TS, TV>(in AdamWSlice s, int i, float decay, float rate) where TS : struct, ISimd<TV> where TV : unmanaged
        {
            TV g = TS.Multiply(TS.Load(s.Gradient + i), TS.Broadcast(Factor));
            TV m = TS.Load(s.FirstMoment + i);
            m = TS.MultiplyAdd(TS.Subtract(g, m), TS.Broadcast(1f - Beta1), m);
            TV v = TS.MultiplyAdd(TS.Multiply(g, g), TS.Broadcast(1f - Beta2), TS.Multiply(TS.Load(s.SecondMoment + i), TS.Broadcast(Beta2)));
            TS.Store(m, s.FirstMoment + i);
            TS.Store(v, s.SecondMoment + i);
            TV denominator = TS.MultiplyAdd(TS.Sqrt(v), TS.Broadcast(Correction2), TS.Broadcast(Epsilon));
            TV p = TS.Multiply(TS.Load(s.Parameter + i), TS.Broadcast(decay));
            TS.Store(TS.MultiplyAdd(TS.Divide(m, denominator), TS.Broadcast(rate), p), s.Parameter + i);
        }
    }

    /// <summary>Elements summed into one partial sum.</summary>
    private const int SumBlock = 16 * 1024;

    /// <inheritdoc/>
    public override double SumOfSquares(float* x, long count) => BlockSum(x, count, true);

    /// <inheritdoc/>
    public override double Sum(float* x, long count) => BlockSum(x, count, false);

    private double BlockSum(float* x, long count, bool squares)
    {
        int blocks = (int)((count + SumBlock - 1) / SumBlock);
        double* partials = (double*)ThreadScratch.Bytes(Use.Partials, sizeof(double) * (long)Math.Max(1, blocks));
        SumAction action = new() { X = x, Count = count, Squares = squares, Partials = partials };
        Run(blocks, count, ref action);
        double total = 0;
        for (int i = 0; i < blocks; i++) total += partials[i];
        return total;
    }

    private struct SumAction : IChunkAction
    {
        public float* X;
        public long Count;
        public bool Squares;
        public double* Partials;

        public readonly void Invoke(int chunk)
        {
            const int Part = 512;
            Span<double> wide = stackalloc double[Part];
            long start = (long)chunk * SumBlock, end = Math.Min(Count, start + SumBlock);
            double total = 0;
            for (; start < end; start += Part)
            {
                Span<double> part = wide[..(int)Math.Min(Part, end - start)];
                TensorPrimitives.ConvertTruncating(new ReadOnlySpan<float>(X + start, part.Length), part);
                total += Squares ? TensorPrimitives.SumOfSquares<double>(part) : TensorPrimitives.Sum<double>(part);
            }
            Partials[chunk] = total;
        }
    }
}
