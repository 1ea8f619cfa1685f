using FsCheck.Xunit;
using LoraNet.Tensors;
using LoraNet.Tests.Conformance;

namespace LoraNet.Cuda.Tests;

/// <summary>One backend for all tests of a class: kernels are compiled once.</summary>
public sealed class CpuAcceleratorF32 : IDisposable
{
    public CudaBackend Backend { get; } = CudaBackend.CreateOnCpuAccelerator(DType.F32);

    public void Dispose() => Backend.Dispose();
}

/// <inheritdoc cref="CpuAcceleratorF32"/>
public sealed class CpuAcceleratorBF16 : IDisposable
{
    public CudaBackend Backend { get; } = CudaBackend.CreateOnCpuAccelerator(DType.BF16);

    public void Dispose() => Backend.Dispose();
}

/// <summary>The C# kernels on ILGPU's CPU accelerator. Few cases each: simulating a thread group takes a fraction of a millisecond.</summary>
[SeededProperties(MaxTest = 6, Arbitrary = [typeof(Arbitraries)])]
public sealed class CpuAcceleratorF32Conformance(CpuAcceleratorF32 fixture) : BackendConformance, IClassFixture<CpuAcceleratorF32>
{
    protected override Backend Backend => fixture.Backend;

    protected override bool LargeCases => false;
}

/// <summary>The same with 16-bit activations, where packing and rounding differ.</summary>
[SeededProperties(MaxTest = 3, Arbitrary = [typeof(Arbitraries)])]
public sealed class CpuAcceleratorBF16Conformance(CpuAcceleratorBF16 fixture) : BackendConformance, IClassFixture<CpuAcceleratorBF16>
{
    protected override Backend Backend => fixture.Backend;

    protected override bool LargeCases => false;
}
