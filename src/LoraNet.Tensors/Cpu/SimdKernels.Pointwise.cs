using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>Maps over whole arrays: one loop for all of them.</summary>
internal sealed unsafe partial class SimdKernels<TSimd, TVector>
{
    /// <summary>Elements of a chunk: a few arrays of it fit the second-level cache.</summary>
    private const int PointwiseChunk = 16 * 1024;

    /// <inheritdoc/>
    public override void Activate<TOperator>(float* x, float* y, long count) => Map(new ActivateMap<TOperator>(x, y), count);

    /// <inheritdoc/>
    public override void ActivateBackward<TOperator>(float* dy, float* x, float* dx, long count, bool accumulate) =>
        Map(new ActivateBackwardMap<TOperator>(dy, x, dx, accumulate), count);

    /// <inheritdoc/>
    public override void Gated<TOperator>(float* gate, float* up, float* y, long count) => Map(new GatedMap<TOperator>(gate, up, y), count);

    /// <inheritdoc/>
    public override void GatedBackward<TOperator>(float* dy, float* gate, float* up, float* dGate, float* dUp, long count) =>
        Map(new GatedBackwardMap<TOperator>(dy, gate, up, dGate, dUp), count);

    /// <inheritdoc/>
    public override void Add(float* a, float* b, float* y, long count) => Map(new AddMap(a, b, y), count);

    /// <inheritdoc/>
    public override void Scale(float* x, float alpha, float* y, long count, bool accumulate)
    {
        if (alpha == 1f && !accumulate && x == y) return;
        Map(new ScaleMap(x, alpha, y, accumulate), count);
    }

    /// <inheritdoc/>
    public override void VectorBinary(bool divide, float* a, float* b, float* y, long count) => Map(new BinaryMap(divide, a, b, y), count);

    /// <inheritdoc/>
    public override void SoftCap(float* x, float cap, float* y, long count) => Map(new SoftCapMap(x, cap, y), count);

    private void Map<TMap>(TMap map, long count) where TMap : struct, IPointwise
    {
        MapAction<TMap> action = new() { Map = map, Count = count };
        Run((int)((count + PointwiseChunk - 1) / PointwiseChunk), count, ref action);
    }

    private struct MapAction<TMap> : IChunkAction where TMap : struct, IPointwise
    {
        public TMap Map;
        public long Count;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public readonly void Invoke(int chunk)
        {
            // A local copy tells the compiler that the pointers do not change.
            TMap map = Map;
            nint i = (nint)chunk * PointwiseChunk;
            nint end = (nint)Math.Min(Count, i + (long)PointwiseChunk);
            for (; i + TSimd.Width <= end; i += TSimd.Width) map.Invoke<TSimd, TVector>(i);
            for (; i < end; i++) map.Invoke<SimdScalar, float>(i);
        }
    }
}
