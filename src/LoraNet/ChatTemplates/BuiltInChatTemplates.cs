namespace LoraNet.ChatTemplates;

/// <summary>
/// Templates for models that come without one, written for LoraNet after the formats the families were trained on.
/// Each marks the assistant's words and the end-of-turn text with <c>{% generation %}</c>, so masks need no guessing.
/// They have no form for tools: a conversation with tools or tool calls is refused instead of losing them.
/// </summary>
public static class BuiltInChatTemplates
{
    // The text of a message whose content is a string, a list of text parts, or nothing.
    private const string Prelude = """
        {%- if tools %}
            {{- raise_exception("this built-in template has no form for tools; give the model's own template") }}
        {%- endif %}
        {%- macro text(message) %}
            {%- if message.tool_calls %}
                {{- raise_exception("this built-in template has no form for tool calls; give the model's own template") }}
            {%- elif message.content is string %}
                {{- message.content }}
            {%- elif message.content is mapping or message.content is number %}
                {{- raise_exception("a message's content must be a string or a list of text parts") }}
            {%- elif message.content %}
                {%- for part in message.content %}
                    {%- if part.text is not string %}
                        {{- raise_exception("this built-in template has no form for content other than text") }}
                    {%- endif %}
                    {{- part.text }}
                {%- endfor %}
            {%- endif %}
        {%- endmacro %}

        """;

    private const string ChatMl = """
        {%- for message in messages %}
            {{- '<|im_start|>' ~ message.role ~ '\n' }}
            {%- if message.role == 'assistant' %}
                {%- generation %}
                    {{- text(message) ~ '<|im_end|>' }}
                {%- endgeneration %}
                {{- '\n' }}
            {%- else %}
                {{- text(message) ~ '<|im_end|>\n' }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<|im_start|>assistant\n' }}
        {%- endif %}
        """;

    private const string Llama3 = """
        {{- bos_token | default('<|begin_of_text|>') }}
        {%- for message in messages %}
            {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' }}
            {%- if message.role == 'assistant' %}
                {%- generation %}
                    {{- text(message) | trim ~ '<|eot_id|>' }}
                {%- endgeneration %}
            {%- else %}
                {{- text(message) | trim ~ '<|eot_id|>' }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
        {%- endif %}
        """;

    // The family has no system turn: the system text goes before the first user's.
    private const string Mistral = """
        {{- bos_token | default('<s>') }}
        {%- set ns = namespace(system='', expected='user') %}
        {%- for message in messages %}
            {%- if message.role == 'system' and loop.first %}
                {%- set ns.system = text(message) ~ '\n\n' %}
            {%- elif message.role != ns.expected %}
                {{- raise_exception("the roles must alternate user, assistant after an optional system message, but message " ~ loop.index ~ " is from '" ~ message.role ~ "'") }}
            {%- elif message.role == 'user' %}
                {{- '[INST] ' ~ ns.system ~ text(message) ~ ' [/INST]' }}
                {%- set ns.system = '' %}
                {%- set ns.expected = 'assistant' %}
            {%- else %}
                {%- generation %}
                    {{- ' ' ~ text(message) | trim ~ (eos_token | default('</s>')) }}
                {%- endgeneration %}
                {%- set ns.expected = 'user' %}
            {%- endif %}
        {%- endfor %}
        """;

    private const string Gemma = """
        {{- bos_token | default('<bos>') }}
        {%- set ns = namespace(system='', expected='user') %}
        {%- for message in messages %}
            {%- if message.role == 'system' and loop.first %}
                {%- set ns.system = text(message) | trim ~ '\n\n' %}
            {%- elif message.role != ns.expected %}
                {{- raise_exception("the roles must alternate user, assistant after an optional system message, but message " ~ loop.index ~ " is from '" ~ message.role ~ "'") }}
            {%- elif message.role == 'user' %}
                {{- '<start_of_turn>user\n' ~ ns.system ~ text(message) | trim ~ '<end_of_turn>\n' }}
                {%- set ns.system = '' %}
                {%- set ns.expected = 'assistant' %}
            {%- else %}
                {{- '<start_of_turn>model\n' }}
                {%- generation %}
                    {{- text(message) | trim ~ '<end_of_turn>' }}
                {%- endgeneration %}
                {{- '\n' }}
                {%- set ns.expected = 'user' %}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<start_of_turn>model\n' }}
        {%- endif %}
        """;

    private const string Phi3 = """
        {%- for message in messages %}
            {{- '<|' ~ message.role ~ '|>\n' }}
            {%- if message.role == 'assistant' %}
                {%- generation %}
                    {{- text(message) ~ '<|end|>' }}
                {%- endgeneration %}
                {{- '\n' }}
            {%- else %}
                {{- text(message) ~ '<|end|>\n' }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<|assistant|>\n' }}
        {%- endif %}
        """;

    private const string Zephyr = """
        {%- for message in messages %}
            {{- '<|' ~ message.role ~ '|>\n' }}
            {%- if message.role == 'assistant' %}
                {%- generation %}
                    {{- text(message) ~ (eos_token | default('</s>')) }}
                {%- endgeneration %}
                {{- '\n' }}
            {%- else %}
                {{- text(message) ~ (eos_token | default('</s>')) ~ '\n' }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<|assistant|>\n' }}
        {%- endif %}
        """;

    private const string Alpaca = """
        {{- bos_token | default('') }}
        {%- if messages and messages[0].role != 'system' %}
            {{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n' }}
        {%- endif %}
        {%- for message in messages %}
            {%- if message.role == 'system' %}
                {{- text(message) | trim ~ '\n\n' }}
            {%- elif message.role == 'user' %}
                {{- '### Instruction:\n' ~ text(message) | trim ~ '\n\n' }}
            {%- elif message.role == 'assistant' %}
                {{- '### Response:\n' }}
                {%- generation %}
                    {{- text(message) | trim ~ (eos_token | default('')) }}
                {%- endgeneration %}
                {%- if not loop.last %}
                    {{- '\n\n' }}
                {%- endif %}
            {%- else %}
                {{- raise_exception("the Alpaca format has no role '" ~ message.role ~ "'") }}
            {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '### Response:\n' }}
        {%- endif %}
        """;

    private static readonly Dictionary<string, Lazy<ChatTemplate>> s_templates = new(StringComparer.OrdinalIgnoreCase)
    {
        ["chatml"] = Entry(ChatMl),
        ["llama3"] = Entry(Llama3),
        ["mistral"] = Entry(Mistral),
        ["gemma"] = Entry(Gemma),
        ["phi3"] = Entry(Phi3),
        ["zephyr"] = Entry(Zephyr),
        ["alpaca"] = Entry(Alpaca),
    };

    /// <summary>The names that <see cref="Get"/> knows.</summary>
    public static IReadOnlyCollection<string> Names => s_templates.Keys;

    /// <summary>The built-in template of that name: chatml, llama3, mistral, gemma, phi3, zephyr or alpaca.</summary>
    /// <param name="name">The name; case does not matter.</param>
    /// <returns>The parsed template.</returns>
    /// <exception cref="LoraNetException">There is no such template.</exception>
    public static ChatTemplate Get(string name) => s_templates.TryGetValue(name, out Lazy<ChatTemplate>? template)
        ? template.Value
        : throw new LoraNetException($"There is no built-in chat template named '{name}'.", $"Use one of {string.Join(", ", Names)}, or give a template file.");

    private static Lazy<ChatTemplate> Entry(string source) => new(() => ChatTemplate.Parse(Prelude + source));
}
