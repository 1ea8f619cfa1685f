using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>A layout named for training stays with the adapter: chat, eval and merge use it without being told again.</summary>
public sealed class ChatTests
{
    private static string Model => Path.Combine(TestData.Root, "src", "LoraNet.Cli", "Demo");

    [Fact]
    public void TheLayoutStaysWithTheAdapter()
    {
        using Scratch scratch = new();
        string data = scratch.Write("chat.jsonl", string.Concat(Enumerable.Range(0, 8).Select(i => $$"""{"messages":[{"role":"user","content":"Say {{i}}."},{"role":"assistant","content":"It is {{i}}."}]}""" + "\n")));
        string adapter = scratch.Path("adapter"), merged = scratch.Path("merged");
        Assert.Contains("--chat-template", Cli.Run("train", "--model", Model, "--data", data, "-o", adapter, "--max-steps", "1").Error);
        Cli.Run("train", "--model", Model, "--data", data, "-o", adapter, "--max-steps", "2", "--batch-size", "2", "--chat-template", "zephyr").Ok();

        double named = Cli.Run("eval", "--model", Model, "--adapter", adapter, "--data", data, "--chat-template", "zephyr", "--json").Ok().Json.GetProperty("loss").GetDouble();
        Assert.Equal(named, Cli.Run("eval", "--model", Model, "--adapter", adapter, "--data", data, "--json").Ok().Json.GetProperty("loss").GetDouble());
        Assert.NotEqual(named, Cli.Run("eval", "--model", Model, "--adapter", adapter, "--data", data, "--chat-template", "chatml", "--json").Ok().Json.GetProperty("loss").GetDouble());

        Cli.Run("merge", "--model", Model, "--adapter", adapter, "-o", merged).Ok();
        Assert.Equal(File.ReadAllText(Path.Combine(adapter, "chat_template.jinja")), File.ReadAllText(Path.Combine(merged, "chat_template.jinja")));
        string talk = Chat("--model", Model, "--adapter", adapter);
        Assert.Equal(talk, Chat("--model", Model, "--adapter", adapter, "--chat-template", "zephyr"));
        Assert.Equal(talk, Chat("--model", merged));
        Assert.Contains("--chat-template", Cli.Run("chat", "--model", Model).Error);

        // The next run has its own layout, or none.
        string text = scratch.Write("text.jsonl", "{\"text\":\"Once upon a time.\"}\n");
        Assert.Contains("replaces it", Cli.Run("train", "--model", Model, "--data", text, "-o", adapter, "--max-steps", "1").Ok().Out);
        Assert.False(File.Exists(Path.Combine(adapter, "chat_template.jinja")));
    }

    private static string Chat(params string[] args) =>
        Cli.RunWith(new CommandHost { Environment = Cli.OnProcessor, Input = new StringReader("Say 3.\n\n") }, ["chat", .. args, "--max-new-tokens", "6"]).Ok().Out;

    [Fact]
    public void AValueWithoutItsFlagIsNamed()
    {
        CliResult result = Cli.Run("generate", "--model", Model, "Once upon a time");
        Assert.Equal(2, result.Code);
        Assert.Contains("'Once upon a time' is not expected here. Put its flag before it.", result.Error);
    }
}
