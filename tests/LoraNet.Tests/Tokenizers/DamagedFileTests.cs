using System.Buffers.Binary;
using System.Text;
using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>
/// Ten thousand damaged tokenizer files of every format: each loads and works, or is refused with an error that is meant for the user.
/// Never another exception, never a huge allocation.
/// </summary>
public class DamagedFileTests
{
    private const int Rounds = 10_000;
    private const string Sample = "Hello wörld, don't 123 <x> the lowest\n 日本 🦙  ▁x";

    [Fact]
    public void Damaged_files_are_refused_clearly()
    {
        string directory = Directory.CreateTempSubdirectory("loranet-tok-").FullName;
        try
        {
            (string Name, byte[] Data)[] files = [.. Files()];
            var random = new Random(42);
            int refused = 0;
            for (int i = 0; i < Rounds; i++)
            {
                (string name, byte[] data) = files[random.Next(files.Length)];
                byte[] damaged = Damage(data, random);
                long before = GC.GetAllocatedBytesForCurrentThread();
                try
                {
                    Tokenizer tokenizer = Load(directory, name, damaged);
                    int[] ids = tokenizer.Encode(Sample, out TokenSpan[] spans);
                    Assert.Equal(ids.Length, spans.Length);
                    Assert.All(spans, s => Assert.InRange(s.End, s.Start, Sample.Length));
                    tokenizer.Decode(ids);
                }
                catch (LoraNetException)
                {
                    refused++;
                }
                catch (Exception e) when (e is not Xunit.Sdk.XunitException)
                {
                    Assert.Fail($"round {i}, {name}: {e}");
                }
                long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
                Assert.True(allocated < 128L << 20, $"round {i}, {name} of {damaged.Length} bytes: {allocated} bytes allocated");
            }
            // Damage is mostly noticed, and not everything is refused.
            Assert.InRange(refused, Rounds / 10, Rounds - 100);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static Tokenizer Load(string directory, string name, byte[] data)
    {
        if (name == "tokenizer.json") return TokenizerLoader.FromJson(data, name);
        if (name == "tokenizer_config.json")
        {
            File.WriteAllBytes(Path.Combine(directory, "tokenizer_config.json"), data);
            string json = Path.Combine(directory, "tokenizer.json");
            if (!File.Exists(json)) File.WriteAllBytes(json, ComponentTests.AllFiles().First());
            try
            {
                return Tokenizer.Load(directory);
            }
            finally
            {
                File.Delete(Path.Combine(directory, "tokenizer_config.json"));
            }
        }
        string path = Path.Combine(directory, name);
        File.WriteAllBytes(path, data);
        if (name == "merges.txt") File.WriteAllText(Path.Combine(directory, "vocab.json"), """{"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4}""");
        if (name == "vocab.json") File.WriteAllText(Path.Combine(directory, "merges.txt"), "#version: 0.2\na b\nĠ a\n");
        return name == "x.tiktoken" ? Tokenizer.LoadTiktoken(path, SplitScanner.Gpt2Pattern, new Dictionary<string, int> { ["<x>"] = 9 }) : Tokenizer.Load(path);
    }

    private static IEnumerable<(string, byte[])> Files()
    {
        foreach (byte[] json in ComponentTests.AllFiles()) yield return ("tokenizer.json", json);
        for (int copies = 0; copies < 8; copies++)
        {
            yield return ("sp.model", File.ReadAllBytes(Path.Combine(TestData.Fixtures, "tokenizers", "sp-bpe.model")));
            yield return ("sp.model", File.ReadAllBytes(Path.Combine(TestData.Fixtures, "tokenizers", "sp-unigram.model")));
            yield return ("tok.bin", Llama2c());
            yield return ("vocab.txt", Encoding.UTF8.GetBytes("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nlow\n##est\nhello\n##,\n日\n"));
            yield return ("merges.txt", Encoding.UTF8.GetBytes("#version: 0.2\na b\nĠ a\n"));
            yield return ("vocab.json", Encoding.UTF8.GetBytes("""{"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4,"H":5,"<|endoftext|>":6}"""));
            yield return ("x.tiktoken", Encoding.UTF8.GetBytes(string.Concat("abcdefgh \n".Select((c, i) => $"{Convert.ToBase64String([(byte)c])} {i}\n")) + "YWI= 10\nIGE= 11\n"));
            yield return ("tokenizer_config.json", Encoding.UTF8.GetBytes("""{"bos_token":"<s>","eos_token":{"content":"</s>"},"add_bos_token":true,"tokenizer_class":"LlamaTokenizer","chat_template":[{"name":"default","template":"{{ x }}"}],"model_max_length":1e30,"added_tokens_decoder":{"7":{"content":"<x>","special":true,"lstrip":false}}}"""));
        }
    }

    internal static byte[] Llama2c()
    {
        using var stream = new MemoryStream();
        byte[] number = new byte[4];
        Int(7);
        string[] merged = [" ", "t", "h", "e", "l", "o", "w", "th", "the", " the", "lo", "low", "é"];
        string[] pieces = ["<unk>", "\n<s>\n", "\n</s>\n", .. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>"), .. merged];
        for (int i = 0; i < pieces.Length; i++)
        {
            BinaryPrimitives.WriteSingleLittleEndian(number, i < 259 ? 0 : 259 - i);
            stream.Write(number);
            byte[] utf8 = Encoding.UTF8.GetBytes(pieces[i]);
            Int(utf8.Length);
            stream.Write(utf8);
        }
        return stream.ToArray();

        void Int(int value)
        {
            BinaryPrimitives.WriteInt32LittleEndian(number, value);
            stream.Write(number);
        }
    }

    private static byte[] Damage(byte[] data, Random random)
    {
        byte[] copy = (byte[])data.Clone();
        for (int k = random.Next(1, 4); k > 0 && copy.Length > 0; k--)
        {
            int at = random.Next(copy.Length);
            switch (random.Next(8))
            {
                case 0:
                    copy[at] = (byte)random.Next(256);
                    break;
                case 1:
                    copy[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    copy = copy[..at];
                    break;
                case 3:
                    copy = [.. copy[..at], .. copy[random.Next(copy.Length)..]];
                    break;
                case 4:
                    for (int i = at; i < Math.Min(copy.Length, at + 4); i++) copy[i] = random.Next(2) == 0 ? (byte)0xFF : (byte)0x7F;
                    break;
                case 5:
                    Digit(copy, at, random);
                    break;
                case 6:
                    copy = [.. copy[..at], .. Token(random), .. copy[at..]];
                    break;
                default:
                    int length = Math.Min(random.Next(1, 40), copy.Length - at);
                    copy = [.. copy[..at], .. copy[at..(at + length)], .. copy[at..]];
                    break;
            }
        }
        return copy;
    }

    /// <summary>Makes a number near a place enormous, negative or fractional.</summary>
    private static void Digit(byte[] data, int at, Random random)
    {
        while (at < data.Length && !char.IsAsciiDigit((char)data[at])) at++;
        byte[] replacement = Encoding.ASCII.GetBytes(random.Next(4) switch { 0 => "9", 1 => "-1", 2 => "2147483647", _ => "1e9" });
        if (at + replacement.Length <= data.Length) replacement.CopyTo(data, at);
    }

    private static byte[] Token(Random random) => Encoding.UTF8.GetBytes(random.Next(7) switch
    {
        0 => "null",
        1 => "\"",
        2 => "[[[[",
        3 => "999999999",
        4 => "\\ud800",
        5 => "(a+)+$",
        _ => "\n",
    });
}
