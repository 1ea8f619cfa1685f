using LoraNet.Tensors.Reference;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>The reference in binary32 against itself in double: shows that the suite's tolerances suit one rounding of each output.</summary>
public sealed class ReferenceF32Conformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new ReferenceBackend();

    protected override Backend CreateReference() => new ReferenceBackend(DType.F64);

    // Large cases are about tiles and threads, of which the reference has none.
    protected override bool LargeCases => false;

    public void Dispose() => Backend.Dispose();
}

/// <summary>The reference in bfloat16 against itself in double: shows that the tolerances for GPUs suit one rounding.</summary>
public sealed class ReferenceBF16Conformance : BackendConformance, IDisposable
{
    protected override Backend Backend { get; } = new ReferenceBackend(DType.BF16);

    protected override Backend CreateReference() => new ReferenceBackend(DType.F64);

    // Large cases are about tiles and threads, of which the reference has none.
    protected override bool LargeCases => false;

    public void Dispose() => Backend.Dispose();
}
