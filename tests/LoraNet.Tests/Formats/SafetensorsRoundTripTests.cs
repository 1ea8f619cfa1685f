using FsCheck.Fluent;
using FsCheck.Xunit;
using LoraNet.Formats;
using LoraNet.Tensors;
using LoraNet.Testing;

namespace LoraNet.Tests.Formats;

public class SafetensorsRoundTripTests
{
    /// <summary>A tensor to write: any type, rank 0 to 4, dimensions from 0 on.</summary>
    public sealed record Case(string Name, DType DType, int[] Shape, byte[] Bytes);

    public static class Cases
    {
        public static FsCheck.Arbitrary<Case[]> Arbitrary()
        {
            FsCheck.Gen<Case> one =
                from dtype in Gen.Elements(Enum.GetValues<DType>())
                from rank in Gen.Choose(0, 4)
                from shape in Gen.Choose(0, 5).ArrayOf(rank)
                from name in Gen.Elements('a', 'b', '.', '_', '"', '\\', 'é', '漢', '\n', '0', ' ').ArrayOf(6)
                from seed in Gen.Choose(0, int.MaxValue)
                select new Case(new string(name), dtype, shape, RandomBytes(seed, shape.Aggregate(dtype.Size(), static (a, b) => a * b)));
            return one.ArrayOf().Select(static cases => cases.DistinctBy(static c => c.Name).ToArray()).ToArbitrary();
        }

        private static byte[] RandomBytes(int seed, int count)
        {
            byte[] bytes = new byte[count];
            new Random(seed).NextBytes(bytes);
            return bytes;
        }
    }

    private static SafetensorsEntry Entry(Case c) => SafetensorsEntry.FromBytes(c.Name, c.DType, c.Shape, c.Bytes);

    [Property(Arbitrary = [typeof(Cases)], MaxTest = 200)]
    public void What_is_written_is_read(Case[] cases)
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["x"], cases.Select(Entry));
        using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
        Assert.Equal(cases.Select(static c => c.Name).Order(StringComparer.Ordinal), file.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach (Case c in cases)
        {
            HostTensor tensor = file.Tensors[c.Name];
            Assert.Equal(c.DType, tensor.DType);
            Assert.Equal(c.Shape, tensor.Shape.ToArray());
            Assert.Equal(c.Bytes, tensor.Bytes.ToArray());
            Assert.Equal(0, (tensor.Address - file.Tensors.Values.Min(static t => t.Address)) % c.DType.Size());
        }
        Assert.Equal("pt", file.Metadata["format"]);
    }

    [Property(Arbitrary = [typeof(Cases)], MaxTest = 100)]
    public void The_order_given_does_not_matter_and_a_copy_is_the_same(Case[] cases)
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["a"], cases.Select(Entry));
        SafetensorsWriter.Write(folder["b"], cases.Reverse().Select(Entry));
        using (SafetensorsFile file = SafetensorsFile.Open(folder["a"]))
            SafetensorsWriter.Write(folder["c"], file.Tensors.Select(static t => SafetensorsEntry.FromHost(t.Key, t.Value)), file.Metadata);
        byte[] expected = File.ReadAllBytes(folder["a"]);
        Assert.Equal(expected, File.ReadAllBytes(folder["b"]));
        Assert.Equal(expected, File.ReadAllBytes(folder["c"]));
    }

    [Fact]
    public void The_bytes_are_as_the_format_says()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromSingles("w", new float[] { 1, -2 }, [2, 1])]);
        byte[] bytes = File.ReadAllBytes(folder["x"]);
        string header = """{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}""";
        int padded = (header.Length + 7) / 8 * 8;
        Assert.Equal(padded, BitConverter.ToInt64(bytes));
        Assert.Equal(header.PadRight(padded), System.Text.Encoding.UTF8.GetString(bytes, 8, padded));
        Assert.Equal([0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0], bytes[(8 + padded)..]);
    }

    [Fact]
    public void Narrower_types_are_rounded_once()
    {
        using TemporaryFolder folder = new();
        float[] values = [1f, 1f + Power(-8), 1f + 3 * Power(-8), 65504f];
        SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromSingles("b", values, [4], DType.BF16), SafetensorsEntry.FromSingles("h", values, [4], DType.F16), SafetensorsEntry.FromSingles("d", values, [4], DType.F64)]);
        using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
        // Ties to even: 1 + 2⁻⁸ falls to 1, 1 + 3·2⁻⁸ rises to 1 + 2⁻⁶.
        Assert.Equal([1f, 1f, 1.015625f, 65536f], file.Tensors["b"].ToArray());
        Assert.Equal(values, file.Tensors["h"].ToArray());
        Assert.Equal(values, file.Tensors["d"].ToArray());
    }

    private static float Power(int exponent) => MathF.ScaleB(1, exponent);

    [SharedFact]
    public void Files_of_the_reference_implementation_come_out_the_same_byte_for_byte()
    {
        foreach (string path in Directory.GetFiles(TestData.SharedPath("reference"), "adapter_model.safetensors", SearchOption.AllDirectories))
        {
            using TemporaryFolder folder = new();
            using (SafetensorsFile original = SafetensorsFile.Open(path))
                SafetensorsWriter.Write(folder["copy"], original.Tensors.Select(static t => SafetensorsEntry.FromHost(t.Key, t.Value)), original.Metadata);
            Assert.True(File.ReadAllBytes(path).AsSpan().SequenceEqual(File.ReadAllBytes(folder["copy"])), path);
        }
    }

    [Fact]
    public void Tensors_stay_valid_while_one_is_reachable()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromSingles("w", Enumerable.Range(0, 5000).Select(static i => (float)i).ToArray(), [5000])]);
        HostTensor tensor = OpenAndForget(folder["x"]);
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.Equal(4999f, tensor.ToArray()[4999]);
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static HostTensor OpenAndForget(string path) => SafetensorsFile.Open(path).Tensors["w"];
}
