using System.Runtime.Intrinsics;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>Errors of the vector functions against System.Math, over the ranges that their documentation states.</summary>
public sealed class SimdMathTests
{
    [Fact]
    public void Exp_is_within_2e_7()
    {
        double worst = 0;
        for (float x = -87f; x <= 88.7f; x += 0.00037f)
        {
            float y = SimdMath.Exp<SimdScalar, float>(x);
            worst = Math.Max(worst, Math.Abs(y / Math.Exp(x) - 1));
            if (x <= 0) worst = Math.Max(worst, Math.Abs(SimdMath.ExpNonPositive<SimdScalar, float>(x) / Math.Exp(x) - 1));
        }
        Assert.InRange(worst, 0, 2e-7);
    }

    [Fact]
    public void Exp_at_the_ends()
    {
        Assert.Equal(0f, SimdMath.Exp<SimdScalar, float>(-200f));
        Assert.Equal(0f, SimdMath.Exp<SimdScalar, float>(float.NegativeInfinity));
        Assert.Equal(float.PositiveInfinity, SimdMath.Exp<SimdScalar, float>(89f));
        Assert.Equal(float.PositiveInfinity, SimdMath.Exp<SimdScalar, float>(float.PositiveInfinity));
        Assert.True(float.IsNaN(SimdMath.Exp<SimdScalar, float>(float.NaN)));
        Assert.True(float.IsNaN(SimdMath.ExpNonPositive<Simd256, Vector256<float>>(Vector256.Create(float.NaN))[3]));
        Assert.Equal(1f, SimdMath.Exp<SimdScalar, float>(0f));
    }

    [Fact]
    public void Tanh_and_erf_are_within_their_bounds()
    {
        double tanh = 0, erf = 0;
        for (float x = -10f; x <= 10f; x += 0.00013f)
        {
            if (x != 0) tanh = Math.Max(tanh, Math.Abs(SimdMath.Tanh<SimdScalar, float>(x) / Math.Tanh(x) - 1));
            if (x != 0) tanh = Math.Max(tanh, Math.Abs(ScalarMath.Tanh(x) / Math.Tanh(x) - 1));
            erf = Math.Max(erf, Math.Abs(SimdMath.Erf<SimdScalar, float>(x) - (1 - LoraNet.Tensors.Reference.Erf.Complement(x))));
            erf = Math.Max(erf, Math.Abs(ScalarMath.Erf(x) - (1 - LoraNet.Tensors.Reference.Erf.Complement(x))));
        }
        Assert.InRange(tanh, 0, 4e-7);
        Assert.InRange(erf, 0, 2e-7);
    }

    [Fact]
    public void Every_width_gives_the_scalar_result()
    {
        Random random = new(3);
        for (int round = 0; round < 2000; round++)
        {
            float x = (float)(random.NextDouble() * 40 - 20);
            float exp = SimdMath.Exp<SimdScalar, float>(x), tanh = SimdMath.Tanh<SimdScalar, float>(x), erf = SimdMath.Erf<SimdScalar, float>(x);
            Assert.Equal(exp, SimdMath.Exp<Simd128, Vector128<float>>(Vector128.Create(x))[1]);
            Assert.Equal(exp, SimdMath.Exp<Simd256, Vector256<float>>(Vector256.Create(x))[5]);
            Assert.Equal(exp, SimdMath.Exp<Simd512, Vector512<float>>(Vector512.Create(x))[9]);
            Assert.Equal(tanh, SimdMath.Tanh<Simd512, Vector512<float>>(Vector512.Create(x))[0]);
            Assert.Equal(erf, SimdMath.Erf<Simd512, Vector512<float>>(Vector512.Create(x))[15]);
        }
    }

    [Fact]
    public unsafe void Half_and_bfloat16_widen_exactly()
    {
        ushort* bits = stackalloc ushort[16];
        float* wide = stackalloc float[16];
        for (int start = 0; start < 65536; start += 16)
        {
            for (int i = 0; i < 16; i++) bits[i] = (ushort)(start + i);
            Simd512.Store(Simd512.LoadHalf(bits), wide);
            for (int i = 0; i < 16; i++) Same((float)BitConverter.UInt16BitsToHalf(bits[i]), wide[i]);
            Simd256.Store(Simd256.LoadHalf(bits), wide);
            for (int i = 0; i < 8; i++) Same((float)BitConverter.UInt16BitsToHalf(bits[i]), wide[i]);
            Simd128.Store(Simd128.LoadBFloat16(bits), wide);
            for (int i = 0; i < 4; i++) Same(BFloat16.ToSingle(bits[i]), wide[i]);
        }

        static void Same(float expected, float actual)
        {
            if (float.IsNaN(expected)) Assert.True(float.IsNaN(actual));
            else Assert.Equal(BitConverter.SingleToUInt32Bits(expected), BitConverter.SingleToUInt32Bits(actual));
        }
    }

    [Fact]
    public void Activations_agree_between_scalar_and_vector_and_their_derivatives()
    {
        Check<SiluOperator>();
        Check<GeluOperator>();
        Check<GeluTanhOperator>();
        Check<ReluOperator>();
        Check<TanhOperator>();

        static void Check<TOperator>() where TOperator : struct, IActivationOperator
        {
            for (float x = -9f; x < 9f; x += 0.0713f)
            {
                float value = TOperator.InvokeBoth<SimdScalar, float>(x, out float slope);
                Assert.Equal(TOperator.Invoke(x), value, 2e-6);
                Assert.Equal(TOperator.Invoke<SimdScalar, float>(x), value, 2e-6);
                Assert.Equal(TOperator.Derivative(x), slope, 2e-6);
                Assert.Equal(TOperator.Derivative(x), (TOperator.Invoke(x + 0.01f) - TOperator.Invoke(x - 0.01f)) / 0.02f, 1e-2);
            }
        }
    }
}
