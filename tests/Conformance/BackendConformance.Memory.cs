using FsCheck.Xunit;
using LoraNet.Tensors;

namespace LoraNet.Tests.Conformance;

public abstract partial class BackendConformance
{
    [Property]
    public void Bytes_come_back_as_they_went(Size m, Size n, DataSeed seed)
    {
        Tensor tensor = Backend.Create(DType.U8, m, n);
        byte[] sent = new byte[tensor.Bytes], received = new byte[tensor.Bytes];
        new Random(seed.Value).NextBytes(sent);
        Backend.UploadBytes(sent, tensor);
        Backend.DownloadBytes(tensor, received);
        Backend.Free(tensor);
        Assert.Equal(sent, received);
    }

    [Property]
    public void Values_are_rounded_once_on_the_way_up(Size n, DataSeed seed)
    {
        using Case c = Start(seed);
        float[] values = c.Normal(n);
        Assert.Equal(values, Backend.Download(c.Typed("f32", DType.F32, values, n).Actual));
        Assert.Equal(
            Array.ConvertAll(values, v => BFloat16.ToSingle(BFloat16.FromSingle(v))), Backend.Download(c.Typed("bf16", DType.BF16, values, n).Actual));
        Assert.Equal(Array.ConvertAll(values, v => (float)(Half)v), Backend.Download(c.Typed("f16", DType.F16, values, n).Actual));
    }

    [Fact]
    public void Bytes_of_another_length_are_refused()
    {
        Tensor tensor = Backend.Create(DType.F32, 3);
        Assert.Throws<ArgumentException>(() => Backend.UploadBytes(new byte[11], tensor));
        Assert.Throws<ArgumentException>(() => Backend.DownloadBytes(tensor, new byte[13]));
        Backend.Free(tensor);
    }

    [Fact]
    public void Memory_is_aligned_and_counted()
    {
        nint first = Backend.AllocateMemory(1), second = Backend.AllocateMemory(1 << 20);
        Assert.Equal(0, first % 256);
        Assert.Equal(0, second % 256);
        Assert.True(Backend.PeakBytes >= (1 << 20) + 1);
        long peak = Backend.PeakBytes;
        Backend.FreeMemory(first);
        Backend.FreeMemory(second);
        Assert.Equal(peak, Backend.PeakBytes);
    }

    [Fact]
    public void An_arena_lends_the_same_memory_again()
    {
        using Arena arena = new(Backend);
        Tensor first = arena.Rent(DType.F32, 100, 30);
        nint address = first.Address;
        Arena.Release(first);
        Tensor again = arena.Rent(DType.F32, 30, 100);
        Assert.Equal(address, again.Address);
        Arena.Release(again);
        Assert.Equal(0, arena.Live);
    }

    [Fact]
    public void Operations_are_done_when_a_host_read_returns()
    {
        Tensor x = Backend.Create(Backend.ParameterType, 1000);
        Backend.Zero(x);
        Tensor one = Backend.Create([1f], 1);
        Tensor sum = Backend.Create(Backend.ParameterType, 1);
        Backend.Zero(sum);
        for (int i = 0; i < 50; i++) Backend.Sum(one, sum, accumulate: true);
        Assert.Equal(50, Backend.Download(sum)[0]);
        Backend.Synchronize();
        foreach (Tensor tensor in new[] { x, one, sum }) Backend.Free(tensor);
    }
}
