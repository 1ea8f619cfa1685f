using LoraNet.Tensors.Cpu;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>A table that is also a head is looked up in its packed form, and the original may leave memory.</summary>
public sealed unsafe class PackedEmbeddingTests
{
    private sealed class Pages : IPageOwner
    {
        public List<(nint Address, long Bytes)> Forgotten { get; } = [];

        public void Forget(nint address, long bytes) => Forgotten.Add((address, bytes));
    }

    [Theory]
    [InlineData(DType.F32, false)]
    [InlineData(DType.BF16, false)]
    [InlineData(DType.F16, false)]
    [InlineData(DType.BF16, true)]
    public void RowsOfThePackedTableEqualTheOriginal(DType type, bool lowMemory)
    {
        const int Rows = 77, Columns = 19;
        Random random = new(5);
        float[] values = [.. Enumerable.Range(0, Rows * Columns).Select(_ => (float)random.NextDouble() - 0.5f)];
        byte[] bytes = GC.AllocateUninitializedArray<byte>(values.Length * type.Size(), pinned: true);
        fixed (byte* p = bytes)
        {
            HostConvert.FromSingle(values, type, p);
            Pages pages = new();
            HostTensor source = new((nint)p, type, [Rows, Columns], pages);
            Weight weight = new("w", source);
            using CpuBackend backend = new(new CpuBackendOptions { Threads = 1, LowMemory = lowMemory });
            Tensor ids = backend.CreateIndex([0, 31, 32, 76, 5, 5]), before = backend.Create(DType.F32, 6, Columns), after = backend.Create(DType.F32, 6, Columns);
            backend.Embedding(weight, ids, 3f, before);
            Assert.Empty(pages.Forgotten);
            backend.Prepare(weight);
            Assert.Equal(lowMemory ? [] : [((nint)p, (long)bytes.Length)], pages.Forgotten);
            backend.Embedding(weight, ids, 3f, after);
            Assert.Equal(backend.Download(before), backend.Download(after));
            float[] row = new float[Columns];
            source.Read(76L * Columns, row);
            Assert.Equal([.. row.Select(static x => 3f * x)], backend.Download(after)[(3 * Columns)..(4 * Columns)]);
        }
    }
}
