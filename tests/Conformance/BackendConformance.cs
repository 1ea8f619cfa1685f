using FsCheck.Xunit;
using LoraNet.Tensors;
using LoraNet.Tensors.Reference;

namespace LoraNet.Tests.Conformance;

/// <summary>
/// Every operation of the kernel contract, forward and backward, on any backend against the scalar reference. A test
/// project derives one class per backend; xunit runs all properties of it. Put <c>[Properties(MaxTest = …)]</c> with
/// <c>Arbitrary = [typeof(Arbitraries)]</c> on the derived class to change the number of cases.
/// </summary>
[SeededProperties(Arbitrary = [typeof(Arbitraries)])]
public abstract partial class BackendConformance
{
    private Backend? _reference;

    /// <summary>The backend under test; the derived class owns it.</summary>
    protected abstract Backend Backend { get; }

    /// <summary>What it is compared with: the reference in the same types.</summary>
    protected virtual Backend CreateReference() => new ReferenceBackend(Backend.ComputeType);

    /// <summary>
    /// Relative error of the norm of an output, by the output's type.
    /// F32: a sum of n products in binary32 errs by about √n·2⁻²⁴, 1e-6 at the sizes of this suite, plus a few units in the
    /// last place of vectorised exp and tanh; a few times that still shows any wrong or missing term.
    /// BF16, F16: both sides round to nearest, but a sum in binary32 and one in double may fall on the two sides of a tie:
    /// one unit in the last place, 2⁻⁷ or 2⁻¹⁰, which in an output of one element is the whole norm.
    /// </summary>
    protected virtual double Tolerance(DType output) => output switch
    {
        DType.F64 => 1e-12,
        DType.BF16 => 1 / 128.0,
        DType.F16 => 1 / 1024.0,
        _ => 4e-6,
    };

    /// <summary>Relative error of attention, whose kernels may round probabilities to the compute type before the second product.</summary>
    protected virtual double AttentionTolerance(DType output) => Tolerance(output);

    private Case Start(DataSeed seed) => new(Backend, _reference ??= CreateReference(), Tolerance, seed);
}
