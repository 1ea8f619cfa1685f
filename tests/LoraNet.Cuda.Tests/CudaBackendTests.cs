using LoraNet.Tensors;

namespace LoraNet.Cuda.Tests;

public class CudaBackendTests
{
    [Fact]
    public void Without_a_card_creation_says_what_to_do_and_the_list_is_empty()
    {
        IReadOnlyList<CudaDeviceInfo> devices = CudaBackend.Devices();
        LoraNetException error = Assert.Throws<LoraNetException>(
            () => CudaBackend.Create(new CudaBackendOptions { DeviceIndex = devices.Count + 7, ComputeType = DType.F32 }));
        Assert.NotNull(error.Advice);
        Assert.All(devices, d => Assert.True(d.MemoryBytes > 0 && d.Name.Length > 0));
    }

    [Theory]
    [InlineData(DType.F64)]
    [InlineData(DType.I32)]
    public void Types_the_kernels_do_not_compute_with_are_refused(DType type)
    {
        Assert.Throws<LoraNetException>(() => CudaBackend.CreateOnCpuAccelerator(type));
        Assert.Throws<LoraNetException>(() => CudaBackend.Create(new CudaBackendOptions { ComputeType = type }));
    }

    [Fact]
    public void Peak_memory_counts_what_was_allocated_at_one_time()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        Tensor a = backend.Create(DType.F32, 1000);
        Tensor b = backend.Create(DType.F32, 500);
        backend.Free(a);
        Tensor c = backend.Create(DType.F32, 250);
        Assert.Equal(6000, backend.PeakBytes);
        backend.Free(b);
        backend.Free(c);
    }

    [Fact]
    public void Weights_keep_a_16_bit_type_and_are_rounded_once_otherwise()
    {
        using CudaBackend f32 = CudaBackend.CreateOnCpuAccelerator(DType.F32), bf16 = CudaBackend.CreateOnCpuAccelerator(DType.BF16);
        byte[] stored = new byte[2 * 6];
        Weight narrow = new("narrow", Pin(stored, DType.BF16), transposed: false);
        Weight wide = new("wide", HostTensor.Copy([1f, 2f, 3f, 4f, 5f, 6f], 2, 3));
        long before = f32.PeakBytes;
        f32.Prepare(narrow);
        Assert.Equal(before + 12, f32.PeakBytes);
        f32.Drop(narrow);
        bf16.Prepare(wide);
        bf16.Drop(narrow);
        Assert.Null(narrow.Prepared);
        Tensor ids = bf16.CreateIndex([1, 0]), rows = bf16.Create(DType.BF16, 2, 3);
        bf16.Embedding(wide, ids, 2, rows);
        Assert.Equal([8f, 10f, 12f, 2f, 4f, 6f], bf16.Download(rows));
    }

    [Fact]
    public void A_layout_is_uploaded_once_per_backend()
    {
        using CudaBackend backend = CudaBackend.CreateOnCpuAccelerator();
        AttentionLayout layout = AttentionLayout.Packed([2, 1], causal: true);
        Tensor q = backend.Create([1f, 2f, 3f], 3, 1), o = backend.Create(DType.F32, 3, 1), lse = backend.Create(DType.F32, 3, 1);
        AttentionOperands operands = new(q, q, q, o, lse, layout, 1, 1, 1, 0);
        backend.Attention(operands);
        object? prepared = layout.Prepared;
        Assert.NotNull(prepared);
        backend.Attention(operands);
        Assert.Same(prepared, layout.Prepared);
        Assert.Equal(1f, backend.Download(o)[0]);
        Assert.Equal(3f, backend.Download(o)[2]);
    }

    private static unsafe HostTensor Pin(byte[] bytes, DType type)
    {
        byte[] pinned = GC.AllocateUninitializedArray<byte>(bytes.Length, pinned: true);
        bytes.CopyTo(pinned, 0);
        fixed (byte* p = pinned) return new HostTensor((nint)p, type, [2, 3], pinned);
    }
}
