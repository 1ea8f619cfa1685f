using System.Buffers.Binary;
using System.Text;
using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Tests.Formats;

/// <summary>Files made to mislead a reader: each must give a message or a valid file.</summary>
public class SafetensorsHostileTests
{
    /// <summary>Builds a file from a header, as many data bytes as given, and a header length that may lie.</summary>
    private static byte[] File(string header, int dataBytes, ulong? headerLength = null)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] file = new byte[8 + json.Length + dataBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(file, headerLength ?? (ulong)json.Length);
        json.CopyTo(file, 8);
        return file;
    }

    private static string Fails(byte[] file)
    {
        using TemporaryFolder folder = new();
        string path = folder["x.safetensors"];
        System.IO.File.WriteAllBytes(path, file);
        string message = Assert.Throws<LoraNetException>(() => SafetensorsFile.Open(path)).Message;
        Assert.Contains(path, message);
        return message;
    }

    [Theory]
    // Not an object, or not JSON.
    [InlineData("", 0, "does not start with '{'")]
    [InlineData("[]", 0, "does not start with '{'")]
    [InlineData(" {}", 0, "does not start with '{'")]
    [InlineData("{", 0, "not valid JSON")]
    [InlineData("{}{}", 0, "not valid JSON")]
    [InlineData("{}x", 0, "not valid JSON")]
    [InlineData("{} \0", 0, "not valid JSON")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},}", 4, "not valid JSON")]
    [InlineData("{\"\\ud800\":{}}", 0, "malformed string")]
    // Wrong types.
    [InlineData("{\"a\":1}", 0, "\"a\": its entry is not an object")]
    [InlineData("{\"a\":null}", 0, "\"a\": its entry is not an object")]
    [InlineData("{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "\"a\": dtype is not a string")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "\"a\": shape is not an array")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, "\"a\": shape holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "\"a\": shape holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", 4, "\"a\": shape holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "\"a\": shape holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "\"a\": data_offsets is not an array")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}", 4, "\"a\": data_offsets holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "fewer than two")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "more than two")]
    [InlineData("{\"__metadata__\":[]}", 0, "__metadata__ is not an object")]
    [InlineData("{\"__metadata__\":{\"a\":1}}", 0, "\"a\" is not a string")]
    // Missing and repeated.
    [InlineData("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\"a\": dtype is missing")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"a\": shape is missing")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "\"a\": data_offsets is missing")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"shape\":[1]}}", 4, "\"a\": shape appears twice")]
    [InlineData("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "\"a\" appears twice")]
    [InlineData("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "\"__metadata__\" appears twice")]
    [InlineData("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "\"a\" appears twice")]
    // Types and shapes.
    [InlineData("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "F8_E4M3\" is not supported")]
    [InlineData("{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\"f32\" is not supported")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "needs 8 bytes")]
    [InlineData("{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "needs 2 bytes")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]}}", 0, "needs 4 bytes")]
    [InlineData("{\"a\":{\"dtype\":\"U8\",\"shape\":[2147483648],\"data_offsets\":[0,1]}}", 1, "dimension of 2147483648")]
    [InlineData("{\"a\":{\"dtype\":\"F64\",\"shape\":[2147483647,2147483647,2147483647,4],\"data_offsets\":[0,4]}}", 4, "too many elements")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1073741824,1073741824,16],\"data_offsets\":[0,0]}}", 0, "too many elements")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551617],\"data_offsets\":[0,4]}}", 4, "shape holds something")]
    // Places.
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "data_offsets holds something")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "end before they begin")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "only 3 bytes of data")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,18446744073709551615]}}", 4, "only 4 bytes of data")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, "\"b\": its data begins at byte 2, inside tensor \"a\"")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "inside tensor \"a\"")]
    [InlineData("{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 12, "from 4 on belong to no tensor")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "from 0 on belong to no tensor")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "end at byte 4 of the data, but 5")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "inside tensor \"b\"")]
    public void A_malformed_header_is_refused_with_its_cause(string header, int dataBytes, string expected) => Assert.Contains(expected, Fails(File(header, dataBytes)));

    [Theory]
    [InlineData(1UL << 63)]
    [InlineData(ulong.MaxValue)]
    [InlineData(100_000_001UL)]
    [InlineData(100_000_000UL)]
    [InlineData(3UL)]
    public void A_header_length_that_lies_is_refused_before_anything_is_allocated(ulong length)
    {
        byte[] file = File("{}", 0, length);
        using TemporaryFolder folder = new();
        string path = folder["x.safetensors"];
        System.IO.File.WriteAllBytes(path, file);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<LoraNetException>(() => SafetensorsFile.Open(path));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void A_real_file_cut_anywhere_is_refused()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder["whole.safetensors"], [SafetensorsEntry.FromSingles("a", new float[6], [2, 3]), SafetensorsEntry.FromSingles("b", new float[5], [5], DType.BF16)]);
        byte[] whole = System.IO.File.ReadAllBytes(folder["whole.safetensors"]);
        for (int length = 0; length < whole.Length; length++) Fails(whole[..length]);
    }

    [Theory]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull")]
    [InlineData("PK\u0003\u0004\u0014\0\0\0\0\0abcdefgh", "pickle")]
    [InlineData("GGUF\u0003\0\0\0abcdefgh", "GGUF")]
    [InlineData("<!DOCTYPE html><html></html>", "web page")]
    [InlineData("short", "truncated")]
    [InlineData("some other text that is no tensor file", "not a safetensors file")]
    public void Other_kinds_of_file_are_recognised(string text, string expected) => Assert.Contains(expected, Fails(Encoding.Latin1.GetBytes(text)));

    [Fact]
    public void Missing_files_and_folders_are_named()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("does not exist", Assert.Throws<LoraNetException>(() => SafetensorsFile.Open(folder["none"])).Message);
        Assert.Contains("is a folder", Assert.Throws<LoraNetException>(() => SafetensorsFile.Open(folder.Path)).Message);
    }

    [Fact]
    public void Names_from_a_file_cannot_break_a_message()
    {
        string name = new('x', 5000);
        string message = Fails(File($"{{\"\\n\\u001b{name}\":1}}", 0));
        Assert.DoesNotContain('\n', message);
        Assert.DoesNotContain('\u001b', message);
        Assert.InRange(message.Length, 0, 500);
    }

    [Fact]
    public void Valid_headers_that_look_odd_are_read()
    {
        // Entries out of order, white space at the end, unknown keys, escaped names, an empty tensor between two others.
        const string Header = """
            {"b":{"data_offsets":[4,6],"shape":[2],"dtype":"U8","note":{"x":[1,{}]}},"\u0061":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]}}   
            """;
        using TemporaryFolder folder = new();
        System.IO.File.WriteAllBytes(folder["x"], File(Header, 6));
        using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
        Assert.Equal(["a", "b", "e"], file.Tensors.Keys.Order());
        Assert.Empty(file.Tensors["a"].Shape.ToArray());
        Assert.Equal(1, file.Tensors["a"].Count);
        Assert.Equal(0, file.Tensors["e"].Count);
        Assert.Empty(file.Metadata);
    }

    [Fact]
    public void Ten_thousand_mutated_files_give_a_message_or_a_valid_file()
    {
        const string Header = """
            {"__metadata__":{"format":"pt"},"model.a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"model.b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"I64","shape":[],"data_offsets":[32,40]},"d":{"dtype":"U8","shape":[0,9],"data_offsets":[40,40]}}
            """;
        byte[] original = File(Header, 40);
        Random random = new(20240607);
        using TemporaryFolder folder = new();
        int valid = 0, refused = 0;
        for (int i = 0; i < 10_000; i++)
        {
            // A fresh name each time: overwriting a mapped file is not allowed everywhere.
            string path = folder[$"{i}.safetensors"];
            byte[] bytes = Mutate(original, random);
            System.IO.File.WriteAllBytes(path, bytes);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(path);
                AssertInside(file, bytes.Length);
                valid++;
            }
            catch (LoraNetException e)
            {
                Assert.Contains(path, e.Message);
                refused++;
            }
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
            System.IO.File.Delete(path);
        }
        // Both kinds must occur, or the mutations test nothing (names and metadata may change freely).
        Assert.InRange(valid, 500, 9500);
        Assert.Equal(10_000, valid + refused);
    }

    private static byte[] Mutate(byte[] original, Random random)
    {
        List<byte> bytes = [.. original];
        for (int n = random.Next(1, 4); n > 0; n--)
        {
            int at = random.Next(bytes.Count);
            switch (random.Next(8))
            {
                case 0: bytes[at] = (byte)random.Next(256); break;
                case 1: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 2: bytes.RemoveAt(at); break;
                case 3: bytes.Insert(at, (byte)"0123456789{}[],:\"-eE.\\ "[random.Next(23)]); break;
                case 4: bytes.RemoveRange(at, random.Next(Math.Min(40, bytes.Count - at))); break;
                case 5: bytes.InsertRange(at, bytes.GetRange(at, random.Next(Math.Min(60, bytes.Count - at)))); break;
                // A digit for a digit, which keeps the JSON valid and makes the numbers wrong.
                case 6:
                    int digit = bytes.FindIndex(at, static b => b is >= (byte)'0' and <= (byte)'9');
                    if (digit >= 0) bytes[digit] = (byte)('0' + random.Next(10));
                    break;
                default:
                    if (bytes.Count >= 8) bytes[random.Next(8)] = (byte)random.Next(256);
                    break;
            }
        }
        // Half the time with a header length that fits, or most mutations would die at the first check.
        if (bytes.Count > 48 && random.Next(2) == 0)
        {
            byte[] length = new byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(length, bytes.Count - 48);
            for (int i = 0; i < 8; i++) bytes[i] = length[i];
        }
        return [.. bytes];
    }

    private static void AssertInside(SafetensorsFile file, int length)
    {
        Assert.Equal(length, file.Length);
        long total = 0;
        foreach (HostTensor tensor in file.Tensors.Values)
        {
            total += tensor.Bytes.Length;
            tensor.ToArray();
        }
        nint first = file.Tensors.Values.Min(static t => t.Address), last = file.Tensors.Values.Max(static t => t.Address + (nint)t.Bytes.Length);
        Assert.Equal(total, last - first);
        Assert.InRange(total, 0, length - 8);
    }
}
