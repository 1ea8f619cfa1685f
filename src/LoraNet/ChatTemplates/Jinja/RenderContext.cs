using System.Runtime.CompilerServices;
using System.Text;

namespace LoraNet.ChatTemplates.Jinja;

/// <summary>The state of one rendering: variables, output, and the limits that make an untrusted template harmless.</summary>
internal sealed class RenderContext(ChatTemplateLimits limits, Func<DateTime> clock)
{
    private readonly long _maxSteps = limits.Steps;
    private readonly int _maxChars = limits.OutputCharacters;
    private long _steps;
    private int _calls;
    private int _captures;
    private StringBuilder _out = new();

    public Scope Scope { get; set; } = new(null);

    /// <summary>The line of the template being evaluated.</summary>
    public int Line { get; private set; } = 1;

    public Func<DateTime> Clock { get; } = clock;

    public List<(int Start, int End)> GenerationSpans { get; } = [];

    /// <summary>Whether some generation block was rendered into a variable, so that its place in the text is unknown.</summary>
    public bool GenerationSpanLost { get; set; }

    public bool IsCapturing => _captures > 0;

    public int OutputLength => _out.Length;

    public string Output => _out.ToString();

    /// <summary>Counts one node, notes its line, and stops runaway templates and recursion.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Enter(int line)
    {
        Line = line;
        Charge(1);
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw TooDeep();
    }

    /// <summary>Adds to the work done.</summary>
    public void Charge(long steps)
    {
        _steps += steps;
        if (_steps > _maxSteps)
            throw new TemplateFault($"the template did more than {_maxSteps} steps of work", "It probably loops over far more than the conversation; mend the loop or raise the limit.");
    }

    /// <summary>Charges for making a text of this length, before it is made.</summary>
    public void ChargeText(long length)
    {
        CheckLength(length);
        Charge(length >> 3);
    }

    /// <summary>Charges for reading all of a value's text; small texts and other values cost nothing beyond their node.</summary>
    public void ChargeReading(object? value)
    {
        if (Py.AsText(value) is { Length: > 64 } text) Charge(text.Length >> 3);
    }

    /// <summary>Stops a text that has grown too long.</summary>
    public void CheckLength(long length)
    {
        if (length > _maxChars)
            throw new TemplateFault($"the template builds a text of more than {_maxChars} characters", "Shorten the conversation or raise the output limit.");
    }

    /// <summary>Charges for making a list of this length, before it is made.</summary>
    public void ChargeItems(long count)
    {
        if (count > _maxSteps) throw new TemplateFault($"the template builds a list of {count} items");
        Charge(count);
    }

    /// <summary>Guards a recursive walk over values.</summary>
    public void EnterValue()
    {
        Charge(1);
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw TooDeep();
    }

    public void Write(string text)
    {
        if (text.Length == 0) return;
        CheckLength((long)_out.Length + text.Length);
        Charge(text.Length >> 3);
        _out.Append(text);
    }

    public StringBuilder BeginCapture()
    {
        StringBuilder outer = _out;
        _out = new StringBuilder();
        _captures++;
        return outer;
    }

    public string EndCapture(StringBuilder outer)
    {
        string text = _out.ToString();
        _out = outer;
        _captures--;
        return text;
    }

    public void EnterCall()
    {
        if (++_calls > limits.CallDepth) throw TooDeep();
    }

    public void LeaveCall() => _calls--;

    private static TemplateFault TooDeep() =>
        new("the template nests or recurses too deeply", "A macro probably calls itself without end.");
}

/// <summary>Variables of one block; reading falls back on the enclosing blocks, writing never reaches them.</summary>
internal sealed class Scope(Scope? parent)
{
    private Dictionary<string, object?>? _variables;

    public Scope? Parent => parent;

    public void Set(string name, object? value) => (_variables ??= new(StringComparer.Ordinal))[name] = value;

    public object? Get(string name)
    {
        for (Scope? s = this; s is not null; s = s.Parent)
            if (s._variables is not null && s._variables.TryGetValue(name, out object? value)) return value;
        return new Undefined($"'{name}' is undefined");
    }
}
