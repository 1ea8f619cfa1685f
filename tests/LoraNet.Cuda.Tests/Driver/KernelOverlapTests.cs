using LoraNet.Cuda.Driver;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Tests.Ptx;

namespace LoraNet.Cuda.Tests.Driver;

/// <summary>What is written into kernels that start before the one ahead of them is complete.</summary>
public class KernelOverlapTests
{
    private const string Plain = ".version 7.0\r\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n.maxntid 32, 1, 1\n{\n\t.reg .b32 a;\n\tld.global.nc.b32 a, [x];\n\tret;\n}\n";

    [Fact]
    public void A_kernel_waits_before_anything_else_and_reads_nothing_past_the_wait()
    {
        string text = KernelOverlap.Add(Plain);
        Assert.StartsWith(".version 8.0\r\n.target sm_90\n", text, StringComparison.Ordinal);
        int wait = text.IndexOf(KernelOverlap.Wait, StringComparison.Ordinal);
        Assert.InRange(wait, text.IndexOf('{', StringComparison.Ordinal), text.IndexOf("ld.", StringComparison.Ordinal));
        Assert.Contains("ld.global.b32 a", text, StringComparison.Ordinal);
        Assert.Equal(text, KernelOverlap.Add(text));
    }

    [Fact]
    public void Every_kernel_of_the_card_waits_once()
    {
        foreach ((PtxArch arch, IKernelSpec spec) in KernelSpecs.All().Where(s => s.Arch == PtxArch.Sm90a))
        {
            string text = KernelOverlap.Add(spec.Build().Text);
            Assert.Equal(2, text.Split(KernelOverlap.Wait).Length);
            Assert.Contains(KernelOverlap.Release, text, StringComparison.Ordinal);
            Assert.Contains(".target sm_90a", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Before_the_wait_only_weights_are_read()
    {
        foreach ((_, IKernelSpec spec) in KernelSpecs.All())
        {
            string text = spec.Build().Text;
            int wait = text.IndexOf(KernelOverlap.Wait, StringComparison.Ordinal);
            if (wait < 0) continue;
            string before = text[..wait];
            Assert.Contains("ld.global.nc.L1::no_allocate", before, StringComparison.Ordinal);
            Assert.DoesNotContain("ld.global", before.Replace("ld.global.nc.L1::no_allocate", "", StringComparison.Ordinal), StringComparison.Ordinal);
            Assert.DoesNotContain("st.", before, StringComparison.Ordinal);
            // Where the kernel reads what others write, it may not use loads that could move before the wait.
            Assert.DoesNotContain("ld.global.nc.v4", text[wait..], StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(9, 12030, true)]
    [InlineData(9, 12020, false)]
    [InlineData(8, 13000, false)]
    public void Overlap_needs_Hopper_and_a_driver_that_records_it(int major, int driver, bool supported) =>
        Assert.Equal(supported, KernelOverlap.Supported(major, driver));
}
