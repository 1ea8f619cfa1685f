using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>A map over equally long arrays: reads and writes one vector at element <c>i</c> of its operands.</summary>
internal interface IPointwise
{
    void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged;
}

internal readonly unsafe struct ActivateMap<TOperator>(float* x, float* y) : IPointwise where TOperator : struct, IActivationOperator
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Store(TOperator.Invoke<TSimd, TVector>(TSimd.Load(x + i)), y + i);
}

internal readonly unsafe struct ActivateBackwardMap<TOperator>(float* dy, float* x, float* dx, bool accumulate) : IPointwise
    where TOperator : struct, IActivationOperator
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TOperator.InvokeBoth<TSimd, TVector>(TSimd.Load(x + i), out TVector slope);
        TVector value = TSimd.Multiply(TSimd.Load(dy + i), slope);
        TSimd.Store(accumulate ? TSimd.Add(TSimd.Load(dx + i), value) : value, dx + i);
    }
}

internal readonly unsafe struct GatedMap<TOperator>(float* gate, float* up, float* y) : IPointwise where TOperator : struct, IActivationOperator
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Store(TSimd.Multiply(TOperator.Invoke<TSimd, TVector>(TSimd.Load(gate + i)), TSimd.Load(up + i)), y + i);
}

internal readonly unsafe struct GatedBackwardMap<TOperator>(float* dy, float* gate, float* up, float* dGate, float* dUp) : IPointwise
    where TOperator : struct, IActivationOperator
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        // All reads come before the writes: the outputs may be the inputs.
        TVector d = TSimd.Load(dy + i);
        TVector u = TSimd.Load(up + i);
        TVector value = TOperator.InvokeBoth<TSimd, TVector>(TSimd.Load(gate + i), out TVector slope);
        TSimd.Store(TSimd.Multiply(TSimd.Multiply(d, u), slope), dGate + i);
        TSimd.Store(TSimd.Multiply(d, value), dUp + i);
    }
}

internal readonly unsafe struct AddMap(float* a, float* b, float* y) : IPointwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Store(TSimd.Add(TSimd.Load(a + i), TSimd.Load(b + i)), y + i);
}

internal readonly unsafe struct ScaleMap(float* x, float alpha, float* y, bool accumulate) : IPointwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector factor = TSimd.Broadcast(alpha);
        TVector value = TSimd.Load(x + i);
        TSimd.Store(accumulate ? TSimd.MultiplyAdd(value, factor, TSimd.Load(y + i)) : TSimd.Multiply(value, factor), y + i);
    }
}

internal readonly unsafe struct BinaryMap(bool divide, float* a, float* b, float* y) : IPointwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged
    {
        TVector left = TSimd.Load(a + i), right = TSimd.Load(b + i);
        TSimd.Store(divide ? TSimd.Divide(left, right) : TSimd.Multiply(left, right), y + i);
    }
}

internal readonly unsafe struct SoftCapMap(float* x, float cap, float* y) : IPointwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Invoke<TSimd, TVector>(nint i) where TSimd : struct, ISimd<TVector> where TVector : unmanaged =>
        TSimd.Store(SoftCapOperator.Invoke<TSimd, TVector>(TSimd.Load(x + i), TSimd.Broadcast(cap), TSimd.Broadcast(1f / cap)), y + i);
}
