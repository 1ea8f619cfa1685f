using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Profiling;
using LoraNet.Tests.Conformance;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>The timing wrapper hands every operation on unchanged: equal to the bit.</summary>
public sealed class ProfilingConformance : BackendConformance, IDisposable
{
    private readonly CpuBackend _plain = new(new CpuBackendOptions { Threads = 1 });

    protected override Backend Backend { get; } = new ProfilingBackend(new CpuBackend(new CpuBackendOptions { Threads = 2 }));

    protected override Backend CreateReference() => _plain;

    protected override double Tolerance(DType output) => 0;

    public void Dispose()
    {
        Backend.Dispose();
        _plain.Dispose();
    }
}

public sealed class ProfilingTests
{
    [Fact]
    public void CallsOperationsAndBytesAreCounted()
    {
        using ProfilingBackend backend = new(new CpuBackend(new CpuBackendOptions { Threads = 1 }));
        Weight weight = new("w", HostTensor.Copy(new float[5 * 3], 5, 3));
        Tensor x = backend.Create(new float[7 * 3], 7, 3), y = backend.Create(new float[7 * 5], 7, 5);
        Tensor left = backend.Create(new float[7 * 2], 7, 2), right = backend.Create(new float[5 * 2], 5, 2);
        backend.Linear(x, weight, null, null, y);
        backend.Linear(x, weight, null, new LowRank(left, right), y);
        backend.LinearBackwardInput(y, weight, null, x);
        backend.Add(y, y, y);

        OperationTime linear = Assert.Single(backend.Times, static t => t.Name == "linear 3 → 5");
        Assert.Equal(2, linear.Calls);
        Assert.Equal((2 * 7 * 5 * 3) + (2 * 7 * 5 * (3 + 2)), linear.Flops);
        Assert.Equal(2 * 4 * (5 * 3 + 7 * 3 + 7 * 5), linear.Bytes);
        Assert.True(linear.Milliseconds > 0);
        Assert.Equal(2 * 7 * 5 * 3, Assert.Single(backend.Times, static t => t.Name == "linear backward 5 → 3").Flops);
        OperationTime add = Assert.Single(backend.Times, static t => t.Name == "add");
        Assert.Equal((1, 0, 3 * 4 * 7 * 5), (add.Calls, add.Flops, add.Bytes));

        backend.Reset();
        Assert.Empty(backend.Times);
    }

    [Fact]
    public void AttentionCountsVisiblePairsOnly()
    {
        using ProfilingBackend backend = new(new CpuBackend(new CpuBackendOptions { Threads = 1 }));
        const int Rows = 6, Heads = 2, Size = 4;
        Tensor New() => backend.Create(new float[Rows * Heads * Size], Rows, Heads * Size);
        AttentionOperands operands = new(New(), New(), New(), New(), backend.Create(new float[Rows * Heads], Rows, Heads), AttentionLayout.Packed([4, 2], causal: true), Heads, Heads, 1f, 0f);
        backend.Attention(operands);
        backend.AttentionBackward(operands, New(), New(), New(), New());
        // 4·5/2 and 2·3/2 pairs; two products forward, five backward, two operations an element.
        const double Pairs = 10 + 3, Width = Heads * Size;
        Assert.Equal(4 * Pairs * Width, Assert.Single(backend.Times, static t => t.Name == "attention").Flops);
        Assert.Equal(10 * Pairs * Width, Assert.Single(backend.Times, static t => t.Name == "attention backward").Flops);
    }

    [Fact]
    public void TheNearerLimitCounts()
    {
        MachineLimits limits = new(GigaflopsPerSecond: 100, GigabytesPerSecond: 10);
        Assert.Equal(0.5, new OperationTime("arithmetic", 1, 2, Flops: 1e8, Bytes: 1e6).PartOfLimit(limits), 12);
        Assert.Equal(0.25, new OperationTime("memory", 1, 4, Flops: 1e6, Bytes: 1e7).PartOfLimit(limits), 12);
    }

    [Fact]
    public void LimitsAreSampled()
    {
        using CpuBackend backend = new(new CpuBackendOptions { Threads = 1 });
        MachineLimits limits = backend.MeasureLimits();
        Assert.InRange(limits.GigaflopsPerSecond, 0.01, 1e5);
        Assert.InRange(limits.GigabytesPerSecond, 0.01, 1e5);
    }
}
