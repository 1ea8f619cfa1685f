namespace LoraNet.ChatTemplates.Jinja;

// The value model. Python's None is null; bool, long, BigInteger, double and string stand for themselves.
// Lists and dicts are never changed after they were built, because templates run read-only.

/// <summary>Something that has no value; it prints as nothing and fails when used in an operation.</summary>
internal sealed class Undefined(string hint)
{
    public string Hint { get; } = hint;

    public TemplateFault Fault() => new(Hint, "Check the spelling, or test it first with `is defined`.");
}

/// <summary>A list, tuple or range: countable and indexable.</summary>
internal abstract class PySequence
{
    public abstract int Count { get; }

    public abstract object? this[int index] { get; }
}

internal sealed class PyList(List<object?> items) : PySequence
{
    public List<object?> Items { get; } = items;

    public override int Count => Items.Count;

    public override object? this[int index] => Items[index];
}

internal class PyTuple(params object?[] items) : PySequence
{
    public object?[] Items { get; } = items;

    public override int Count => Items.Length;

    public override object? this[int index] => Items[index];
}

/// <summary>One group of the groupby filter: a pair whose parts also have names.</summary>
internal sealed class PyGroup(object? grouper, PyList list) : PyTuple(grouper, list);

internal sealed class PyRange(long start, long stop, long step, int count) : PySequence
{
    public long Start => start;

    public long Stop => stop;

    public long Step => step;

    public override int Count => count;

    public override object? this[int index] => start + (index * step);
}

/// <summary>Text that was marked safe: adding plain text to it escapes the plain text, as MarkupSafe does.</summary>
internal sealed class Markup(string text)
{
    public string Text { get; } = text;
}

/// <summary>A generator: can be walked once, has no length and can't be indexed.</summary>
internal sealed class PyIterator(IEnumerator<object?> items)
{
    public IEnumerator<object?> Items { get; } = items;
}

/// <summary>What <c>dict.keys()</c>, <c>values()</c> or <c>items()</c> returns.</summary>
internal sealed class PyView(PyDict dict, string kind)
{
    public PyDict Dict => dict;

    /// <summary><c>keys</c>, <c>values</c> or <c>items</c>.</summary>
    public string Kind => kind;

    public object? this[int index] => kind switch
    {
        "keys" => dict.KeyAt(index),
        "values" => dict.ValueAt(index),
        _ => new PyTuple(dict.KeyAt(index), dict.ValueAt(index)),
    };
}

/// <summary>The one object whose attributes a template may set.</summary>
internal sealed class Namespace
{
    public PyDict Attributes { get; } = new();
}

/// <summary>Anything that can be called.</summary>
internal abstract class PyCallable(string name)
{
    public string Name { get; } = name;

    public abstract object? Call(RenderContext context, CallArgs args);
}

internal delegate object? FunctionBody(RenderContext context, CallArgs args);

internal sealed class PyFunction(string name, FunctionBody body) : PyCallable(name)
{
    public override object? Call(RenderContext context, CallArgs args) => body(context, args);
}

internal delegate object? MethodBody(RenderContext context, object self, CallArgs args);

internal sealed class BoundMethod(string name, object self, MethodBody body) : PyCallable(name)
{
    public override object? Call(RenderContext context, CallArgs args)
    {
        context.ChargeReading(self);
        return body(context, self, args);
    }
}
