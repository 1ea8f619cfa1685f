using System.Text.Json.Nodes;
using LoraNet.ChatTemplates.Jinja;

namespace LoraNet.ChatTemplates;

/// <summary>
/// The text of a rendered conversation.
/// </summary>
/// <param name="Text">The rendered text.</param>
/// <param name="GenerationSpans">
/// The parts written inside <c>{% generation %}</c> blocks, as [start, end) positions in <paramref name="Text"/>
/// (UTF-16 units, as .NET counts), in the order they were written.
/// </param>
public sealed record ChatRendering(string Text, IReadOnlyList<(int Start, int End)> GenerationSpans)
{
    /// <summary>
    /// False when a generation block was rendered into a macro's result or a block set, so that its place in the
    /// text is not known and <see cref="GenerationSpans"/> misses it.
    /// </summary>
    public bool GenerationSpansComplete { get; init; } = true;
}

/// <summary>
/// A chat template as Hugging Face tokenizers carry them: a Jinja program that turns messages into the prompt text.
/// It is parsed once and can render many times, from several threads at once.
/// Rendering follows transformers' environment (trim_blocks, lstrip_blocks, loop controls, read-only sandbox,
/// tojson without HTML escaping, raise_exception, strftime_now, generation blocks); a construct outside the supported
/// subset is an error with its line, never empty text.
/// </summary>
public sealed class ChatTemplate
{
    private readonly Block _body;

    private ChatTemplate(string source, Block body, bool hasGeneration)
    {
        Source = source;
        _body = body;
        HasGenerationBlocks = hasGeneration;
    }

    /// <summary>The template as it was given.</summary>
    public string Source { get; }

    /// <summary>Whether the template marks the assistant's text with <c>{% generation %}</c> blocks.</summary>
    public bool HasGenerationBlocks { get; }

    /// <summary>A template by what a user calls it.</summary>
    /// <param name="name">A built-in template's name (<see cref="BuiltInChatTemplates.Names"/>), the path of a Jinja file, or a template's text, known by its braces.</param>
    /// <returns>The parsed template.</returns>
    /// <exception cref="LoraNetException">There is no such template, the file can't be read, or the template is not usable.</exception>
    public static ChatTemplate Named(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Contains("{%", StringComparison.Ordinal) || name.Contains("{{", StringComparison.Ordinal)) return Parse(name);
        if (BuiltInChatTemplates.Names.Contains(name, StringComparer.OrdinalIgnoreCase) || !File.Exists(name)) return BuiltInChatTemplates.Get(name);
        try
        {
            return Parse(File.ReadAllText(name));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Formats.FileErrors.Reading(name, e);
        }
    }

    /// <summary>Parses a template.</summary>
    /// <param name="source">The template's text.</param>
    /// <returns>The parsed template.</returns>
    /// <exception cref="LoraNetException">The template has a syntax error or uses an unsupported construct; the message names the line.</exception>
    public static ChatTemplate Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        try
        {
            (Block body, bool hasGeneration) = Parser.Parse(source);
            return new ChatTemplate(source, body, hasGeneration);
        }
        catch (TemplateFault fault)
        {
            throw Error(fault, fault.Line == 0 ? 1 : fault.Line);
        }
    }

    /// <summary>Renders a conversation.</summary>
    /// <param name="messages">A list of messages, each with <c>role</c> and <c>content</c> and whatever else the template reads.</param>
    /// <param name="tools">A list of tool descriptions, or null for none.</param>
    /// <param name="addGenerationPrompt">Whether to end with the opening of an assistant's turn.</param>
    /// <param name="bosToken">The text of the beginning-of-sequence token, or null when there is none.</param>
    /// <param name="eosToken">The text of the end-of-sequence token, or null when there is none.</param>
    /// <param name="variables">More variables for the template, such as <c>enable_thinking</c> or <c>documents</c>; they win over the others.</param>
    /// <param name="options">Limits and clock, or null for the defaults.</param>
    /// <returns>The text and its generation spans.</returns>
    /// <exception cref="LoraNetException">The template refused the conversation, failed, or went past a limit; the message names the line.</exception>
    public ChatRendering Render(
        JsonNode messages,
        JsonNode? tools = null,
        bool addGenerationPrompt = false,
        string? bosToken = null,
        string? eosToken = null,
        IReadOnlyDictionary<string, JsonNode?>? variables = null,
        ChatRenderOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        var input = new ChatInput
        {
            Messages = JsonValues.Convert(messages),
            Tools = JsonValues.Convert(tools),
            AddGenerationPrompt = addGenerationPrompt,
            BosToken = bosToken,
            EosToken = eosToken,
            Variables = [.. (variables ?? new Dictionary<string, JsonNode?>()).Select(v => (v.Key, JsonValues.Convert(v.Value)))],
            Options = options ?? ChatRenderOptions.Default,
        };
        return Render(input);
    }

    internal ChatRendering Render(ChatInput input)
    {
        var globals = new Scope(null);
        Globals.AddTo(globals);
        globals.Set("messages", input.Messages);
        globals.Set("tools", input.Tools);
        globals.Set("documents", null);
        globals.Set("add_generation_prompt", input.AddGenerationPrompt);
        if (input.BosToken is not null) globals.Set("bos_token", input.BosToken);
        if (input.EosToken is not null) globals.Set("eos_token", input.EosToken);
        foreach ((string name, object? value) in input.Variables) globals.Set(name, value);
        var context = new RenderContext(input.Options.Limits, input.Options.Clock) { Scope = new Scope(globals) };
        try
        {
            _body.Run(context);
            return new ChatRendering(context.Output, context.GenerationSpans) { GenerationSpansComplete = !context.GenerationSpanLost };
        }
        catch (TemplateFault fault)
        {
            throw Error(fault, fault.Line == 0 ? context.Line : fault.Line);
        }
    }

    private static LoraNetException Error(TemplateFault fault, int line) => new($"Chat template line {line}: {fault.Message}.", fault.Advice, fault);
}
