using System.Text;
using System.Text.Json;
using LoraNet.Testing;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Tokenizers;

/// <summary>Every part of tokenizer.json in a small tokenizer of its own: ids, ranges and decoded text as Hugging Face's library gives them.</summary>
public class ComponentTests
{
    private static readonly JsonDocument s_fixture = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.Fixtures, "tokenizers", "components.json")));

    public static TheoryData<string> Names()
    {
        var names = new TheoryData<string>();
        foreach (JsonElement c in s_fixture.RootElement.GetProperty("cases").EnumerateArray()) names.Add(c.GetProperty("name").GetString()!);
        return names;
    }

    /// <summary>The tokenizer.json of a case.</summary>
    internal static byte[] FileOf(JsonElement c)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
        {
            writer.WriteStartObject();
            foreach (JsonProperty p in c.GetProperty("tokenizer").EnumerateObject())
            {
                writer.WritePropertyName(p.Name);
                (p.Name == "model" ? s_fixture.RootElement.GetProperty("models")[p.Value.GetInt32()] : p.Value).WriteTo(writer);
            }
            writer.WriteEndObject();
        }
        return stream.ToArray();
    }

    internal static IEnumerable<byte[]> AllFiles() => AllCases().Select(c => c.Json);

    internal static IEnumerable<(string Name, byte[] Json)> AllCases() =>
        s_fixture.RootElement.GetProperty("cases").EnumerateArray().Select(c => (c.GetProperty("name").GetString()!, FileOf(c)));

    internal static IEnumerable<string> Texts() => s_fixture.RootElement.GetProperty("texts").EnumerateArray().Select(t => t.GetString()!);

    [Theory]
    [MemberData(nameof(Names))]
    public void Agrees_with_the_reference(string name)
    {
        JsonElement c = s_fixture.RootElement.GetProperty("cases").EnumerateArray().Single(e => e.GetProperty("name").GetString() == name);
        Tokenizer tokenizer = TokenizerLoader.FromJson(FileOf(c), name);
        var problems = new StringBuilder();
        int i = 0;
        foreach (string text in Texts())
        {
            JsonElement want = c.GetProperty("results")[i++];
            int[] ids = tokenizer.Encode(text, out TokenSpan[] spans);
            Check("ids", string.Join(' ', want.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())), string.Join(' ', ids));
            if (want.TryGetProperty("offsets", out JsonElement ranges)) Check("ranges", string.Join(' ', ranges.EnumerateArray().Select(e => e.GetInt32())), string.Join(' ', spans.SelectMany(s => new[] { s.Start, s.End })));
            Check("text", want.GetProperty("decoded").GetString() ?? tokenizer.Decode(ids), tokenizer.Decode(ids));
            Assert.Equal(ids, tokenizer.Encode(text));

            void Check(string what, string expected, string actual)
            {
                if (expected != actual) problems.AppendLine($"{what} of \"{text}\":\n  want {expected}\n  got  {actual}");
            }
        }
        Assert.True(problems.Length == 0, problems.ToString());
    }
}
