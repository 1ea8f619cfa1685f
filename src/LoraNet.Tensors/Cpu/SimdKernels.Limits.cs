using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LoraNet.Tensors.Cpu;

/// <summary>Samples of what this processor can do at best, with the threads and vectors of the kernels.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    private const int Rounds = 5;

    /// <inheritdoc/>
    public override double MultiplyAddRate()
    {
        // A few milliseconds a round, in more chunks than threads, as the kernels do it.
        const int Loops = 100_000;
        int chunks = 4 * Pool.Threads;
        float* sink = stackalloc float[chunks];
        double best = 0;
        for (int round = 0; round < Rounds; round++)
        {
            ChainAction action = new() { Loops = Loops, Sink = sink };
            long start = Stopwatch.GetTimestamp();
            Pool.Run(chunks, ref action);
            best = Math.Max(best, (double)chunks * Loops * 24 * TSimd.Width / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return best;
    }

    /// <inheritdoc/>
    public override double CopyRate()
    {
        const int Part = 1 << 20;
        // More than the caches of most processors hold.
        const int Parts = 96;
        byte* from = (byte*)NativeMemory.AlignedAlloc((nuint)Parts * Part, 4096), to = null;
        try
        {
            to = (byte*)NativeMemory.AlignedAlloc((nuint)Parts * Part, 4096);
            new Span<byte>(from, Parts * Part).Fill(1);
            double best = 0;
            for (int round = 0; round < Rounds; round++)
            {
                CopyAction action = new() { From = from, To = to, Length = Part };
                long start = Stopwatch.GetTimestamp();
                Pool.Run(Parts, ref action);
                // The first round touches new pages.
                if (round > 0) best = Math.Max(best, 2.0 * Parts * Part / Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            return best;
        }
        finally
        {
            NativeMemory.AlignedFree(from);
            NativeMemory.AlignedFree(to);
        }
    }

    private struct CopyAction : IChunkAction
    {
        public byte* From, To;
        public int Length;

        public readonly void Invoke(int chunk) => Buffer.MemoryCopy(From + (nint)chunk * Length, To + (nint)chunk * Length, Length, Length);
    }

    private struct ChainAction : IChunkAction
    {
        public int Loops;
        public float* Sink;

        public readonly void Invoke(int chunk) => Sink[chunk] = Chains(Loops);

        // Twelve independent chains hide the latency; the result is used, or the loop would be removed.
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        private static float Chains(int loops)
        {
            TVector a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11;
            a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = TSimd.Broadcast(loops);
            TVector x = TSimd.Broadcast(0.5f), y = TSimd.Broadcast(1f);
            for (int i = 0; i < loops; i++)
            {
                a0 = TSimd.MultiplyAdd(a0, x, y);
                a1 = TSimd.MultiplyAdd(a1, x, y);
                a2 = TSimd.MultiplyAdd(a2, x, y);
                a3 = TSimd.MultiplyAdd(a3, x, y);
                a4 = TSimd.MultiplyAdd(a4, x, y);
                a5 = TSimd.MultiplyAdd(a5, x, y);
                a6 = TSimd.MultiplyAdd(a6, x, y);
                a7 = TSimd.MultiplyAdd(a7, x, y);
                a8 = TSimd.MultiplyAdd(a8, x, y);
                a9 = TSimd.MultiplyAdd(a9, x, y);
                a10 = TSimd.MultiplyAdd(a10, x, y);
                a11 = TSimd.MultiplyAdd(a11, x, y);
            }
            TVector s = TSimd.Add(TSimd.Add(TSimd.Add(a0, a1), TSimd.Add(a2, a3)), TSimd.Add(TSimd.Add(a4, a5), TSimd.Add(a6, a7)));
            return TSimd.Sum(TSimd.Add(s, TSimd.Add(TSimd.Add(a8, a9), TSimd.Add(a10, a11))));
        }
    }
}
