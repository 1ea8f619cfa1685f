using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>Reductions of one row, always in the same order.</summary>
internal static unsafe class RowMath<TSimd, TVector> where TSimd : struct, ISimd<TVector> where TVector : unmanaged
{
    /// <summary>Σ x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Sum(float* x, int count)
    {
        TVector a = TSimd.Broadcast(0f), b = a;
        int i = 0;
        for (; i + 2 * TSimd.Width <= count; i += 2 * TSimd.Width)
        {
            a = TSimd.Add(a, TSimd.Load(x + i));
            b = TSimd.Add(b, TSimd.Load(x + i + TSimd.Width));
        }
        float total = TSimd.Sum(TSimd.Add(a, b));
        for (; i < count; i++) total += x[i];
        return total;
    }

    /// <summary>Σ (x − center)².</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float SumOfSquares(float* x, float center, int count)
    {
        TVector a = TSimd.Broadcast(0f), b = a, m = TSimd.Broadcast(center);
        int i = 0;
        for (; i + 2 * TSimd.Width <= count; i += 2 * TSimd.Width)
        {
            TVector u = TSimd.Subtract(TSimd.Load(x + i), m), v = TSimd.Subtract(TSimd.Load(x + i + TSimd.Width), m);
            a = TSimd.MultiplyAdd(u, u, a);
            b = TSimd.MultiplyAdd(v, v, b);
        }
        float total = TSimd.Sum(TSimd.Add(a, b));
        for (; i < count; i++) total += (x[i] - center) * (x[i] - center);
        return total;
    }

    /// <summary>Σ x·y.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Dot(float* x, float* y, int count)
    {
        TVector a = TSimd.Broadcast(0f), b = a;
        int i = 0;
        for (; i + 2 * TSimd.Width <= count; i += 2 * TSimd.Width)
        {
            a = TSimd.MultiplyAdd(TSimd.Load(x + i), TSimd.Load(y + i), a);
            b = TSimd.MultiplyAdd(TSimd.Load(x + i + TSimd.Width), TSimd.Load(y + i + TSimd.Width), b);
        }
        for (; i + TSimd.Width <= count; i += TSimd.Width) a = TSimd.MultiplyAdd(TSimd.Load(x + i), TSimd.Load(y + i), a);
        float total = TSimd.Sum(TSimd.Add(a, b));
        for (; i < count; i++) total += x[i] * y[i];
        return total;
    }

    /// <summary>y += alpha·x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddScaled(float alpha, float* x, float* y, int count)
    {
        TVector factor = TSimd.Broadcast(alpha);
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width) TSimd.Store(TSimd.MultiplyAdd(factor, TSimd.Load(x + i), TSimd.Load(y + i)), y + i);
        for (; i < count; i++) y[i] += alpha * x[i];
    }

    /// <summary>max x; −∞ for none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Max(float* x, int count)
    {
        TVector a = TSimd.Broadcast(float.NegativeInfinity), b = a;
        int i = 0;
        for (; i + 2 * TSimd.Width <= count; i += 2 * TSimd.Width)
        {
            a = TSimd.Max(a, TSimd.Load(x + i));
            b = TSimd.Max(b, TSimd.Load(x + i + TSimd.Width));
        }
        float max = TSimd.MaxElement(TSimd.Max(a, b));
        for (; i < count; i++) max = x[i] > max ? x[i] : max;
        return max;
    }

    /// <summary>y = e^(x − max), returns the sum. y may be x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float ExpSum(float* x, float max, float* y, int count)
    {
        TVector m = TSimd.Broadcast(max), a = TSimd.Broadcast(0f);
        int i = 0;
        for (; i + TSimd.Width <= count; i += TSimd.Width)
        {
            TVector e = SimdMath.ExpNonPositive<TSimd, TVector>(TSimd.Subtract(TSimd.Load(x + i), m));
            a = TSimd.Add(a, e);
            TSimd.Store(e, y + i);
        }
        float total = TSimd.Sum(a);
        for (; i < count; i++)
        {
            float e = SimdMath.ExpNonPositive<SimdScalar, float>(x[i] - max);
            total += e;
            y[i] = e;
        }
        return total;
    }
}
