using LoraNet.Tensors.Reference;

namespace LoraNet.Tensors.Tests.Reference;

/// <summary>What the specification rests on: rounding, erf, weight forms, memory and shape checks.</summary>
public class ReferenceBackendTests
{
    // Values computed with the C library's erfc.
    [Theory]
    [InlineData(-1, 1.842700792949715)]
    [InlineData(0, 1)]
    [InlineData(0.1, 0.8875370839817152)]
    [InlineData(0.5, 0.4795001221869535)]
    [InlineData(1, 0.15729920705028513)]
    [InlineData(2, 0.004677734981047265)]
    [InlineData(2.49, 0.000429287867733913)]
    [InlineData(2.5, 0.0004069520174449589)]
    [InlineData(3, 2.2090496998585438e-05)]
    [InlineData(5, 1.5374597944280351e-12)]
    [InlineData(10, 2.088487583762545e-45)]
    [InlineData(26, 5.663192408856143e-296)]
    [InlineData(30, 0)]
    [InlineData(-30, 2)]
    public void Erfc_is_accurate_into_the_tail(double x, double expected) =>
        Assert.True(Math.Abs(Erf.Complement(x) - expected) <= 2e-13 * expected, $"erfc({x}) = {Erf.Complement(x):r}");

    [Fact]
    public void Doubles_are_rounded_to_bfloat16_once()
    {
        // Just above a tie of bfloat16, by less than binary32 can see: rounding through binary32 would fall back to 1.
        Assert.Equal(1 + 1 / 128.0, Rounded(1 + 1 / 256.0 + Math.ScaleB(1, -40), DType.BF16));
        Assert.Equal(1.0, Rounded(1 + 1 / 256.0 - Math.ScaleB(1, -40), DType.BF16));
        Assert.Equal(1.0, Rounded(1 + 1 / 256.0, DType.BF16));
        Assert.Equal(-1 - 1 / 128.0, Rounded(-1 - 1 / 256.0 - Math.ScaleB(1, -40), DType.BF16));
        Assert.Equal(double.PositiveInfinity, Rounded(1e300, DType.BF16));
        Assert.Equal(0.0, Rounded(1e-300, DType.BF16));
        Assert.Equal(double.NaN, Rounded(double.NaN, DType.BF16));
        Assert.Equal(1 + 1 / 1024.0, Rounded(1 + 1 / 2048.0 + Math.ScaleB(1, -40), DType.F16));
        Assert.Equal(double.PositiveInfinity, Rounded(1e5, DType.F16));
    }

    [Fact]
    public void A_weight_in_double_is_read_in_double()
    {
        using ReferenceBackend backend = new(DType.F64);
        double value = 1 + Math.ScaleB(1, -40);
        Weight w = new("w", HostTensor.Copy([value], 1, 1));
        Tensor y = backend.Create(DType.F64, 1, 1);
        backend.Linear(backend.Create([1f], 1, 1), w, null, null, y);
        Assert.Equal(value, y.Span<double>()[0]);
    }

    [Fact]
    public void Another_backends_form_is_replaced_and_only_the_own_is_dropped()
    {
        using ReferenceBackend first = new(), second = new();
        Weight w = new("w", HostTensor.Copy([2f, 3f], 2, 1), transposed: false);
        first.Prepare(w);
        object? form = w.Prepared;
        first.Prepare(w);
        Assert.Same(form, w.Prepared);
        second.Drop(w);
        Assert.Same(form, w.Prepared);
        Tensor norms = second.Create(DType.F32, 2);
        second.RowSquaredNorms(w, norms);
        Assert.Equal([4f, 9f], norms.Span<float>().ToArray());
        Assert.NotSame(form, w.Prepared);
        second.Drop(w);
        Assert.Null(w.Prepared);
    }

    [Fact]
    public void Wrong_shapes_and_indices_are_named()
    {
        using ReferenceBackend backend = new();
        Tensor x = backend.Create(new float[6], 2, 3), y = backend.Create(new float[6], 3, 2), one = backend.CreateIndex([1, 5]);
        ArgumentException e = Assert.Throws<ArgumentException>(() => backend.Add(x, y, x));
        Assert.Contains("[3, 2]", e.Message);
        Assert.Contains("b", e.ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.GatherRows(x, one, backend.Create(new float[6], 2, 3)));
        Assert.Throws<ArgumentException>(() => backend.GatherRows(x, backend.Create(new float[2], 2), x));
        Assert.Throws<ArgumentException>(() => backend.MatMul(MatMulKind.NN, x, x, x));
    }

    [Fact]
    public void Host_memory_is_counted_and_freed_once()
    {
        using ReferenceBackend backend = new();
        nint a = backend.AllocateMemory(1000), b = backend.AllocateMemory(500);
        backend.FreeMemory(a);
        nint c = backend.AllocateMemory(700);
        Assert.Equal(1500, backend.PeakBytes);
        backend.FreeMemory(b);
        backend.FreeMemory(c);
        Assert.Throws<ArgumentException>(() => backend.FreeMemory(c));
        LoraNetException e = Assert.Throws<LoraNetException>(() => backend.AllocateMemory(1L << 62));
        Assert.Contains("4,611,686,018,427,387,904 bytes", e.Message);
    }

    [Fact]
    public void Arenas_and_tensors_may_outlive_their_backend()
    {
        ReferenceBackend backend = new();
        Arena arena = new(backend);
        Arena.Release(arena.Rent(DType.F32, 10));
        Tensor tensor = backend.Create(DType.F32, 3);
        backend.Dispose();
        arena.Dispose();
        backend.Free(tensor);
        Assert.Throws<ObjectDisposedException>(() => backend.AllocateMemory(1));
    }

    private static double Rounded(double value, DType type)
    {
        using ReferenceBackend backend = new(DType.F64);
        Tensor x = backend.Create(DType.F64, 1), y = backend.Create(type, 1);
        x.Span<double>()[0] = value;
        backend.Scale(x, 1, y);
        return backend.Download(y)[0];
    }
}
