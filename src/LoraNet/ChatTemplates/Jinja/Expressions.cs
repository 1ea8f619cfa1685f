namespace LoraNet.ChatTemplates.Jinja;

/// <summary>A node that has a value.</summary>
internal abstract class Expr(int line)
{
    public int Line { get; } = line;

    public object? Eval(RenderContext context)
    {
        context.Enter(Line);
        return Compute(context);
    }

    protected abstract object? Compute(RenderContext context);
}

internal sealed class ConstExpr(int line, object? value) : Expr(line)
{
    public object? Value => value;

    protected override object? Compute(RenderContext context) => value;
}

internal sealed class NameExpr(int line, string name) : Expr(line)
{
    public string Name => name;

    protected override object? Compute(RenderContext context) => context.Scope.Get(name);
}

/// <summary><c>ns.name</c> as the target of a set.</summary>
internal sealed class NamespaceRef(int line, string name, string attribute) : Expr(line)
{
    public string Name => name;

    public string Attribute => attribute;

    protected override object? Compute(RenderContext context) => Attributes.GetAttribute(context, context.Scope.Get(name), attribute);
}

internal sealed class ListExpr(int line, List<Expr> items) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        var values = new List<object?>(items.Count);
        foreach (Expr e in items) values.Add(e.Eval(context));
        return new PyList(values);
    }
}

internal sealed class TupleExpr(int line, List<Expr> items) : Expr(line)
{
    public List<Expr> Items => items;

    protected override object? Compute(RenderContext context)
    {
        var values = new object?[items.Count];
        for (int i = 0; i < values.Length; i++) values[i] = items[i].Eval(context);
        return new PyTuple(values);
    }
}

internal sealed class DictExpr(int line, List<(Expr Key, Expr Value)> pairs) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        var dict = new PyDict();
        foreach ((Expr key, Expr value) in pairs) dict.Set(PyDict.CheckKey(key.Eval(context)), value.Eval(context));
        return dict;
    }
}

internal sealed class BinaryExpr(int line, string op, Expr left, Expr right) : Expr(line)
{
    protected override object? Compute(RenderContext context) => Operators.Binary(context, op, left.Eval(context), right.Eval(context));
}

internal sealed class UnaryExpr(int line, string op, Expr operand) : Expr(line)
{
    protected override object? Compute(RenderContext context) => Operators.Unary(op, operand.Eval(context));
}

internal sealed class NotExpr(int line, Expr operand) : Expr(line)
{
    protected override object? Compute(RenderContext context) => !Py.Truth(operand.Eval(context));
}

/// <summary><c>and</c>, <c>or</c>: the value that decided, as in Python.</summary>
internal sealed class LogicExpr(int line, bool isAnd, Expr left, Expr right) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        object? value = left.Eval(context);
        return Py.Truth(value) == isAnd ? right.Eval(context) : value;
    }
}

/// <summary>A chain of comparisons, each middle value evaluated once.</summary>
internal sealed class CompareExpr(int line, Expr first, List<(string Op, Expr Right)> rest) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        object? left = first.Eval(context);
        foreach ((string op, Expr e) in rest)
        {
            object? right = e.Eval(context);
            if (!Holds(context, op, left, right)) return false;
            left = right;
        }

        return true;
    }

    private static bool Holds(RenderContext context, string op, object? left, object? right) => op switch
    {
        "==" => Py.Equal(context, left, right),
        "!=" => !Py.Equal(context, left, right),
        "in" => Py.Contains(context, right, left),
        "not in" => !Py.Contains(context, right, left),
        "<" => Py.Compare(context, left, right) == -1,
        "<=" => Py.Compare(context, left, right) is -1 or 0,
        ">" => Py.Compare(context, left, right) == 1,
        _ => Py.Compare(context, left, right) is 1 or 0,
    };
}

/// <summary><c>a ~ b ~ c</c>: the texts joined.</summary>
internal sealed class ConcatExpr(int line, List<Expr> parts) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        var texts = new string[parts.Count];
        long length = 0;
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = Py.Str(context, parts[i].Eval(context));
            length += texts[i].Length;
        }

        context.ChargeText(length);
        return string.Concat(texts);
    }
}

internal sealed class ConditionExpr(int line, Expr test, Expr then, Expr? otherwise) : Expr(line)
{
    protected override object? Compute(RenderContext context)
    {
        if (Py.Truth(test.Eval(context))) return then.Eval(context);
        return otherwise is null ? new Undefined($"the inline if on line {Line} was false and has no else") : otherwise.Eval(context);
    }
}

internal sealed class AttributeExpr(int line, Expr target, string name) : Expr(line)
{
    public Expr Target => target;

    public string Name => name;

    protected override object? Compute(RenderContext context) => Attributes.GetAttribute(context, target.Eval(context), name);
}

internal sealed class ItemExpr(int line, Expr target, Expr key) : Expr(line)
{
    protected override object? Compute(RenderContext context) => Attributes.GetItem(context, target.Eval(context), key.Eval(context));
}

internal sealed class SliceExpr(int line, Expr target, Expr? start, Expr? stop, Expr? step) : Expr(line)
{
    protected override object? Compute(RenderContext context) =>
        Attributes.Slice(context, target.Eval(context), start?.Eval(context), stop?.Eval(context), step?.Eval(context));
}

/// <summary>The arguments as written in a call, filter or test.</summary>
internal sealed class ArgumentList(List<Expr> positional, List<(string Name, Expr Value)> keyword, Expr? spread, Expr? spreadNamed)
{
    public static readonly ArgumentList Empty = new([], [], null, null);

    private readonly bool _isEmpty = positional.Count == 0 && keyword.Count == 0 && spread is null && spreadNamed is null;

    public CallArgs Eval(RenderContext context)
    {
        if (_isEmpty) return CallArgs.None;
        var values = new List<object?>(positional.Count);
        foreach (Expr e in positional) values.Add(e.Eval(context));
        if (spread is not null) values.AddRange(Py.Iterate(context, spread.Eval(context)));
        var named = new List<(string, object?)>(keyword.Count);
        foreach ((string name, Expr e) in keyword) named.Add((name, e.Eval(context)));
        if (spreadNamed is not null)
        {
            if (spreadNamed.Eval(context) is not PyDict dict) throw new TemplateFault("** in a call needs a dict");
            for (int i = 0; i < dict.Count; i++)
                named.Add((Py.AsText(dict.KeyAt(i)) ?? throw new TemplateFault("** in a call needs keys that are strings"), dict.ValueAt(i)));
        }

        return new CallArgs([.. values], [.. named]);
    }
}

internal sealed class CallExpr(int line, Expr target, ArgumentList arguments) : Expr(line)
{
    protected override object? Compute(RenderContext context) => Invoke(context, null);

    /// <summary>Calls with <c>caller</c> added, for the call block.</summary>
    public object? Invoke(RenderContext context, PyMacro? caller)
    {
        // A method is called without making a bound value of it first.
        if (target is AttributeExpr attribute)
        {
            object? self = attribute.Target.Eval(context);
            if (Attributes.Method(self, attribute.Name) is { } body)
            {
                context.ChargeReading(self);
                return body(context, self!, With(arguments.Eval(context), caller));
            }

            return Call(context, Attributes.GetAttribute(context, self, attribute.Name), caller);
        }

        return Call(context, target.Eval(context), caller);
    }

    private object? Call(RenderContext context, object? function, PyMacro? caller)
    {
        CallArgs args = With(arguments.Eval(context), caller);
        context.Enter(Line);
        return function switch
        {
            PyCallable f => f.Call(context, args),
            Undefined u => throw u.Fault(),
            _ => throw new TemplateFault($"a {Py.TypeName(function)} can't be called"),
        };
    }

    private static CallArgs With(CallArgs args, PyMacro? caller) =>
        caller is null ? args : new CallArgs(args.Positional, [.. args.Keyword, ("caller", caller)]);
}

internal sealed class FilterExpr(int line, Expr? input, string name, ArgumentList arguments) : Expr(line)
{
    private readonly FilterBody? _body = Filters.Find(name);

    public string Name => name;

    public bool IsKnown => _body is not null;

    /// <summary>The input, or null for the first filter of a filter block.</summary>
    public Expr? Input => input;

    protected override object? Compute(RenderContext context) => Apply(context, input!.Eval(context));

    /// <summary>Applies the filter, and those it is chained onto, to the text of a block.</summary>
    public object? ApplyToBlock(RenderContext context, object? text) => Apply(context, input is FilterExpr before ? before.ApplyToBlock(context, text) : text);

    private object? Apply(RenderContext context, object? value)
    {
        CallArgs args = arguments.Eval(context);
        context.Enter(Line);
        context.ChargeReading(value);
        return (_body ?? throw Fault(Line))(context, value, args);
    }

    public TemplateFault Fault(int line) => Filters.IsUnsupported(name)
        ? TemplateFault.Unsupported($"the filter '{name}'", line)
        : new TemplateFault($"there is no filter named '{name}'", null, line);
}

internal sealed class TestExpr(int line, Expr input, string name, ArgumentList arguments) : Expr(line)
{
    private readonly TestBody? _body = Tests.Find(name);

    public bool IsKnown => _body is not null;

    protected override object? Compute(RenderContext context)
    {
        object? value = input.Eval(context);
        CallArgs args = arguments.Eval(context);
        context.Enter(Line);
        context.ChargeReading(value);
        return (_body ?? throw Fault(Line))(context, value, args);
    }

    public TemplateFault Fault(int line) => new($"there is no test named '{name}'", null, line);
}
