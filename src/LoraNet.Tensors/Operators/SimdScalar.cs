using System.Runtime.CompilerServices;

namespace LoraNet.Tensors.Operators;

/// <summary>A vector of one element: the same algorithms, operation for operation, for what is left at the end of a row.</summary>
public readonly unsafe struct SimdScalar : ISimd<float>
{
    /// <inheritdoc/>
    public static int Width => 1;

    /// <inheritdoc/>
    public static float Load(float* source) => *source;

    /// <inheritdoc/>
    public static float LoadBFloat16(ushort* source) => BFloat16.ToSingle(*source);

    /// <inheritdoc/>
    public static float LoadHalf(ushort* source) => (float)*(Half*)source;

    /// <inheritdoc/>
    public static void Store(float value, float* destination) => *destination = value;

    /// <inheritdoc/>
    public static float Broadcast(float value) => value;

    /// <inheritdoc/>
    public static float Add(float a, float b) => a + b;

    /// <inheritdoc/>
    public static float Subtract(float a, float b) => a - b;

    /// <inheritdoc/>
    public static float Multiply(float a, float b) => a * b;

    /// <inheritdoc/>
    public static float Divide(float a, float b) => a / b;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float MultiplyAdd(float a, float b, float c) => float.MultiplyAddEstimate(a, b, c);

    /// <inheritdoc/>
    public static float Max(float a, float b) => a > b ? a : b;

    /// <inheritdoc/>
    public static float Min(float a, float b) => a < b ? a : b;

    /// <inheritdoc/>
    public static float Sqrt(float a) => MathF.Sqrt(a);

    /// <inheritdoc/>
    public static float Abs(float a) => MathF.Abs(a);

    /// <inheritdoc/>
    public static float CopySign(float magnitude, float sign) => MathF.CopySign(magnitude, sign);

    /// <inheritdoc/>
    public static float SelectGreater(float a, float b, float whenTrue, float whenFalse) => a > b ? whenTrue : whenFalse;

    /// <inheritdoc/>
    public static float AddExponent(float a, float b) =>
        BitConverter.Int32BitsToSingle(BitConverter.SingleToInt32Bits(a) + (BitConverter.SingleToInt32Bits(b) << 23));

    /// <inheritdoc/>
    public static float Sum(float a) => a;

    /// <inheritdoc/>
    public static float MaxElement(float a) => a;
}
