using System.Text.Json.Nodes;
using LoraNet.ChatTemplates;

namespace LoraNet.Tests.ChatTemplates;

/// <summary>Hostile templates end in an error that names a line: no hang, no crash, no unbounded memory.</summary>
public class SandboxTests
{
    private static readonly JsonArray s_messages = [new JsonObject { ["role"] = "user", ["content"] = "x" }];

    // A tenth of the default work, to keep the tests short.
    private static readonly ChatRenderOptions s_tight = new() { Limits = new ChatTemplateLimits { Steps = 2_000_000 } };

    public static TheoryData<string, string> Hostile
    {
        get
        {
            var data = new TheoryData<string, string>
            {
                { "loops", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}" },
                { "repeat", "{{ 'x' * 1000000000000 }}" },
                { "repeat pair", "{{ 'xy' * 1000000000 }}" },
                { "repeat list", "{{ ([0] * 1000000000)|length }}" },
                { "doubling", "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(1000) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}" },
                { "doubling sum", "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(1000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}" },
                { "doubling list", "{% set ns = namespace(s=[1]) %}{% for i in range(1000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}" },
                { "output", "{% for i in range(100000) %}{{ 'x' * 100000 }}{% endfor %}" },
                { "shared lists", "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}" },
                { "shared json", "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}" },
                { "shared equal", "{% set a = namespace(s=[1]) %}{% set b = namespace(s=[1]) %}{% for i in range(60) %}{% set a.s = [a.s, a.s] %}{% set b.s = [b.s, b.s] %}{% endfor %}{{ a.s == b.s }}" },
                { "shared key", "{% set ns = namespace(s=(1,)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}" },
                { "deep list", "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}" },
                { "deep json", "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}" },
                { "deep equal", "{% set a = namespace(s=[]) %}{% set b = namespace(s=[]) %}{% for i in range(100000) %}{% set a.s = [a.s] %}{% set b.s = [b.s] %}{% endfor %}{{ a.s == b.s }}" },
                { "deep compare", "{% set a = namespace(s=[]) %}{% set b = namespace(s=[1]) %}{% for i in range(100000) %}{% set a.s = [a.s] %}{% set b.s = [b.s] %}{% endfor %}{{ a.s < b.s }}" },
                { "deep key", "{% set ns = namespace(s=()) %}{% for i in range(100000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}" },
                { "deep generators", "{% set ns = namespace(s=[1]) %}{% for i in range(100000) %}{% set ns.s = ns.s|map('string') %}{% endfor %}{{ ns.s|list }}" },
                { "recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" },
                { "mutual recursion", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}" },
                { "callers", "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{% call f() %}{% endcall %}" },
                { "wide key", "{% set ns = namespace(s=(1,)) %}{% for i in range(8) %}{% set ns.s = (ns.s,) * 1000 %}{% endfor %}{{ {ns.s: 1} }}" },
                { "long keys", "{% set k = 'x' * 10000000 %}{% set d = {k: 1} %}{% for i in range(100000) %}{% if d[k] %}{% endif %}{% endfor %}" },
                { "long strips", "{% set k = 'x ' * 10000000 %}{% for i in range(100000) %}{% if k.strip() %}{% endif %}{% endfor %}" },
                { "power", "{{ 9 ** 9 ** 9 ** 9 ** 9 }}" },
                { "squares", "{% set ns = namespace(s=9) %}{% for i in range(1000) %}{% set ns.s = ns.s * ns.s %}{% endfor %}" },
                { "range", "{{ range(10000000000)|list }}" },
                { "wide format", "{{ '%999999999999s' % 1 }}" },
                { "wide format 2", "{{ '%2000000000s' % 1 }}" },
                { "wide brace", "{{ '{:>2000000000}'.format(1) }}" },
                { "precision", "{{ '%.2000000000f' % 1.5 }}" },
                { "center", "{{ 'x'|center(2000000000) }}" },
                { "zfill", "{{ 'x'.zfill(2000000000) }}" },
                { "indent", "{{ 'x\ny'|indent(2000000000) }}" },
                { "json indent", "{{ [1]|tojson(indent=2000000000) }}" },
                { "batch", "{{ [1]|batch(2000000000, 0)|list }}" },
                { "slices", "{{ [1]|slice(2000000000, 0)|list }}" },
                { "replace", "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}" },
                { "replace empty", "{{ ('x' * 100000)|replace('', 'y' * 100000) }}" },
                { "join", "{{ range(100000)|join('y' * 100000) }}" },
                { "join method", "{{ ('y' * 100000).join(('x' * 100000)|list) }}" },
                { "many searches", "{% for i in range(100000) %}{% if 'b' in 'a' * 10000 %}{% endif %}{% endfor %}" },
                { "open brackets", "{{ " + new string('[', 200_000) },
                { "open parentheses", "{{ " + new string('(', 200_000) },
                { "open braces", "{{ " + string.Concat(Enumerable.Repeat("{1:", 200_000)) },
                { "nots", "{{ " + string.Concat(Enumerable.Repeat("not ", 200_000)) + "1 }}" },
                { "minuses", "{{ " + string.Concat(Enumerable.Repeat("- ", 200_000)) + "1 }}" },
                { "attributes", "{{ messages" + string.Concat(Enumerable.Repeat("[0:]", 200_000)) + " }}" },
                { "sums", "{{ 1" + string.Concat(Enumerable.Repeat("+1", 200_000)) + " }}" },
                { "filters", "{{ ''" + string.Concat(Enumerable.Repeat("|upper", 200_000)) + " }}" },
                { "tests", "{{ 1" + string.Concat(Enumerable.Repeat(" is odd", 200_000)) + " }}" },
                { "calls", "{{ x" + string.Concat(Enumerable.Repeat("()", 200_000)) + " }}" },
                { "ors", "{{ 0" + string.Concat(Enumerable.Repeat(" or 0", 200_000)) + " }}" },
                { "conditions", "{{ " + string.Concat(Enumerable.Repeat("1 if 0 else ", 200_000)) + "1 }}" },
                { "condition tests", "{{ 1" + string.Concat(Enumerable.Repeat(" if 1", 200_000)) + " }}" },
                { "test arguments", "{{ 1" + string.Concat(Enumerable.Repeat(" is eq [1", 200_000)) + " }}" },
                { "blocks", string.Concat(Enumerable.Repeat("{% if 1 %}", 200_000)) },
                { "for targets", "{% for " + new string('(', 200_000) },
                { "exponents", "{{ " + string.Concat(Enumerable.Repeat("1 ** ", 200_000)) + "-1 ** 'a' }}" },
                { "long number", "{{ " + new string('9', 200_000) + " }}" },
                { "comparisons", "{{ 1" + string.Concat(Enumerable.Repeat(" < 'a'", 10_000)) + " }}" },
            };
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Hostile))]
    public void Hostile_templates_end_in_a_named_error(string name, string source)
    {
        Assert.NotEmpty(name);
        long before = GC.GetAllocatedBytesForCurrentThread();
        var e = Assert.Throws<LoraNetException>(() => ChatTemplate.Parse(source).Render(s_messages, options: s_tight));
        Assert.StartsWith("Chat template line ", e.Message, StringComparison.Ordinal);
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 4L << 30, "allocated more than 4 GiB in all");
    }

    [Fact]
    public void The_default_limits_stop_an_endless_loop() => Assert.Contains(
        "20000000 steps",
        Assert.Throws<LoraNetException>(() => ChatTemplate.Parse((string)Hostile.First()[1]).Render(s_messages)).Message);

    [Fact]
    public void Limits_can_be_set()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for i in range(1000) %}{{ i }}{% endfor %}");
        var small = new ChatRenderOptions { Limits = new ChatTemplateLimits { Steps = 500 } };
        Assert.Contains("500 steps", Assert.Throws<LoraNetException>(() => template.Render(s_messages, options: small)).Message);
        var brief = new ChatRenderOptions { Limits = new ChatTemplateLimits { OutputCharacters = 100 } };
        Assert.Contains("100 characters", Assert.Throws<LoraNetException>(() => template.Render(s_messages, options: brief)).Message);
        Assert.Equal(2890, template.Render(s_messages).Text.Length);
    }

    [Theory]
    [InlineData("{% include 'x' %}", "{% include %}")]
    [InlineData("\n{% extends 'x' %}", "{% extends %}")]
    [InlineData("{% import 'x' as y %}", "{% import %}")]
    [InlineData("{% block a %}{% endblock %}", "{% block %}")]
    [InlineData("{% autoescape true %}{% endautoescape %}", "{% autoescape %}")]
    [InlineData("{% for x in [] recursive %}{% endfor %}", "recursive")]
    [InlineData("{{ 1|filesizeformat }}", "filesizeformat")]
    [InlineData("{{ 'x'|pprint }}", "pprint")]
    [InlineData("{{ 'x'.encode() }}", "encode()")]
    [InlineData("{{ lipsum() }}", "lipsum()")]
    [InlineData("{{ strftime_now('%Q') }}", "%Q")]
    [InlineData("{{ '\\N{DASH}' }}", "\\N{name}")]
    [InlineData("{{ '{0.a}'.format(1) }}", "{0.a}")]
    [InlineData("{{ (-8) ** 0.5 }}", "complex")]
    [InlineData("{{ [1]|map('string') }}", "generator")]
    [InlineData("{{ range }}", "function")]
    [InlineData("{{ 'x'.upper }}", "function")]
    [InlineData("{# open", "comment")]
    [InlineData("{#", "comment")]
    [InlineData("{% raw %}", "raw")]
    public void What_is_not_supported_is_a_named_error(string source, string named)
    {
        var e = Assert.Throws<LoraNetException>(() => ChatTemplate.Parse(source).Render(s_messages));
        Assert.StartsWith("Chat template line ", e.Message, StringComparison.Ordinal);
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a\nb\n{{ messages[0].nope.x }}", 3, "'nope'")]
    [InlineData("{{ 1 }}\n\n{% if x.y %}\n{% endif %}", 3, "'x' is undefined")]
    [InlineData("{% for m in messages %}\n{{ m.role + 1 }}\n{% endfor %}", 2, "Use ~")]
    [InlineData("\n{% if 1 %}\n\n", 3, "line 2")]
    [InlineData("\n\n{{ 1 +* 2 }}", 3, "unexpected")]
    [InlineData("{% macro m() %}\n{{ raise_exception('stop here') }}{% endmacro %}\n\n{{ m() }}", 2, "stop here")]
    [InlineData("{% for x in y %}\n{% endif %}", 2, "{% for %}")]
    [InlineData("{% set l = [] %}\n{{ l.append(1) }}", 2, "read-only")]
    public void Errors_name_the_line_and_the_cause(string source, int line, string cause)
    {
        var e = Assert.Throws<LoraNetException>(() => ChatTemplate.Parse(source).Render(s_messages));
        Assert.StartsWith($"Chat template line {line}: ", e.Message, StringComparison.Ordinal);
        Assert.Contains(cause, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ten_thousand_mutated_templates_render_or_fail_by_name()
    {
        string[] seeds =
        [
            .. JinjaCases.Stored["styles"]!.AsObject().Select(s => (string)s.Value!),
            .. JinjaCases.Stored["constructs"]!.AsArray().Select(c => (string)c!["source"]!),
        ];
        string[] pieces = ["{{", "}}", "{%", "%}", "{#", "#}", "-", "'", "\"", "(", ")", "[", "]", "{", "}", "|", ".", ",", "~", "*", "**", "//", "%", " if ", " else ", " in ", " is ", " not ", "for", "endfor", "set ", "none", "messages", "loop", "[::-1]", "()", "0", "-1", "99999999999999999999", "1e308", "\n", "\\", "🙂", "\0", "|list", "|tojson", "|map('upper')", "* 99999"];
        JsonObject conversation = JinjaCases.Conversation("tool_calls");
        JsonNode messages = conversation["messages"]!;
        var variables = JinjaCases.Stored["variables"]!.AsObject().ToDictionary(v => v.Key, v => v.Value);
        var options = new ChatRenderOptions { Limits = new ChatTemplateLimits { Steps = 100_000, OutputCharacters = 1 << 20 } };
        var random = new Random(20240307);
        int rendered = 0, failed = 0;
        for (int i = 0; i < 10_000; i++)
        {
            string source = Mutate(seeds[random.Next(seeds.Length)], seeds, pieces, random);
            try
            {
                ChatTemplate.Parse(source).Render(messages, conversation["tools"], i % 2 == 0, "<s>", "</s>", variables, options);
                rendered++;
            }
            catch (LoraNetException e)
            {
                Assert.StartsWith("Chat template line ", e.Message, StringComparison.Ordinal);
                failed++;
            }
            catch (Exception e)
            {
                Assert.Fail($"{e}\nfrom the template:\n{source}");
            }
        }

        Assert.True(rendered > 500, $"only {rendered} of 10,000 still rendered: the mutations are too coarse");
        Assert.True(failed > 500, $"only {failed} of 10,000 failed");
    }

    private static string Mutate(string source, string[] seeds, string[] pieces, Random random)
    {
        for (int n = random.Next(1, 5); n > 0; n--)
        {
            int at = random.Next(source.Length + 1);
            int length = Math.Min(random.Next(1, 12), source.Length - at);
            source = random.Next(5) switch
            {
                0 => source.Remove(at, length),
                1 => source.Insert(at, pieces[random.Next(pieces.Length)]),
                2 => source.Remove(at, length).Insert(at, pieces[random.Next(pieces.Length)]),
                3 => source.Insert(at, source.Substring(at, length)),
                _ => seeds[random.Next(seeds.Length)] is var other && random.Next(other.Length + 1) is var cut ? source[..at] + other[cut..] : source,
            };
        }

        return source;
    }
}
