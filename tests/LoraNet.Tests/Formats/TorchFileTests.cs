using System.IO.Compression;
using System.Text;
using LoraNet.Formats;
using LoraNet.Tensors;
using LoraNet.Testing;

namespace LoraNet.Tests.Formats;

/// <summary>PyTorch files made by hand, byte by byte: what is read, and that nothing else is.</summary>
public sealed class TorchFileTests
{
    [Fact]
    public void TensorsAreViewsOfTheirStorages()
    {
        using TemporaryFolder folder = new();
        string path = folder["x.pt"];
        // A [2, 3] tensor and its transpose, which shares the storage; both under model_state_dict.
        byte[] pickle = [
            0x80, 2, .. "}q\0"u8, .. Text("model_state_dict"), .. "ccollections\nOrderedDict\n)R"u8, (byte)'(',
            .. Text("a"), .. Tensor([2, 3], [3, 1]), .. Text("t"), .. Tensor([3, 2], [1, 3]), .. "us."u8];
        Write(path, pickle, Floats(1, 2, 3, 4, 5, 6));
        IReadOnlyList<(string Name, HostTensor Tensor)> tensors = TorchFile.Read(path);
        Assert.Equal(["a", "t"], tensors.Select(t => t.Name));
        Assert.Equal([1, 2, 3, 4, 5, 6], tensors[0].Tensor.ToArray());
        Assert.Equal([3, 2], tensors[1].Tensor.Shape.ToArray());
        Assert.Equal([1, 4, 2, 5, 3, 6], tensors[1].Tensor.ToArray());
    }

    [Theory]
    [InlineData("cos\nsystem\n(X\u0004\0\0\0echotR.", "os.system")]
    [InlineData("cbuiltins\neval\n(tR.", "builtins.eval")]
    [InlineData("ctorch\nload\n(tR.", "torch.load")]
    [InlineData("ios\nsystem\n.", "0x69")]
    [InlineData("(cposix\nsystem\no.", "posix.system")]
    [InlineData("}R.", "damaged")]
    [InlineData("h\u0005.", "damaged")]
    [InlineData("X\u00ff\u00ff\u00ff\u007fab.", "too early")]
    [InlineData("}", "too early")]
    [InlineData("t.", "damaged")]
    [InlineData("(ctorch\nFloatStorage\ntQ.", "external data")]
    public void CodeAndDamageAreRefused(string pickle, string expected)
    {
        using TemporaryFolder folder = new();
        Write(folder["x.pt"], Encoding.Latin1.GetBytes(pickle), Floats(1));
        Assert.Contains(expected, Assert.Throws<LoraNetException>(() => TorchFile.Read(folder["x.pt"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TensorsBeyondTheirStorageAreRefused()
    {
        using TemporaryFolder folder = new();
        foreach ((int[] shape, int[] strides) in new[] { (new[] { 3, 3 }, new[] { 3, 1 }), ([7], [1]), ([2], [6]), ([65535, 65535, 65535, 65535, 65535, 65535, 65535, 65535], [0, 0, 0, 0, 0, 0, 0, 0]) })
        {
            Write(folder["x.pt"], [.. "}"u8, .. Text("a"), .. Tensor(shape, strides), .. "s."u8], Floats(1, 2, 3, 4, 5, 6));
            Assert.Contains("'a'", Assert.Throws<LoraNetException>(() => TorchFile.Read(folder["x.pt"])).Message, StringComparison.Ordinal);
        }
        Write(folder["x.pt"], [.. "}"u8, .. Text("a"), .. Tensor([2, 3], [3, 1]), .. "s."u8], Floats(1, 2, 3));
        Assert.Contains("12 bytes", Assert.Throws<LoraNetException>(() => TorchFile.Read(folder["x.pt"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RandomDamageNeverDoesMoreThanAnError()
    {
        using TemporaryFolder folder = new();
        byte[] pickle = [.. "}"u8, .. Text("a"), .. Tensor([2, 3], [3, 1]), .. Text("b"), .. Tensor([6], [1]), .. "s."u8];
        Random random = new(1);
        for (int i = 0; i < 300; i++)
        {
            byte[] damaged = (byte[])pickle.Clone();
            for (int k = 0; k < 1 + i % 3; k++) damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            Write(folder["x.pt"], damaged[..random.Next(1, damaged.Length + 1)], Floats(1, 2, 3, 4, 5, 6));
            try
            {
                TorchFile.Read(folder["x.pt"]);
            }
            catch (LoraNetException)
            {
                // The only exception allowed.
            }
        }
        byte[] zip = File.ReadAllBytes(folder["x.pt"]);
        for (int i = 0; i < 100; i++)
        {
            byte[] damaged = (byte[])zip.Clone();
            damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(folder["y.pt"], damaged[..random.Next(damaged.Length / 2, damaged.Length + 1)]);
            try
            {
                TorchFile.Read(folder["y.pt"]);
            }
            catch (LoraNetException)
            {
                // The only exception allowed.
            }
        }
    }

    [Fact]
    public void OtherFilesAreNamedAsSuch()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["text.pt"], "hello");
        Assert.Contains("not a PyTorch file", Assert.Throws<LoraNetException>(() => TorchFile.Read(folder["text.pt"])).Message, StringComparison.Ordinal);
        Assert.Contains("does not exist", Assert.Throws<LoraNetException>(() => TorchFile.Read(folder["none.pt"])).Message, StringComparison.Ordinal);
    }

    [SharedFact]
    public void TheAuthorsOwnFileIsRead()
    {
        IReadOnlyList<(string Name, HostTensor Tensor)> tensors = TorchFile.Read(TestData.SharedPath("data", "lora-adapter-roberta-base-mnli", "roberta_base_lora_mnli.bin"));
        Assert.Equal(52, tensors.Count);
        (string name, HostTensor first) = tensors[0];
        Assert.Equal("roberta.encoder.layer.0.attention.self.query.lora_A", name);
        Assert.Equal([8, 768], first.Shape.ToArray());
        Assert.All(tensors, t => Assert.Equal(-1, t.Tensor.FindNonFinite()));
        Assert.All(tensors.Where(t => t.Name.Contains("lora_", StringComparison.Ordinal)), t => Assert.Contains(t.Tensor.ToArray(), v => v != 0));
    }

    private static byte[] Text(string text) => [(byte)'X', .. BitConverter.GetBytes(text.Length), .. Encoding.UTF8.GetBytes(text)];

    private static byte[] Int(int value) => [(byte)'J', .. BitConverter.GetBytes(value)];

    /// <summary>A tensor over storage 0 with six values.</summary>
    private static byte[] Tensor(int[] shape, int[] strides) =>
    [
        .. "ctorch._utils\n_rebuild_tensor_v2\n(("u8, .. Text("storage"), .. "ctorch\nFloatStorage\n"u8, .. Text("0"), .. Text("cpu"), .. Int(6), .. "tQ"u8,
        .. Int(0), (byte)'(', .. shape.SelectMany(Int), (byte)'t', (byte)'(', .. strides.SelectMany(Int), (byte)'t', 0x89, .. "ccollections\nOrderedDict\n)RtR"u8,
    ];

    private static byte[] Floats(params float[] values) => [.. values.SelectMany(BitConverter.GetBytes)];

    private static void Write(string path, byte[] pickle, byte[] storage)
    {
        File.Delete(path);
        using ZipArchive zip = ZipFile.Open(path, ZipArchiveMode.Create);
        using (Stream s = zip.CreateEntry("archive/data.pkl", CompressionLevel.NoCompression).Open()) s.Write(pickle);
        using (Stream s = zip.CreateEntry("archive/data/0", CompressionLevel.NoCompression).Open()) s.Write(storage);
    }
}
