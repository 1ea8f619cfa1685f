namespace LoraNet.Tensors.Operators;

/// <summary>
/// The few vector instructions that kernels and operators need, over one vector type: 512, 256 or 128 bits, or one
/// scalar for what is left at the end of a row. Kernels are generic over an implementation, so that one source serves
/// every width; the just-in-time compiler makes each instance a plain loop.
/// </summary>
/// <typeparam name="TVector">Vector512, Vector256 or Vector128 of float, or float.</typeparam>
public unsafe interface ISimd<TVector> where TVector : unmanaged
{
    /// <summary>Elements in a vector.</summary>
    static abstract int Width { get; }

    /// <summary>Reads <see cref="Width"/> values; no alignment is needed.</summary>
    static abstract TVector Load(float* source);

    /// <summary>Reads <see cref="Width"/> bfloat16 values and widens them; exact.</summary>
    static abstract TVector LoadBFloat16(ushort* source);

    /// <summary>Reads <see cref="Width"/> binary16 values and widens them; exact for all values, infinities and NaN included.</summary>
    static abstract TVector LoadHalf(ushort* source);

    /// <summary>Writes <see cref="Width"/> values.</summary>
    static abstract void Store(TVector value, float* destination);

    /// <summary>The same value in all elements.</summary>
    static abstract TVector Broadcast(float value);

    /// <summary>a + b.</summary>
    static abstract TVector Add(TVector a, TVector b);

    /// <summary>a − b.</summary>
    static abstract TVector Subtract(TVector a, TVector b);

    /// <summary>a · b.</summary>
    static abstract TVector Multiply(TVector a, TVector b);

    /// <summary>a / b.</summary>
    static abstract TVector Divide(TVector a, TVector b);

    /// <summary>a · b + c, with one rounding where the processor has such an instruction.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    /// <summary>The greater of both; b where either is NaN on x86, NaN elsewhere.</summary>
    static abstract TVector Max(TVector a, TVector b);

    /// <summary>The smaller of both; b where either is NaN on x86, NaN elsewhere.</summary>
    static abstract TVector Min(TVector a, TVector b);

    /// <summary>√a.</summary>
    static abstract TVector Sqrt(TVector a);

    /// <summary>|a|.</summary>
    static abstract TVector Abs(TVector a);

    /// <summary>The magnitude of <paramref name="magnitude"/> with the sign of <paramref name="sign"/>.</summary>
    static abstract TVector CopySign(TVector magnitude, TVector sign);

    /// <summary>a &gt; b ? whenTrue : whenFalse, element by element; whenFalse where either is NaN.</summary>
    static abstract TVector SelectGreater(TVector a, TVector b, TVector whenTrue, TVector whenFalse);

    /// <summary>The bits of <paramref name="a"/> plus the bits of <paramref name="b"/> shifted left by 23: multiplies a by 2ⁿ
    /// when the low bits of b hold n.</summary>
    static abstract TVector AddExponent(TVector a, TVector b);

    /// <summary>Sum of the elements, always in the same order.</summary>
    static abstract float Sum(TVector a);

    /// <summary>Greatest element.</summary>
    static abstract float MaxElement(TVector a);
}
