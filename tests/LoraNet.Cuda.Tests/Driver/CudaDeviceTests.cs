using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;

namespace LoraNet.Cuda.Tests.Driver;

public sealed class CudaDeviceTests
{
    [Theory]
    [InlineData(7, 0, 13000, "7.5")]
    [InlineData(8, 0, 11040, "driver 520")]
    [InlineData(9, 0, 11080, "driver 525")]
    public void UnsuitableCardsAndDriversSayWhatToDo(int major, int minor, int driver, string advice) =>
        Assert.Contains(advice, CudaDevice.Unsupported("card", major, minor, driver)!.Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(7, 5, 11080, PtxArch.Sm75)]
    [InlineData(8, 0, 11080, PtxArch.Sm80)]
    [InlineData(8, 6, 12000, PtxArch.Sm86)]
    [InlineData(8, 9, 12000, PtxArch.Sm89)]
    [InlineData(9, 0, 12000, PtxArch.Sm90a)]
    [InlineData(12, 0, 13000, PtxArch.Sm80)]
    internal void SuitableCardsHaveATarget(int major, int minor, int driver, PtxArch arch)
    {
        Assert.Null(CudaDevice.Unsupported("card", major, minor, driver));
        Assert.Equal(arch, PtxArchs.For(major, minor));
    }

    [Fact]
    public void MissingDriverIsAUserErrorWithAdvice()
    {
        if (Native.TryLoad(out _)) return; // only where there is none
        LoraNetException e = Assert.Throws<LoraNetException>(() => CudaDevice.OpenPrimary());
        Assert.Contains("driver", e.Message, StringComparison.Ordinal);
        Assert.NotNull(e.Advice);
        Assert.False(CudaDevice.IsAvailable(out string reason));
        Assert.NotEmpty(reason);
    }

    [Fact]
    public void KernelArgumentsKeepTheirOrderAndAlignment()
    {
        KernelArgs args = default;
        args.Add(1.5f);
        args.Add(0x1122334455667788UL);
        args.Add(7);
        Assert.Equal(3, args.Count);
        Assert.Equal(0, args.OffsetOf(1) % 8);
        Assert.Equal(0x1122334455667788UL, BitConverter.ToUInt64(args.Bytes[args.OffsetOf(1)..]));
        Assert.Equal(7, BitConverter.ToInt32(args.Bytes[args.OffsetOf(2)..]));
    }
}
